"""How polite callers fare while strangers attack the service on the same machine, or while others do bulk work there.

    runtime/clients/bin/python benches/siege.py [--seconds 300] [--program target/release/pairwright] [--seed 1] [--bulk] [--keys] [--control]
        [--only half_sent_messages,junk_frames] [--nice 10]

Starts the program with its default settings on a loopback port, lets eight polite callers call it for a while in quiet,
then again while a second process attacks it in every way it knows, all from the same address: without keys they are all one
caller, which is the hardest case; with --keys the polite callers have one key and the attackers another. Prints for each kind of
call its median, 99th percentile and longest wait, quiet and besieged, and at the end memory and what is still open.
Attackers have machines of their own; these have not, so they give way to the server and its polite callers by --nice, and the
number of their attacks is told: 0 has them take as much of the cores as they can, which measures the cores. Those who call
with --bulk take next to nothing.
With --control the attackers attack another server of the same kind beside it, so that what is left is what they take of
the machine. Tells how many of its cores each process had.
With --bulk there is no attack but an import of instructions, call after call, and one job after the other: BatchMatch and,
where examples/stub_llm stands beside the program, Generate, answered by that stub on the same cores.
Exits with 1 where a polite call failed, memory passed the bound that the server tells, something stayed open, or the attackers
crashed, which gRPC for Python did in long runs.
Linux only: it reads /proc.
"""

import argparse
import base64
import contextlib
import multiprocessing
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/clients"))

import grpc  # noqa: E402
from tour import Server  # noqa: E402

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, DATA, HEADERS = 4, 0, 1
EMBED = "/pairwright.v1.EmbeddingService/EmbedTexts"


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def headers(path: str, key: str = "") -> bytes:
    """A header block without compression: each field a literal that is not indexed."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"),
              ("content-type", "application/grpc"), ("te", "trailers")]
    if key:
        fields.append(("authorization", f"Bearer {key}"))
    block = b""
    for name, value in fields:
        block += b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
    return block


def png(side: int) -> bytes:
    """A picture of one grey: few bytes, many pixels."""
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = zlib.compress((b"\0" + b"\x80" * side) * side, 9)
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def connect(address: str) -> socket.socket:
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), timeout=5)


def caller(address: str, key: str) -> Server:
    """One that knows the contract already, and is kept: reflection is refused to whoever has too many streams open, and
    protobuf crashes now and then where descriptors go while others are made."""
    server = Server(address, key)
    for service in server.services():
        server.pool.FindServiceByName(service)
    return server


def import_instructions(server: Server, draw: random.Random):
    """One call's worth, none like another."""
    def one():
        words = " ".join(draw.choice("sea sky dog cat red old new sun".split()) for _ in range(12))
        return {"instruction": {"text": f"Write {draw.getrandbits(60)} words on {words}."}}
    server.call("InstructionService/BatchCreateInstructions", {"requests": [one() for _ in range(256)]})


class Bulk:
    """Legal work that takes long; the methods as those of Attacks."""

    def __init__(self, address: str, key: str, seed: int):
        self.server, self.random = caller(address, key), random.Random(seed)

    def import_instructions(self):
        import_instructions(self.server, self.random)

    def batch_match(self):
        self._job("MatchingService/BatchMatch", {"source": {"path": "."}})

    def generate(self):
        seed = self.random.getrandbits(60)
        self._job("InstructionService/Generate", {"source": {"path": "."}, "seed": seed, "add_to_library": True})

    def _job(self, method: str, request: dict):
        job = self.server.call(method, request)
        while not self.server.call("JobService/GetJob", {"name": job["name"]}).get("end_time"):
            time.sleep(0.5)


