"""What a GPU gives: photos a second of the raw session, of `embed` and of the service, memory over time, and what is said of
a device that cannot be used.

    make setup ORT=gpu && cargo build --release --examples --bins
    target/release/examples/synthetic_source PHOTOS 20000
    PYTHON models/export/make_exports.py large EXPORTS        # a Python with models/export/requirements.txt
    make runtime/clients
    ORT_DYLIB_PATH=$PWD/runtime/onnxruntime-gpu/lib/libonnxruntime.so \\
        runtime/clients/bin/python benches/gpu.py EXPORTS PHOTOS [--device cuda] [--precision fp16] [--seconds 600]

EXPORTS holds folders of exports; each in turn is measured, with photos of PHOTOS, which lie in one folder or in folders of it.
The service's callers ask for photos by their paths, many in a call, so that they take little of the machine. With --device cpu
it runs anywhere, which shows that it runs and nothing else.
"""

import argparse
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from google.protobuf import json_format, message_factory
from siege import ROOT, Program, Server

# Photos of one call of the service, and how many call at once.
TOGETHER, CALLERS = 64, 8


def refusals(program: Path, args, model: Path, photos: Path):
    """What is said of devices that cannot be used; `auto` goes on without."""
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"}
    with tempfile.TemporaryDirectory() as folder:
        for device, variables in [("cuda", hidden), ("cuda:99", {}), ("openvino", {}), ("auto", hidden)]:
            embed = [program, "embed", "--images", photos, "--out", f"{folder}/{device}", "--model", model, "--model-precision", args.precision, "--device", device]
            done = subprocess.run(embed, env=os.environ | variables, capture_output=True, text=True)
            said = "\n    ".join((done.stderr + done.stdout).strip().splitlines()[-4:])
            print(f"--device {device} {variables or ''}: exit code {done.returncode}\n    {said}", flush=True)


def embed(program: Path, args, model: Path):
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        flags = ["--images", args.photos, "--out", f"{folder}/photos", "--model", model, "--model-precision", args.precision, "--device", args.device, "--batch-size", args.batch]
        done = subprocess.run([str(one) for one in [program, "embed", *flags]], capture_output=True, text=True)
        said = "\n    ".join((done.stderr + done.stdout).strip().splitlines()[-2:])
        print(f"embed: exit code {done.returncode} after {time.time() - began:.1f} s\n    {said}", flush=True)


def gpu_mib() -> int:
    """What is taken of the first GPU's memory; 0 where there is none."""
    ask = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        return int(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()[0])
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        return 0


def serve(program: Path, args, model: Path):
    """Callers of EmbedImages for so many seconds: photos a second and memory, by tenths of the time."""
    names = [str(path.relative_to(args.photos)) for path in sorted(args.photos.rglob("*.jpg"))]
    os.environ["PAIRWRIGHT__SERVE__QUEUE__BATCH_SIZE"] = str(args.batch)
    serving = ["--image-root", args.photos, "--library-seed", "none", "--model", model, "--device", args.device, "--model-precision", args.precision]
    with tempfile.TemporaryDirectory() as folder, Program(program, Path(folder), serving=serving) as served:
        done, failed, until = [0] * CALLERS, [], time.time() + args.seconds

        def call(caller: int):
            server, at = Server(served.address), caller
            method = server.pool.FindServiceByName("pairwright.v1.EmbeddingService").FindMethodByName("EmbedImages")
            request, answer = (message_factory.GetMessageClass(one) for one in (method.input_type, method.output_type))
            # Vectors as numbers of Python's would take longer than a GPU makes them.
            stub = server.channel.unary_unary("/pairwright.v1.EmbeddingService/EmbedImages", request.SerializeToString, answer.FromString)
            while time.time() < until:
                part = [{"path": names[(at * TOGETHER + place) % len(names)]} for place in range(TOGETHER)]
                at += CALLERS
                try:
                    results = stub(json_format.ParseDict({"images": part}, request()), timeout=60).results
                    done[caller] += sum(one.HasField("embedding") for one in results)
                except Exception as error:  # noqa: BLE001: whatever it is, the call failed.
                    failed.append(str(error))
                    time.sleep(0.1)

        threads = [threading.Thread(target=call, args=[at], daemon=True) for at in range(CALLERS)]
        for thread in threads:
            thread.start()
        print(f"service, {CALLERS} callers with {TOGETHER} photos a call:\n    | s | photos/s | resident MiB | GPU MiB |\n    |---|---|---|---|")
        for tenth in range(1, 11):
            before, began = sum(done), time.time()
            time.sleep(args.seconds / 10)
            if served.child.poll() is not None:
                print(f"    the server ended with {served.child.returncode}\n    {served.log.read_text()[-2000:]}", flush=True)
                return
            rate = (sum(done) - before) / (time.time() - began)
            print(f"    | {tenth * args.seconds / 10:.0f} | {rate:.0f} | {served.resident()} | {gpu_mib()} |", flush=True)
        for thread in threads:
            thread.join(60)
        print(f"    calls that failed: {len(failed)} {failed[:1]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("exports", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/pairwright")
    args = parser.parse_args()
    args.photos = args.photos.resolve()
    program, models = args.program.resolve(), sorted(path for path in args.exports.resolve().iterdir() if path.is_dir())
    refusals(program, args, models[0], ROOT / "samples/photos")
    # The benchmark reads one folder.
    near = next(args.photos.rglob("*.jpg")).parent
    for model in models:
        print(f"== {model.name}, {args.precision}, {args.device}", flush=True)
        bench = ["cargo", "bench", "--bench", "clip_throughput", "--", "--model", model, "--images", near, "--device", args.device,
                 "--precision", args.precision, "--batch", args.batch, "--count", 16 * args.batch, "--threads", os.cpu_count(), "--without-python"]
        subprocess.run([str(one) for one in bench], cwd=ROOT)
        embed(program, args, model)
        try:
            serve(program, args, model)
        except SystemExit as said:
            print(f"serve: {said}", flush=True)


if __name__ == "__main__":
    main()
