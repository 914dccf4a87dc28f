"""What every set-up step shares: folders, errors, hashes, stamps, printing."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = ROOT / "runtime"
STAMPS = RUNTIME / "stamps"
TMP = RUNTIME / "tmp"
# Files fetched by hand on another machine go here; see docs/setup.md.
DROP = RUNTIME / "wheels"


class SetupError(Exception):
    """A step that cannot go on: what happened, and what to do next."""

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo
        self.more: list[SetupError] = []


def say(part: str, text: str) -> None:
    print(f"  {part}: {text}", flush=True)


def rel(path: Path) -> str:
    """The path as a person at the repository root would type it."""
    try:
        return str(path.relative_to(ROOT))
    except ValueError:
        return str(path)


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read_stamp(name: str) -> dict[str, Any]:
    """What an earlier, finished set-up recorded; empty when there was none."""
    try:
        found = json.loads((STAMPS / f"{name}.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_stamp(name: str, content: dict[str, Any]) -> None:
    write_whole(STAMPS / f"{name}.json", json.dumps(content, indent=1, sort_keys=True) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, path)


def need_space(part: str, megabytes: int) -> None:
    free = shutil.disk_usage(RUNTIME).free // 1_000_000
    if free < megabytes:
        raise no_space(f"{part}: about {megabytes} MB are needed below {RUNTIME}, {free} MB are free")


def no_space(what: str) -> SetupError:
    return SetupError(what, "free some disk space, then run `make setup` again.")


@contextmanager
def readable_os_errors(part: str) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(f"{part}: the disk is full") from error
        raise SetupError(
            f"{part}: {error}", f"make sure that {RUNTIME} can be written, then run `make setup` again."
        ) from error


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two set-ups at once (`make demo` beside `make test`) take turns."""
    RUNTIME.mkdir(exist_ok=True)
    with (RUNTIME / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("  another set-up is running: waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Progress:
    """Percent on one moving line on a terminal, every tenth part elsewhere."""

    def __init__(self, part: str, total: int | None) -> None:
        self.part = part
        self.total = total
        self.shown = -1
        self.terminal = sys.stdout.isatty()

    def at(self, done: int) -> None:
        if not self.total:
            return
        percent = 100 * done // self.total
        percent -= 0 if self.terminal else percent % 10
        if percent == self.shown:
            return
        self.shown = percent
        line = f"  {self.part}: {percent:3d} % of {self.total / 1e6:.0f} MB"
        end = "\n" if percent == 100 or not self.terminal else ""
        print(("\r" if self.terminal else "") + line, end=end, flush=True)
