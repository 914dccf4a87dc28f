"""Fuzzes the service below gRPC: conversations in HTTP/2 frames that are nearly right, each from its own seed.

    runtime/clients/bin/python benches/frames.py [--seconds 600] [--program target/release/pairwright] [--seed 1]
    runtime/clients/bin/python benches/frames.py --again SEED:NUMBER      # one conversation, and what it says

Starts the program with its default settings on a loopback port and, in several processes, holds one conversation after
another with it, while a polite caller asks for health and for an embedding. Exits with 1 where a polite call failed, the
log tells of a panic, something stayed open, or resident memory grew by more than a tenth after the first fifth of the time.
"""

import argparse
import multiprocessing
import random
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path

from siege import PREFACE, ROOT, Program, Server, connect, frame

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PROMISE, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 1, 1, 4, 8, 32
PROCESSES = 4
OPEN = ["pw_connections_open", "pw_streams_open", "pw_queue_size"]
PATHS = [
    "/pairwright.v1.EmbeddingService/EmbedTexts", "/pairwright.v1.EmbeddingService/EmbedStream",
    "/pairwright.v1.EmbeddingService/EmbedImages", "/pairwright.v1.MatchingService/MatchStream",
    "/pairwright.v1.InfoService/GetServerInfo", "/pairwright.v1.JobService/ListJobs",
    "/pairwright.v1.JobService/WatchJob", "/pairwright.v1.InstructionService/SearchInstructions",
    "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/", "", "*", "//", "/a/b/c?d#e", "/%00", "/\xff",
]
NUMBERS = [0, 1, 2, 16383, 16384, 65535, 65536, (1 << 24) - 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]