class Attacks:
    """Each method attacks once and returns; it is called again until the end. What fails is none of its business."""

    def __init__(self, address: str, key: str, seed: int):
        self.address, self.key, self.random, self.server = address, key, random.Random(seed), caller(address, key)
        self.bomb, self.held, self.half, self.streams = png(9990), [], [], []

    def silent_connections(self):
        words = [b"", PREFACE[:16], PREFACE + frame(SETTINGS, 0, 0, b"")]
        for _ in range(50):
            one = connect(self.address)
            one.sendall(self.random.choice(words))
            self.held.append(one)
        while len(self.held) > 600:
            self.held.pop(0).close()
        time.sleep(0.5)

    def half_sent_messages(self):
        one = connect(self.address)
        length = 31 << 20
        one.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, 4, 1, headers(EMBED, self.key)))
        one.sendall(frame(DATA, 0, 1, b"\0" + struct.pack(">I", length) + b"\x0a\xfc\xff\xff\x0e"))
        one.settimeout(0.5)
        self.half.append(one)
        while len(self.half) > 60:
            self.half.pop(0).close()
        # Windows are not read: what is sent beyond them is an attack, too.
        for _ in range(4):
            one.sendall(frame(DATA, 0, 1, b"\0" * 16000))

    def long_texts(self):
        self.server.call("EmbeddingService/EmbedTexts", {"texts": ["ab cd " * 5400] * 256})

    def large_photos(self):
        photo = {"content": base64.b64encode(self.bomb).decode()}
        self.server.call("EmbeddingService/EmbedImages", {"images": [photo] * 16})

    def import_instructions(self):
        import_instructions(self.server, self.random)

    def half_sent_calls(self):
        one = connect(self.address)
        one.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        for stream in range(1, 512, 2):
            one.sendall(frame(HEADERS, 4, stream, headers(EMBED, self.key)) + frame(DATA, 0, stream, b"\0\0\0\0\x09"))
        self.held.append(one)
        while len(self.held) > 5:
            self.held.pop(0).close()
        time.sleep(5)

    def silent_streams(self):
        server = Server(self.address, self.key)
        held = [server.reflection._stub.ServerReflectionInfo(iter(threading.Event().wait, True)) for _ in range(100)]
        self.streams.append((server, held))
        while len(self.streams) > 5:
            self.streams.pop(0)[0].channel.close()
        time.sleep(1)

    def hasty_calls(self):
        for _ in range(50):
            try:
                self.server.call("EmbeddingService/EmbedTexts", {"texts": ["a hasty text"] * 16}, metadata=[("grpc-timeout", "1m")])
            except grpc.RpcError:
                pass

    def junk_frames(self):
        draw = self.random
        for _ in range(20):
            one = connect(self.address)
            one.settimeout(0.2)
            junk = PREFACE + frame(SETTINGS, 0, 0, b"")
            for _ in range(draw.randrange(1, 40)):
                body = draw.randbytes(draw.choice([0, 1, 4, 6, 8, 100, 16384]))
                if draw.random() < 0.3:
                    body = headers(draw.choice([EMBED, "/", "/grpc.health.v1.Health/Check", "x" * 200]), self.key)
                junk += frame(draw.choice([*range(11), 255]), draw.randrange(256), draw.randrange(12), body)
            one.sendall(junk)
            try:
                while one.recv(65536):
                    pass
            except OSError:
                pass
            one.close()


def kinds(attackers: type) -> list[str]:
    return [name for name in vars(attackers) if not name.startswith("_")]


def besiege(attackers: type, names: list[str], address: str, key: str, seed: int, seconds: float, nice: int, begun, made, refused):
    """Attacks in one thread for each way, for so many seconds after it has told that it begins."""
    os.nice(nice)
    attacks = [getattr(attackers(address, key, seed + kinds(attackers).index(name)), name) for name in names]
    until = time.time() + seconds
    begun.set()

    def repeat(at: int, attack):
        while time.time() < until:
            try:
                attack()
            except Exception:  # noqa: BLE001: refused, closed, timed out: all as it may be.
                refused[at] += 1
                time.sleep(0.05)
            made[at] += 1
    threads = [threading.Thread(target=repeat, args=(at, attack), daemon=True) for at, attack in enumerate(attacks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until + 20 - time.time()))


