#!/usr/bin/env python3
"""Fetch what Pairwright needs at run time into runtime/: `make setup` runs this.

Everything is pinned in scripts/parts.json and checked by SHA-256; nothing is
installed outside runtime/. A second run finds everything there and is quick.
docs/setup.md says more. Python 3.9 and pip are all it takes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from setuplib import hub, trial, wheels
from setuplib.common import ROOT, RUNTIME, TMP, SetupError, one_at_a_time, rel, say, write_whole

PARTS_FILE = ROOT / "scripts" / "parts.json"
LLM_PATH_FILE = RUNTIME / "demo-llm.path"
STEPS = ("onnxruntime", "llama", "llm")
LLAMA_PARTS = ("llama", "llama-cpu")
LLAMA_SERVER = RUNTIME / "llama" / "bin" / "llama-server"


def main() -> int:
    arguments = parse_arguments()
    table = json.loads(PARTS_FILE.read_text("utf-8"))
    steps = {
        "onnxruntime": set_up_onnxruntime,
        "llama": set_up_llama,
        "llm": set_up_llm,
    }
    failures: list[SetupError] = []
    with one_at_a_time():
        remove_leftovers()
        wanted = arguments.only or STEPS
        for name in wanted:
            try:
                steps[name](table, arguments.offline)
            except SetupError as error:
                failures += [error, *error.more]
        if not failures and {"llama", "llm"} & set(wanted):
            try_llama()
    for failure in failures:
        print(f"error: {failure.what}\n  to do: {failure.todo}", file=sys.stderr)
    return 1 if failures else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Fetch the pinned parts that Pairwright needs at run time into runtime/.",
        epilog="Environment: ORT=gpu, ORT_DYLIB_PATH, LLAMA_SERVER, DEMO_LLM, HF_ENDPOINT, HF_TOKEN; see docs/setup.md.",
    )
    parser.add_argument("--only", action="append", choices=STEPS, help="do only this (may be repeated)")
    parser.add_argument("--offline", action="store_true", help="fetch nothing; fail and say what is missing")
    return parser.parse_args()


def remove_leftovers() -> None:
    """What a killed set-up left unpacked. Half downloads from the hub stay: they resume."""
    for folder in TMP.glob("wheel-*"):
        shutil.rmtree(folder, ignore_errors=True)


def set_up_onnxruntime(table: dict[str, Any], offline: bool) -> None:
    own = os.environ.get("ORT_DYLIB_PATH")
    if own:
        if not Path(own).is_file():
            raise SetupError(
                f"onnxruntime: ORT_DYLIB_PATH={own} is not a file",
                "correct it, or unset it to use the library that set-up fetches.",
            )
        say("onnxruntime", f"ORT_DYLIB_PATH={own} is used: nothing to fetch")
        return
    variant = os.environ.get("ORT", "cpu")
    if variant not in ("cpu", "gpu"):
        raise SetupError(f"onnxruntime: ORT={variant} is neither cpu nor gpu", "set ORT=gpu, or unset it.")
    name = "onnxruntime" if variant == "cpu" else "onnxruntime-gpu"
    part = table["parts"][name]
    wheels.install(name, part, offline)
    library = main_library(RUNTIME / part["into"] / "lib")
    check_loads(name, library)
    link_plain_name(library)
    if variant == "gpu":
        say(name, f"to use it: export ORT_DYLIB_PATH={library}")


def main_library(folder: Path) -> Path:
    return next(
        p for p in sorted(folder.iterdir()) if re.fullmatch(r"libonnxruntime\.(so\.)?[\d.]+(dylib)?", p.name)
    )


def link_plain_name(library: Path) -> None:
    """libonnxruntime.so (or .dylib) beside the versioned file, so that nobody needs the version."""
    link = library.with_name("libonnxruntime.dylib" if library.suffix == ".dylib" else "libonnxruntime.so")
    if not link.is_symlink() or os.readlink(link) != library.name:
        link.unlink(missing_ok=True)
        link.symlink_to(library.name)


def check_loads(name: str, library: Path) -> None:
    """In a process of its own: a library that does not fit this system may not even fail politely."""
    code = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).OrtGetApiBase"
    done = subprocess.run(
        [sys.executable, "-c", code, str(library)], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        raise SetupError(
            f"{name}: {rel(library)} does not load here: {reason}",
            "the wheel needs glibc 2.28 (Linux) or macOS 14; on another system install ONNX Runtime"
            " yourself and set ORT_DYLIB_PATH to its library.",
        )


def set_up_llama(table: dict[str, Any], offline: bool) -> None:
    part = table["parts"]["llama"]
    if os.environ.get("LLAMA_SERVER") or not wheels.has_wheel(part):
        for name in LLAMA_PARTS:
            wheels.remove(name, table["parts"][name])
        link_own_server(LLAMA_SERVER)
    else:
        install_all(LLAMA_PARTS, table, offline)
    done = subprocess.run(
        [str(LLAMA_SERVER), "--version"],
        env=trial.environment(LLAMA_SERVER),
        check=False,
        capture_output=True,
        text=True,
    )
    # Killed by a signal (below 0): that is for the trial to say.
    if done.returncode > 0:
        raise SetupError(
            f"llama: llama-server does not start here: {(done.stderr.strip().splitlines() or ['no message'])[-1]}",
            "the prebuilt one needs glibc 2.35; on an older system build llama.cpp yourself and run"
            " `make setup` with LLAMA_SERVER=/path/to/llama-server.",
        )


def install_all(names: tuple[str, ...], table: dict[str, Any], offline: bool) -> None:
    """Try each part, so that one run tells of everything that is missing."""
    failures: list[SetupError] = []
    for name in names:
        try:
            wheels.install(name, table["parts"][name], offline)
        except SetupError as error:
            failures.append(error)
    if failures:
        failures[0].more = failures[1:]
        raise failures[0]


def try_llama() -> None:
    """Ask the server for a few tokens. When it cannot, say so; the rest of Pairwright works without it."""
    try:
        llm = Path(LLM_PATH_FILE.read_text("utf-8").strip())
    except OSError:
        return
    if LLAMA_SERVER.is_file() and llm.is_file():
        trial.run(LLAMA_SERVER, llm)


def link_own_server(server: Path) -> None:
    """The user's own server: LLAMA_SERVER, or where there is no prebuilt one, that on the PATH."""
    wanted = os.environ.get("LLAMA_SERVER")
    found = shutil.which(Path(wanted).expanduser() if wanted else "llama-server")
    if found is None:
        raise SetupError(
            f"llama: LLAMA_SERVER={wanted} is not a program"
            if wanted
            else f"llama: no prebuilt llama-server for {wheels.this_machine()}, and none on the PATH",
            "install llama.cpp (macOS: `brew install llama.cpp`), then run `make setup` again.",
        )
    server.parent.mkdir(parents=True, exist_ok=True)
    server.unlink(missing_ok=True)
    server.symlink_to(Path(found).resolve())
    say("llama", f"{rel(server)} links to {found} (your own: its hash is not checked)")