class Conversation:
    """What one client says, drawn from a seed: pieces that are written one after the other."""

    def __init__(self, seed: int, number: int):
        self.draw = random.Random(f"{seed}:{number}")
        self.next, self.streams = 1, [0]

    def number(self, below: int = 1 << 32) -> int:
        return self.draw.choice([self.draw.choice(NUMBERS), self.draw.randrange(below)]) % below

    def text(self, value: bytes) -> bytes:
        """A string of HPACK, its length now and then not what follows."""
        length = len(value) if self.draw.random() < 0.97 else self.number(1 << 20)
        if length < 127:
            return bytes([length | (0x80 if self.draw.random() < 0.02 else 0)]) + value
        head, length = b"\x7f", length - 127
        while length > 127:
            head, length = head + bytes([length & 127 | 128]), length >> 7
        return head + bytes([length]) + value

    def field(self, name: str, value: str) -> bytes:
        kind = self.draw.choice([b"\0", b"\0", b"\x40", b"\x10"])
        return kind + self.text(name.encode("latin-1")) + self.text(value.encode("latin-1"))

    def block(self) -> bytes:
        draw = self.draw
        fields = [(":method", draw.choice(["POST"] * 8 + ["GET", "CONNECT", "", "PRI"])), (":scheme", "http"),
                  (":path", draw.choice(PATHS)), (":authority", draw.choice(["x", "", "a b", "[::1]:x"])),
                  ("content-type", draw.choice(["application/grpc"] * 6 + ["application/grpc+json", "text/html", ""])),
                  ("te", "trailers")]
        more = [("grpc-timeout", draw.choice(["1S", "0n", "99999999H", "-1S", "1", "x", "1m"])),
                ("grpc-encoding", draw.choice(["gzip", "identity", "zstd", ""])), ("content-length", str(self.number())),
                ("x-forwarded-for", draw.choice(["10.0.0.1", "::1, x", "," * 50])), ("authorization", "Bearer " + "a" * draw.randrange(600)),
                ("traceparent", draw.choice(["00-" + "0" * 32 + "-" + "0" * 16 + "-01", "ff"])), ("connection", "close"),
                ("Upper", "x"), (":unknown", "x"), ("a-bin", "!!"), ("x" * draw.randrange(1, 3000), "y" * draw.randrange(3000)),
                ("cookie", "a\r\nb"), ("transfer-encoding", "chunked"), (":path", "/"), ("grpc-accept-encoding", "gzip")]
        fields += draw.sample(more, draw.choice([0, 0, 0, 1, 2, 5]))
        if draw.random() < 0.1:
            draw.shuffle(fields)
        if draw.random() < 0.1:
            fields.pop(draw.randrange(len(fields)))
        block = b"".join(self.field(*one) for one in fields)
        if draw.random() < 0.15:
            # Indexed fields, sizes of the table, integers that never end.
            block += draw.choice([bytes([0x80 | draw.randrange(128)]), b"\x3f\xff\xff\xff\xff\xff\xff", b"\x20", b"\xff" * 12, b"\xbe"]) * draw.randrange(1, 40)
        return block

    def message(self) -> bytes:
        """A message of gRPC, or nearly one."""
        draw = self.draw
        body = draw.choice([b"", b"\x0a\x05a cat", b"\x0a\x01x" * draw.randrange(300), b"\x0a\xff\xff\xff\xff\x0f", draw.randbytes(draw.randrange(200)),
                            b"\0" * draw.randrange(16000)])
        length = len(body) if draw.random() < 0.8 else self.number()
        return bytes([draw.choice([0] * 12 + [1, 2, 255])]) + struct.pack(">I", length) + body

    def stream(self) -> int:
        return self.draw.choice(self.streams) if self.draw.random() < 0.9 else self.number(1 << 31)

    def call(self) -> bytes:
        """The head of a call, whole or over several frames, and perhaps its message."""
        draw, block, stream = self.draw, self.block(), self.next
        self.next += draw.choice([2] * 20 + [1, 0, 1000])
        self.streams = [*self.streams[-20:], stream]
        flags = draw.choice([0, 0, 0, END_STREAM])
        if draw.random() < 0.1:
            block, flags = struct.pack(">IB", self.number(), draw.randrange(256)) + block, flags | PRIORITISED
        if draw.random() < 0.1:
            pad = draw.randrange(256)
            block, flags = bytes([pad]) + block + b"\0" * draw.choice([pad, pad, 0]), flags | PADDED
        cuts = sorted(draw.randrange(len(block) + 1) for _ in range(draw.choice([0, 0, 0, 1, 3, 60])))
        parts = [block[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(block)])]
        said = b""
        for at, part in enumerate(parts):
            last = END_HEADERS if at + 1 == len(parts) and draw.random() < 0.98 else 0
            said += frame(HEADERS if at == 0 else CONTINUATION, (flags if at == 0 else 0) | last, stream, part)
        for _ in range(draw.choice([0, 1, 1, 1, 2, 8])):
            said += frame(DATA, draw.choice([0, END_STREAM]), stream, self.message()[:16384])
        return said

    def other(self) -> bytes:
        """A frame that is no call."""
        draw = self.draw
        setting = lambda: struct.pack(">HI", draw.choice([1, 2, 3, 4, 5, 6, 8, 9, 65535]), self.number())
        kind, flags, stream, body = draw.choice([
            lambda: (SETTINGS, draw.choice([0, 0, 0, ACK]), 0, b"".join(setting() for _ in range(draw.randrange(9)))),
            lambda: (WINDOW, 0, self.stream(), struct.pack(">I", self.number())),
            lambda: (RESET, 0, self.stream(), struct.pack(">I", self.number(20))),
            lambda: (PING, draw.choice([0, ACK]), 0, draw.randbytes(8)),
            lambda: (PRIORITY, 0, self.stream(), struct.pack(">IB", self.stream(), draw.randrange(256))),
            lambda: (GOAWAY, 0, 0, struct.pack(">II", self.number(), self.number(20)) + draw.randbytes(draw.randrange(50))),
            lambda: (DATA, draw.choice([0, END_STREAM, PADDED]), self.stream(), self.message()[:16384]),
            lambda: (DATA, 0, self.stream(), b""),
            lambda: (CONTINUATION, draw.choice([0, END_HEADERS]), self.stream(), draw.randbytes(draw.randrange(40))),
            lambda: (HEADERS, END_HEADERS | END_STREAM, self.stream(), self.field("a", "b")),
            lambda: (PROMISE, END_HEADERS, self.stream(), struct.pack(">I", self.number()) + self.block()),
            lambda: (draw.randrange(256), draw.randrange(256), self.stream(), draw.randbytes(draw.choice([0, 1, 4, 5, 6, 8, 9, 16385]))),
        ])()
        return frame(kind, flags, stream, body) * draw.choice([1] * 12 + [3, 100])

    def pieces(self) -> list[bytes]:
        draw = self.draw
        settings = frame(SETTINGS, 0, 0, draw.choice([b"", struct.pack(">HI", 4, self.number(1 << 31))]))
        said = [draw.choice([PREFACE] * 30 + [PREFACE[:20], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + draw.randbytes(60)]), settings]
        said += [draw.choice([self.call, self.call, self.other])() for _ in range(draw.choice([1, 3, 10, 40]))]
        if draw.random() < 0.3:
            # Bits flip, bytes go or come twice.
            at = draw.randrange(1, len(said))
            piece = bytearray(said[at])
            for _ in range(draw.choice([1, 2, 8])):
                if piece:
                    where = draw.randrange(len(piece))
                    piece[where:where + draw.choice([0, 1, 1, 4])] = draw.choice([b"", bytes([piece[where] ^ 1 << draw.randrange(8)]), bytes(piece[where:where + 9])])
            said[at] = bytes(piece)
        if draw.random() < 0.2:
            said[-1] = said[-1][:draw.randrange(len(said[-1]) + 1)]
        return said if draw.random() < 0.5 else [b"".join(said)]

    def hold(self, address: str) -> bytes:
        """Says all of it and reads, or not; hangs up in order, at once, or after a while. What was answered."""
        pieces, answer = self.pieces(), b""
        one = connect(address)
        one.settimeout(self.draw.choice([0.005, 0.02, 0.1]))
        reads, abrupt = self.draw.random() < 0.8, self.draw.random() < 0.3
        try:
            for piece in pieces:
                one.sendall(piece)
            if abrupt:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            while reads and len(answer) < 1 << 20 and (more := one.recv(65536)):
                answer += more
        except OSError:
            pass  # Refused, reset or timed out: all as it may be.
        finally:
            one.close()
        return answer


