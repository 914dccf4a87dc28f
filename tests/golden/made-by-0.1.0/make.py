"""Makes the folders beside it with the release that the folder is named after.

    python make.py PAIRWRIGHT ROOT        (PAIRWRIGHT: that release's program; ROOT: this repository)

Needs `grpcio`, `grpcio-reflection` and `protobuf` for the service's part. An OpenAI-compatible server of its own
answers; which calls it refuses or fails follows from what is asked. Each `*.unfinished` folder is what the release left
after a session in which calls failed; the folder of the same name without it is the same one after the release finished
it. `replies.jsonl` holds every call that the server answered, by what was asked: `tests/run/old_folders.rs` plays it back.

Everything happens below /tmp/pairwright-0.1.0, which is therefore the path that the folders remember.
"""

import hashlib
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path("/tmp/pairwright-0.1.0")

VERBS = ["Write", "Compose", "Draft", "Invent", "Design", "Outline", "Imagine", "Propose"]
FORMS = ["a limerick", "a museum label", "a radio play", "a travel itinerary", "a recipe card", "a news bulletin",
         "a lullaby", "a safety leaflet", "a detective scene", "a letter of complaint", "a board game", "a short poem"]
ASPECTS = ["colours", "weather", "oldest object", "likely sounds", "light", "unseen owner", "textures", "mood"]
WORDS = ("morning light falls across the quiet corner while somebody has swept the ground and music drifts over from a "
         "window half drowned by passing wheels so every texture rewards slower glances near old stone and young grass").split()


def asked(body):
    return "".join(f"{message['role']}: {message['content']}\n" for message in body["messages"]).encode()


def prompt(body):
    return hashlib.sha256(asked(body)).hexdigest()


def instruction(draw):
    return f"{draw.choice(VERBS)} {draw.choice(FORMS)} about the {draw.choice(ASPECTS)} of the image."


def is_evaluation(body):
    return "[Answer A]" in str(body) or len(body["messages"]) == 1


def reply(body):
    if is_evaluation(body):
        # Whatever the seed, which follows from the call's key there.
        draw = random.Random(prompt(body))
        if "[Answer A]" in str(body):
            return draw.choice(["A", "B", "C", "A", "B", "Hard to say."])
    else:
        draw = random.Random(prompt(body) + str(body["seed"]))
    if "response_format" in body:
        schema = body["response_format"]["json_schema"]["schema"]
        if "instructions" in schema["properties"]:
            return json.dumps({"instructions": [instruction(draw) for _ in range(3)]})
        return json.dumps({name: instruction(draw) for name in schema["properties"]})
    if not is_evaluation(body) and draw.random() < 0.55:
        return "I'm sorry, but I can't help with that."
    return " ".join(draw.sample(WORDS, 24)).capitalize() + "."