def set_up_llm(table: dict[str, Any], offline: bool) -> None:
    wanted = os.environ.get("DEMO_LLM", "").strip()
    if not wanted:
        part = table["parts"]["llm"]
        wheels.install("llm", part, offline)
        path = RUNTIME / part["into"] / "SmolLM2-135M-Instruct.Q4_1.gguf"
    elif looks_like_path(wanted):
        path = own_gguf(Path(wanted).expanduser())
    else:
        repository, file = split_repository(wanted)
        path = hub.fetch_gguf(repository, file, table["hub"], offline)
    write_whole(LLM_PATH_FILE, f"{path.resolve()}\n")
    say("llm", f"the demo uses {rel(path)}")


def looks_like_path(wanted: str) -> bool:
    return (
        wanted[0] in "/.~"
        or Path(wanted).is_file()
        or (wanted.lower().endswith(".gguf") and ":" not in wanted)
    )


def own_gguf(path: Path) -> Path:
    todo = "set DEMO_LLM to a .gguf file or a hub repository, or unset it to use the bundled SmolLM2-135M."
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise SetupError(f"llm: DEMO_LLM={path} cannot be read: {error.strerror}", todo) from error
    if magic != b"GGUF":
        raise SetupError(f"llm: DEMO_LLM={path} is not a GGUF file (it starts with {magic!r})", todo)
    return path


def split_repository(wanted: str) -> tuple[str, str | None]:
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?::(.+\.gguf))?", wanted, re.IGNORECASE)
    if match is None:
        raise SetupError(
            f"llm: DEMO_LLM={wanted} is neither a .gguf file here nor a hub repository",
            "set it to a path such as ~/model.gguf or to owner/name or owner/name:file.gguf.",
        )
    return match.group(1), match.group(2)


if __name__ == "__main__":
    # As an exception, so that a server on trial is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nstopped; run `make setup` to go on", file=sys.stderr)
        sys.exit(130)