def fuzz(address: str, seed: int, first: int, until: float, counts, answered):
    number = first
    while time.time() < until:
        try:
            answered[first] += bool(Conversation(seed, number).hold(address))
            counts[first] += 1
        except OSError:
            time.sleep(0.05)  # No connection to be had just now.
        number += PROCESSES


def settled(server: Program) -> dict:
    """What is still open when nobody calls, after a while."""
    until = time.time() + 120
    while (left := {name: value for name in OPEN if (value := server.gauge(name))}) and time.time() < until:
        time.sleep(0.5)
    return left


def again(seed: int, number: int, program: Path) -> int:
    with tempfile.TemporaryDirectory() as folder:
        server = Program(program, Path(folder))
        answer = Conversation(seed, number).hold(server.address)
        print("said:", *(repr(piece) for piece in Conversation(seed, number).pieces()), sep="\n  ")
        print("answered:", repr(answer[:2000]))
        time.sleep(1)
        server.child.terminate()
        print(f"exit code {server.child.wait(60)}; its log:\n{server.log.read_text()}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/pairwright")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", metavar="SEED:NUMBER")
    args = parser.parse_args()
    if args.again:
        return again(*map(int, args.again.split(":")), args.program.resolve())
    failed, waits, rests = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        server = Program(args.program.resolve(), Path(folder))
        # A copy of this process would have threads of gRPC that are not there.
        processes = multiprocessing.get_context("spawn")
        counts, answered = processes.Array("l", PROCESSES), processes.Array("l", PROCESSES)
        # Numbers go on where the first part ended, so that no conversation is held twice.
        begins = [args.seed, args.seed + 1]
        for seed, seconds in zip(begins, (args.seconds / 5, args.seconds * 4 / 5)):
            until = time.time() + seconds
            workers = [processes.Process(target=fuzz, args=(server.address, seed, first, until, counts, answered))
                       for first in range(PROCESSES)]
            for worker in workers:
                worker.start()
            while time.time() < until:
                began = time.time()
                try:
                    caller = Server(server.address)
                    caller.call("EmbeddingService/EmbedTexts", {"texts": ["a cat"]})
                    caller.channel.close()
                except Exception as error:  # noqa: BLE001: whatever it is, a polite call failed.
                    failed.append(f"after {time.time() - began:.2f} s: {error}")
                waits.append(time.time() - began)
                time.sleep(0.2)
            for worker in workers:
                worker.join(60)
                worker.kill()
            left = settled(server)
            rests.append(server.resident())
        panics = server.log.read_text().count("panicked")
        alive = server.child.poll() is None
        server.child.terminate()
        code = server.child.wait(60)
        log = server.log.read_text()
    waits.sort()
    print(f"conversations: {sum(counts)}, answered with a frame or more: {sum(answered)}; seeds {begins}")
    print(f"polite calls, each on a connection of its own: {len(waits)}, failed {len(failed)}, "
          f"median {1000 * waits[len(waits) // 2]:.0f} ms, longest {1000 * waits[-1]:.0f} ms")
    print(f"resident memory, MiB: {rests[0]} after a fifth, {rests[1]} at the end")
    print(f"still open: {left or 'nothing'}; panics {panics}; exit code {code}; errors in the log {log.count('ERROR')}")
    for one in failed[:5]:
        print(f"  {one[:300]}")
    return int(bool(failed or left or panics or code or not alive or rests[1] > rests[0] * 1.1))


if __name__ == "__main__":
    sys.exit(main())
