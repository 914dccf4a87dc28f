"""Does the llama.cpp server run on this processor? Start it once and ask it for four tokens."""

from __future__ import annotations

import http.client
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import IO, Any

from .common import RUNTIME, STAMPS, TMP, read_stamp, rel, say, sha256_text, write_stamp

STAMP = "llama-trial"
START_LIMIT_S = 180
ANSWER_LIMIT_S = 120
STOP_LIMIT_S = 10
ILLEGAL = "illegal instruction"


class DoesNotRun(Exception):
    """Why the server gave no answer."""


def run(server: Path, llm: Path) -> None:
    """Try the server with this LLM, unless the same ones were tried on this processor."""
    key = what_is_tried(server, llm)
    if read_stamp(STAMP) == key:
        return
    (STAMPS / f"{STAMP}.json").unlink(missing_ok=True)
    started = time.monotonic()
    try:
        ask(server, llm)
    except DoesNotRun as reason:
        print(f"\n{advice(server, str(reason))}\n", file=sys.stderr, flush=True)
        return
    write_stamp(STAMP, key)
    say("llama", f"the server answers with {rel(llm)} ({time.monotonic() - started:.1f} s)")


def what_is_tried(server: Path, llm: Path) -> dict[str, Any]:
    model, flags = processor()
    files = {path.resolve() for path in (server, *server.parent.glob("*.so*"), llm)}
    return {
        "processor": model,
        "processor_flags": sha256_text(flags),
        "files": {str(file): [file.stat().st_size, file.stat().st_mtime_ns] for file in files},
    }


def processor() -> tuple[str, str]:
    """Its name, and what it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), ""
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return found.get("model name", platform.machine()), found.get("flags") or found.get("Features", "")


def environment(server: Path) -> dict[str, str]:
    """As Pairwright starts it: with its own libraries, without settings for llama.cpp from outside."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LLAMA_")}
    paths = [str(server.parent), kept.get("LD_LIBRARY_PATH", "")]
    return {**kept, "LD_LIBRARY_PATH": ":".join(path for path in paths if path)}


def ask(server: Path, llm: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(server), "--model", str(llm), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--threads", "1", "--parallel", "1", "--ctx-size", "256"]
    TMP.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=TMP) as log:
        try:
            process = subprocess.Popen(
                command,
                env=environment(server),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=RUNTIME,
                start_new_session=True,
            )
        except OSError as error:
            raise DoesNotRun(f"it cannot be started: {error.strerror}") from error
        try:
            wait_until_healthy(process, port, log)
            complete(process, port, log)
        finally:
            stop(process)


def wait_until_healthy(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        if process.poll() is not None:
            raise DoesNotRun(how_it_ended(process, log))
        try:
            if request(port, "GET", "/health", timeout=2)[0] == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)
    raise DoesNotRun(f"it was not ready within {START_LIMIT_S} s{last_line(log)}")


def complete(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    body = json.dumps({"prompt": "Hello", "n_predict": 4}).encode()
    try:
        status, answer = request(port, "POST", "/completion", body, timeout=ANSWER_LIMIT_S)
    except (OSError, http.client.HTTPException) as error:
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise DoesNotRun(f"it gave no answer ({error})") from error
        raise DoesNotRun(how_it_ended(process, log)) from error
    if status != 200:
        raise DoesNotRun(f"it answered with status {status}: {answer[:200].decode(errors='replace')}")


def request(
    port: int, method: str, path: str, body: bytes | None = None, timeout: float = 2
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def how_it_ended(process: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    code = process.returncode
    if code == -signal.SIGILL:
        return f"it ended with an {ILLEGAL}"
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"it ended with {how}{last_line(log)}"


def last_line(log: IO[bytes]) -> str:
    # pread, because the server writes at the position of the same open file.
    end = os.fstat(log.fileno()).st_size
    tail = os.pread(log.fileno(), 4096, max(0, end - 4096)).decode(errors="replace")
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return f" ({lines[-1]})" if lines else ""


def advice(server: Path, reason: str) -> str:
    if server.is_symlink():
        what = f"your own llama-server, {server.resolve()}, does not run here: {reason}."
    elif ILLEGAL in reason:
        what = (
            f"the bundled prebuilt llama-server does not run on this processor ({processor()[0]}): {reason}."
            " It needs AVX2, FMA and F16C, which some older or virtual processors lack."
        )
    else:
        what = f"the bundled prebuilt llama-server does not run here: {reason}."
    todo = (
        "Everything but the local LLM works. To have answers, build or install llama.cpp on this machine and"
        " run `LLAMA_SERVER=/path/to/your/llama-server make setup`, or name an OpenAI-compatible server:"
        " `--llm openai:URL`. The next `make setup` tries again."
    )
    return textwrap.fill(
        f"warning: {what} {todo}", width=100, break_long_words=False, break_on_hyphens=False
    )
