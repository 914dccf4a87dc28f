"""A GGUF file from the Hugging Face hub: for DEMO_LLM=owner/name[:file]."""

from __future__ import annotations

import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from .common import (
    RUNTIME,
    TMP,
    Progress,
    SetupError,
    need_space,
    no_space,
    read_stamp,
    readable_os_errors,
    rel,
    say,
    sha256,
    write_stamp,
)

ATTEMPTS = 4
TIMEOUT_S = 30
SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


def endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def fetch_gguf(repository: str, file: str | None, known: dict[str, Any], offline: bool) -> Path:
    """The path of the file below runtime/models/, downloaded if it is not there."""
    pinned = known.get(repository, {})
    revision = pinned.get("revision", "main")
    name = "hub-" + repository.replace("/", "--")
    if file is None:
        file = pinned.get("file") or read_stamp(name).get("file")
    if file is None:
        refuse_offline(repository, offline)
        file = pick_file(repository, revision)
    pinned_hash = pinned.get("sha256") if file == pinned.get("file") else None
    stamp = read_stamp(f"{name}--{Path(file).name}")
    path = RUNTIME / "models" / repository.replace("/", "--") / Path(file).name
    expected = pinned_hash or stamp.get("sha256")
    if expected and path.is_file() and sha256(path) == expected:
        say("llm", f"{rel(path)} already there, hash checked")
        return path
    refuse_offline(repository, offline)
    with readable_os_errors("llm"):
        digest = download(repository, revision, file, path, expected)
    write_stamp(name, {"file": file})
    write_stamp(f"{name}--{path.name}", {"repository": repository, "file": file, "sha256": digest})
    trust = "as pinned" if pinned_hash else "recorded, and demanded from now on"
    say("llm", f"{repository} {file} is in {rel(path)}; SHA-256 {digest} ({trust})")
    return path


def refuse_offline(repository: str, offline: bool) -> None:
    if offline:
        raise SetupError(
            f"llm: {repository} is not here yet, and --offline forbids fetching it", other_ways()
        )


def other_ways() -> str:
    return (
        "download the .gguf on another machine and run with DEMO_LLM=/path/to/file.gguf,"
        " or leave DEMO_LLM unset to use the bundled SmolLM2-135M."
    )


def unreachable(reason: object) -> SetupError:
    return SetupError(
        f"llm: the hub at {endpoint()} cannot be reached ({reason})",
        "check the network (proxy: HTTPS_PROXY; a mirror: HF_ENDPOINT) and run `make setup` again"
        " (what was downloaded is kept); or " + other_ways(),
    )


class SafeRedirect(urllib.request.HTTPRedirectHandler):
    """Follow redirects, keep the hub's own hash header, never show the token to another host."""

    stated: str | None = None

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        self.stated = self.stated or stated_hash(headers)
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and host(newurl) != host(req.full_url):
            new.remove_header("Authorization")
        return new


def host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc


def stated_hash(headers: Any) -> str | None:
    """For files in large-file storage, the hub's ETag is the SHA-256 of the content."""
    tag = (headers.get("X-Linked-Etag") or "").strip('W/"')
    return tag if re.fullmatch(r"[0-9a-f]{64}", tag) else None


def open_url(url: str, first_byte: int = 0) -> tuple[Any, str | None]:
    """The response, and the SHA-256 that the hub states for the file."""
    request = urllib.request.Request(url, headers={"User-Agent": "pairwright-setup"})
    if os.environ.get("HF_TOKEN"):
        request.add_header("Authorization", f"Bearer {os.environ['HF_TOKEN']}")
    if first_byte:
        request.add_header("Range", f"bytes={first_byte}-")
    redirects = SafeRedirect()
    response = urllib.request.build_opener(redirects).open(request, timeout=TIMEOUT_S)
    return response, redirects.stated or stated_hash(response.headers)