class Llm(http.server.ThreadingHTTPServer):
    """Answers, refuses (400) and fails (500) by what is asked; the latter two only while `foul`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.foul, self.said, self.calls = False, {}, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def target(self):
        return f"openai:http://127.0.0.1:{self.server_port}/v1"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, value):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        self.send(200, {"object": "list", "data": [{"id": "stub-model", "object": "model"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        # What is asked decides, whatever its seed: a refused prompt stays refused.
        luck = int(hashlib.sha256(("4" + prompt(body)).encode()).hexdigest(), 16) % 8
        if luck == 0 and "response_format" not in body and not is_evaluation(body):
            return self.send(400, {"error": {"message": "the prompt is refused", "type": "invalid_request_error"}})
        if luck in (1, 2, 3) and self.server.foul:
            return self.send(500, {"error": {"message": "out of luck", "type": "server_error"}})
        text = reply(body)
        self.server.said[(prompt(body), body["seed"])] = text
        self.server.calls += 1
        usage = {"prompt_tokens": len(asked(body)) // 4, "completion_tokens": len(text.encode()) // 4}
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        self.send(200, {"id": "x", "object": "chat.completion", "created": 0, "model": "stub-model",
                        "choices": [choice], "usage": {**usage, "total_tokens": sum(usage.values())}})


def pack(folder):
    """Leaves of each database one small file, and leaves out what is made anew from it."""
    for path in sorted(folder.rglob("*.sqlite")):
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA page_size=1024")
        connection.execute("VACUUM")
        connection.close()
    for path in [*folder.rglob("*.lock"), *folder.rglob("report.html"), *folder.rglob("instructions.index")]:
        path.unlink()


def main():
    program, root = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    for name in ["models", "runtime"]:
        (WORK / name).symlink_to(root / name)
    shutil.copytree(root / "samples/photos", WORK / "samples/photos")
    inputs = WORK / "inputs"
    shutil.copytree(HERE / "inputs", inputs)
    llm = Llm()
    environment = {**os.environ, "PAIRWRIGHT__LLM__MAX_ATTEMPTS": "1"}

    def run(name, *arguments):
        made = {}
        for foul, place in [(True, f"{name}.unfinished"), (False, name)]:
            llm.foul, llm.calls = foul, 0
            if not foul:
                shutil.copytree(WORK / f"{name}.unfinished", WORK / name)
            command = [program, *arguments, "--llm", llm.target, "--out", WORK / place]
            done = subprocess.run([str(part) for part in command], cwd=WORK, env=environment, capture_output=True, text=True)
            made[place] = llm.calls
            print(place, "exit code", done.returncode, "calls", llm.calls)
            if done.returncode not in (0, 3):
                sys.exit(done.stderr)
        return made

    calls = {}
    photos = ["--source", inputs / "photos.jsonl", "--images", WORK / "samples/photos", "--seed", "7",
              "--instructions", inputs / "instructions.jsonl"]
    seeds = ["--seeds", inputs / "seeds.txt"]
    calls |= run("run", "run", *photos, "--config", inputs / "run.toml", "--per-image", "2")
    calls |= run("generated", "run", *photos, "--config", inputs / "run.toml", "--generate-instructions", *seeds)
    del calls["generated.unfinished"]
    calls |= run("library", "instructions", "generate", "--descriptions", inputs / "descriptions.txt", "--k", "3", "--seed", "7", *seeds)
    files = ["--questions", inputs / "questions.jsonl"]
    calls |= run("judged", "evaluate", "judge", *files, "--a", inputs / "a.jsonl", "--b", inputs / "b.jsonl", "--seed", "7")
    calls |= run("answered", "evaluate", "answer", *files, "--see", "caption", "--seed", "7")
    calls |= serve(program, llm, environment, inputs)
    for name in [*calls]:
        pack(WORK / name)
        shutil.rmtree(HERE / name, ignore_errors=True)
        shutil.copytree(WORK / name, HERE / name, symlinks=True)
    lines = [json.dumps({"prompt": prompt, "seed": seed, "text": text}) + "\n" for (prompt, seed), text in sorted(llm.said.items())]
    (HERE / "replies.jsonl").write_text("".join(lines))
    (HERE / "calls.json").write_text(json.dumps(calls, indent=2, sort_keys=True) + "\n")


def serve(program, llm, environment, inputs):
    """A data folder whose library was made by a caller, with a job of each kind, finished."""
    sys.path.insert(0, str(HERE.parent.parent / "clients"))
    from tour import Server

    llm.foul, llm.calls = False, 0
    log = open(WORK / "serve.log", "w")
    command = [program, "serve", "--listen", "127.0.0.1:50077", "--data", WORK / "service", "--library-seed", "none",
               "--image-root", WORK, "--llm", llm.target]
    child = subprocess.Popen([str(part) for part in command], cwd=WORK, env=environment, stderr=log, stdout=log)
    server = Server("127.0.0.1:50077")
    for _ in range(100):
        try:
            server.call("InfoService/GetServerInfo", {})
            break
        except Exception:
            time.sleep(0.2)
            server = Server("127.0.0.1:50077")
    draw = random.Random(7)
    wanted = [{"instruction_id": f"own-{number}", "instruction": {"text": instruction(draw), "category": "own"}} for number in range(6)]
    for one in wanted:
        try:
            server.call("InstructionService/CreateInstruction", one)
        except Exception as error:
            print("not added:", error.details())
    seeds = (inputs / "seeds.txt").read_text().splitlines()
    source = {"path": str(inputs / "photos.jsonl"), "images": str(WORK / "samples/photos")}
    jobs = [
        ("MatchingService/BatchMatch", {"source": source, "options": {"seed": "7"}, "generate_answers": True, "run_id": "batch"}),
        ("InstructionService/Generate", {"source": source, "seeds": seeds, "cluster_count": 3, "seed": "7", "run_id": "generated"}),
        ("EvaluationService/Judge", {"questions": str(inputs / "questions.jsonl"), "first_answers": str(inputs / "a.jsonl"),
                                     "second_answers": str(inputs / "b.jsonl"), "seed": "7", "run_id": "judged"}),
    ]
    for method, request in jobs:
        job = server.call(method, request)
        server.call("JobService/WatchJob", {"name": job["name"]})
        print(method, server.call("JobService/GetJob", {"name": job["name"]})["state"])
    child.send_signal(signal.SIGTERM)
    child.wait(60)
    return {"service": llm.calls}


main()