def polite(callers: list[Server], seconds: float, waits: dict, failed: list):
    """Callers, each of which waits for its answer and then a twentieth of a second."""
    calls = {
        "text": ("EmbeddingService/EmbedTexts", {"texts": ["a cat"]}),
        "photo": ("EmbeddingService/EmbedImages", {"images": [{"path": "tabby-cat.jpg"}]}),
        "match": ("MatchingService/Match", {"queries": [{"image": {"path": "two-dogs.jpg"}}]}),
        "search": ("InstructionService/SearchInstructions", {"text": "a poem about the sea", "top_k": 5}),
    }
    until = time.time() + seconds

    def call(server: Server):
        while time.time() < until:
            for name, (method, request) in calls.items():
                began = time.time()
                try:
                    answer = server.call(method, request)
                    refused = [one for one in answer.get("results", []) if "error" in one]
                    failed.extend(f"{name}: {one}" for one in refused)
                except Exception as error:  # noqa: BLE001: whatever it is, a polite call failed.
                    failed.append(f"{name} after {time.time() - began:.2f} s: {error}")
                waits[name].append(time.time() - began)
                time.sleep(0.05)

    for name in calls:
        waits[name] = []
    threads = [threading.Thread(target=call, args=[server]) for server in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


SAMPLES = ["--image-root", ROOT / "samples/photos", "--library-seed", ROOT / "samples/instructions.jsonl"]


class Program:
    """A server with default settings over the samples or what `serving` says; a key for each of `names`, or none at all."""

    def __init__(self, program: Path, folder: Path, names: list[str] = [], llm: str = "", serving: list = SAMPLES):
        self.log = folder / "log"
        command = [program, "serve", "--data", folder / "data", *serving, "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
        if llm:
            command += ["--llm", f"openai:{llm}"]
        file, self.keys = folder / "keys.toml", {}
        for name in names:
            new = [program, "keys", "new", "--file", file, "--name", name, "--scope", "write"]
            self.keys[name] = subprocess.run(new, check=True, capture_output=True, text=True).stdout.strip()
        if names:
            command += ["--api-keys", file]
        self.child = subprocess.Popen(command, cwd=ROOT, stdout=self.log.open("w"), stderr=subprocess.STDOUT)
        found = None
        while not found:
            if self.child.poll() is not None:
                raise SystemExit(self.log.read_text())
            time.sleep(0.05)
            found = re.search(r"serving on (\S+) \(metrics (http://[^)]+)\)", self.log.read_text())
        self.address, self.page = found.groups()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()

    def resident(self) -> int:
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) >> 10

    def gauge(self, name: str) -> float:
        page = urllib.request.urlopen(self.page, timeout=10).read().decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", page, re.M))

    def settled(self) -> dict[str, float]:
        """What is still open when nobody calls, after a while."""
        names = ["pw_connections_open", "pw_streams_open", "pw_queue_size"]
        until = time.time() + 120
        while (left := {name: value for name in names if (value := self.gauge(name))}) and time.time() < until:
            time.sleep(0.5)
        return left


def at(waits: list, share: float) -> float:
    return 1000 * sorted(waits)[min(len(waits) - 1, int(share * len(waits)))]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/pairwright")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bulk", action="store_true")
    parser.add_argument("--keys", action="store_true")
    parser.add_argument("--only", help="the ways to attack, by their names and with commas between; all without")
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--nice", type=int, choices=range(20), help="how nice the attackers are to the rest; 10, and with --bulk 0")
    args = parser.parse_args()
    attackers = Bulk if args.bulk else Attacks
    nice = args.nice if args.nice is not None else 0 if args.bulk else 10
    names = args.only.split(",") if args.only else kinds(attackers)
    if unknown := set(names) - set(kinds(attackers)):
        parser.error(f"--only: {', '.join(unknown)}: the ways are {', '.join(kinds(attackers))}")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as programs:
        stub = args.program.resolve().parent / "examples/stub_llm"
        llm = ""
        if args.bulk and not stub.exists():
            print(f"SKIPPED: no Generate job, for there is no {stub}: cargo build --release --example stub_llm")
            names = [name for name in names if name != "generate"]
        elif args.bulk:
            answering = programs.enter_context(subprocess.Popen([stub], stdout=subprocess.PIPE, text=True))
            programs.callback(answering.kill)
            llm = answering.stdout.readline().strip()

        def start(name: str) -> Program:
            (Path(folder) / name).mkdir()
            keys = ["polite", "others"] if args.keys else []
            return programs.enter_context(Program(args.program.resolve(), Path(folder) / name, keys, llm))

        server = start("called")
        attacked = start("attacked") if args.control else server
        polite_key, other_key = server.keys.get("polite", ""), attacked.keys.get("others", "")
        bound = int(re.search(r"total_mib=(\d+)", server.log.read_text())[1])
        quiet, besieged, failed, most = {}, {}, [], 0
        # The first calls pay for what is made once.
        callers = [caller(server.address, polite_key) for _ in range(8)]
        polite(callers, 5, quiet, failed)
        polite(callers, min(30.0, args.seconds / 4), quiet, failed)
        rest = server.resident()
        photo = {"content": base64.b64encode(png(9990)).decode()}
        began = time.time()
        callers[0].call("EmbeddingService/EmbedImages", {"images": [photo]})
        decode = time.time() - began
        # A copy of this process would have threads of gRPC that are not there.
        spawn = multiprocessing.get_context("spawn")
        made, refused, begun = spawn.Array("l", len(names)), spawn.Array("l", len(names)), spawn.Event()
        siege = spawn.Process(daemon=True, target=besiege, args=(attackers, names, attacked.address, other_key, args.seed, args.seconds, nice, begun, made, refused))
        siege.start()
        if not begun.wait(60):
            raise SystemExit("the attack did not begin")
        processes = {"server": server.child.pid, "attackers": siege.pid, "polite callers": os.getpid()}
        if args.control:
            processes["attacked server"] = attacked.child.pid
        began, used = time.time(), {name: -cpu_seconds(process) for name, process in processes.items()}
        calling = threading.Thread(target=polite, args=(callers, args.seconds - 2, besieged, failed))
        calling.start()
        while calling.is_alive():
            most = max(most, server.resident())
            time.sleep(0.2)
        cores = {name: (used[name] + cpu_seconds(process)) / (time.time() - began) for name, process in processes.items()}
        siege.join(60)
        crashed = siege.exitcode not in (0, None)
        siege.kill()
        for one in callers:
            one.channel.close()
        left = server.settled()
        time.sleep(2)
        library = server.gauge("pw_library_size")
        panics = sum(one.log.read_text().count("panicked") for one in {server, attacked})
        after = server.resident()
        server.child.terminate()
        code = server.child.wait(60)
    print("made (refused): " + ", ".join(f"{name} {all} ({no})" for name, all, no in zip(names, made, refused)))
    print(f"cores of {os.cpu_count()}: " + ", ".join(f"{name} {share:.2f}" for name, share in cores.items()))
    print(f"library: {library:.0f} instructions at the end")
    print(f"largest legal photo, alone: {1000 * decode:.0f} ms")
    print("| call | n quiet | p50 | p99 | longest | n besieged | p50 | p99 | longest |\n|---|---|---|---|---|---|---|---|---|")
    for name, before in quiet.items():
        cells = [f"{len(one)} | {at(one, 0.5):.0f} | {at(one, 0.99):.0f} | {at(one, 1):.0f}" for one in (before, besieged[name])]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"resident memory, MiB: {rest} before, {most} at most, {after} after; told bound {bound} beside it")
    print(f"still open: {left or 'nothing'}; panics {panics}; exit code {code}; polite calls that failed: {len(failed)}"
          + "; the attackers crashed" * crashed)
    for one in failed[:5]:
        print(f"  {one[:300]}")
    return int(bool(failed or left or panics or code or crashed or most > rest + bound))


if __name__ == "__main__":
    sys.exit(main())