def refused(error: urllib.error.HTTPError, what: str) -> SetupError:
    if error.code in (401, 403):
        return SetupError(
            f"llm: the hub at {endpoint()} refuses {what} ({error.code})",
            "check the name; for a gated model accept its licence on the hub and set HF_TOKEN; or "
            + other_ways(),
        )
    if error.code == 404:
        return SetupError(f"llm: the hub at {endpoint()} has no {what}", "check DEMO_LLM; or " + other_ways())
    return unreachable(f"{error.code} {error.reason}")


def pick_file(repository: str, revision: str) -> str:
    """The repository's q4_k_m file, or its only GGUF; otherwise the user has to say."""
    url = f"{endpoint()}/api/models/{repository}/revision/{revision}"
    try:
        listing = json.load(open_url(url)[0])
    except urllib.error.HTTPError as error:
        raise refused(error, repository) from error
    except (OSError, ValueError) as error:
        raise unreachable(getattr(error, "reason", error)) from error
    names: list[str] = [f["rfilename"] for f in listing.get("siblings", [])]
    ggufs = [n for n in names if n.lower().endswith(".gguf") and not SPLIT.search(n)]
    chosen = [n for n in ggufs if "q4_k_m" in n.lower()] or ggufs
    if len(chosen) == 1:
        return chosen[0]
    raise SetupError(
        f"llm: which file of {repository}? It has: {', '.join(ggufs) or 'no single-file GGUF'}",
        f"run with DEMO_LLM={repository}:FILE.",
    )


def download(repository: str, revision: str, file: str, path: Path, expected: str | None) -> str:
    """Fetch into runtime/tmp with resume, check, then rename. Returns the SHA-256."""
    TMP.mkdir(parents=True, exist_ok=True)
    partial = TMP / f"{repository.replace('/', '--')}--{path.name}.part"
    url = f"{endpoint()}/{repository}/resolve/{revision}/{urllib.parse.quote(file)}"
    stated = fetch_with_resume(url, f"{repository}/{file}", partial)
    digest = sha256(partial)
    check(partial, digest, expected, stated)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial, path)
    return digest


def check(partial: Path, digest: str, expected: str | None, stated: str | None) -> None:
    for wanted, whose in ((stated, "the hub states"), (expected, "was pinned or seen before")):
        if wanted and digest != wanted:
            partial.unlink()
            raise SetupError(
                f"llm: the download has the wrong SHA-256, it was deleted\n"
                f"    {wanted} {whose}\n    {digest} came",
                f"run `make setup` again. If the hub's file really changed and you trust it, delete"
                f" runtime/stamps/hub-*.json first; or {other_ways()}",
            )
    with partial.open("rb") as content:
        magic = content.read(4)
    if magic != b"GGUF":
        partial.unlink()
        raise SetupError(
            "llm: what came is not a GGUF file, it was deleted", "check DEMO_LLM and HF_ENDPOINT."
        )


def fetch_with_resume(url: str, what: str, partial: Path) -> str | None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return fetch_rest(url, what, partial)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the kept part does not fit the file any more
                partial.unlink(missing_ok=True)
            elif error.code < 500 and error.code != 429:
                raise refused(error, what) from error
            reason: object = f"{error.code} {error.reason}"
        except OSError as error:
            if error.errno == 28:
                raise no_space("llm: the disk is full") from error
            reason = getattr(error, "reason", error)
        if attempt < ATTEMPTS:
            say("llm", f"{reason}: trying again")
            time.sleep(attempt)
    raise unreachable(reason)


def fetch_rest(url: str, what: str, partial: Path) -> str | None:
    have = partial.stat().st_size if partial.exists() else 0
    response, stated = open_url(url, have)
    with response:
        if response.status != 206:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        if total:
            need_space("llm", (total - have) // 1_000_000 + 100)
        say("llm", f"fetching {what}" + (f", from byte {have} on" if have else ""))
        progress = Progress("llm", total)
        with partial.open("ab" if have else "wb") as sink:
            for block in iter(lambda: response.read(1 << 18), b""):
                sink.write(block)
                have += len(block)
                progress.at(have)
    if total and have < total:
        raise OSError(f"the connection closed after {have} of {total} bytes")
    return stated
