#!/usr/bin/env python3
"""The Python side of the throughput benchmark: the usual serial pipeline, timed.

    python python_pipeline.py --images DIR --model DIR --threads 2 --batch 8 --repeat 3

For each batch: open and decode with Pillow, resize, crop, normalise with numpy, run the onnxruntime session; one
batch after the other in one thread, the session using `--threads`. With `--workers N`, N threads do that side by side
over one session, batches in turn. With `--tars 'DIR/{000..099}.tar'` the photos are read by the package webdataset.
Prints one line of JSON. Needs numpy, pillow, onnxruntime, and webdataset for tars.
"""

import argparse
import io
import itertools
import json
import platform
import resource
import sys
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import PIL
from PIL import Image, ImageOps

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


def lacks_vnni():
    """Whether uint8 x int8 sums saturate here, so that the slower exact kernels are needed (models/mini/README.md)."""
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text() if cpu.exists() else ""
    return platform.machine() in ("x86_64", "AMD64") and "vnni" not in flags


def batched(items, size):
    items = iter(items)
    while part := list(itertools.islice(items, size)):
        yield part


class Pipeline:
    def __init__(self, folder, threads):
        manifest = tomllib.loads((folder / "model.toml").read_text())
        self.vision = manifest["vision"]
        self.rule = self.vision["preprocess"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        if lacks_vnni():
            options.add_session_config_entry("session.x64quantprecision", "1")
        path = str(folder / self.vision["file"])
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.lock = threading.Lock()
        self.seconds = {"decode": 0.0, "normalise": 0.0, "session": 0.0}

    def timed(self, stage, work, *args):
        start = time.perf_counter()
        result = work(*args)
        with self.lock:
            self.seconds[stage] += time.perf_counter() - start
        return result

    def read(self, photo):
        """A photo by its path or its bytes."""
        side = self.rule["crop"]
        with Image.open(io.BytesIO(photo) if isinstance(photo, bytes) else photo) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
        short = min(image.size)
        image = image.resize(
            tuple(int(round(edge * self.rule["resize_shortest_edge"] / short)) for edge in image.size),
            Image.Resampling.BICUBIC,
        )
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return np.asarray(image.crop((left, top, left + side, top + side)))

    def normalise(self, images):
        values = np.stack(images).astype(np.float32) * np.float32(self.rule["rescale_factor"])
        values = (values - np.float32(self.rule["mean"])) / np.float32(self.rule["std"])
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))

    def infer(self, values):
        return self.session.run([self.vision["output"]], {self.vision["input"]: values})[0]

    def embed(self, paths):
        images = self.timed("decode", lambda: [self.read(path) for path in paths])
        values = self.timed("normalise", self.normalise, images)
        return self.timed("session", self.infer, values)

    def run(self, photos, batch, workers):
        """Seconds for one pass over all photos, and the embeddings."""
        start = time.perf_counter()
        batches = batched(photos, batch)
        with ThreadPoolExecutor(workers) as pool:
            # Some at a time: a large source as a whole does not fit into memory.
            parts = [part for some in batched(batches, 64 * workers) for part in pool.map(self.embed, some)]
        return time.perf_counter() - start, np.concatenate(parts)


def in_folder(folder):
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return paths or sys.exit(f"no pictures in {folder}")


def in_tars(pattern):
    """Makes the photos' bytes from tars that a brace pattern names, as often as it is called."""
    import webdataset

    return lambda: (
        photo for (photo,) in webdataset.WebDataset(pattern, shardshuffle=False, empty_check=False).to_tuple("jpg")
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path)
    source.add_argument("--tars")
    parser.add_argument("--model", type=Path, default=Path(__file__).resolve().parents[1] / "models" / "mini")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the embeddings of the last pass here, as .npy")
    args = parser.parse_args()
    photos = in_tars(args.tars) if args.tars else lambda: in_folder(args.images)
    pipeline = Pipeline(args.model, args.threads)
    pipeline.run(itertools.islice(photos(), args.batch), args.batch, 1)  # the first run allocates: not counted
    pipeline.seconds = dict.fromkeys(pipeline.seconds, 0.0)
    passes = [pipeline.run(photos(), args.batch, args.workers) for _ in range(args.repeat)]
    if args.out:
        np.save(args.out, passes[-1][1])
    each = len(passes[-1][1])
    count = each * args.repeat
    total = sum(seconds for seconds, _ in passes)
    print(
        json.dumps(
            {
                "images_per_s": round(count / total, 2),
                "best_images_per_s": round(each / min(seconds for seconds, _ in passes), 2),
                "session_images_per_s": round(count / pipeline.seconds["session"], 2),
                "decode_images_per_s": round(count / pipeline.seconds["decode"], 2),
                "normalise_images_per_s": round(count / pipeline.seconds["normalise"], 2),
                "images": each,
                "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "repeat": args.repeat,
                "batch": args.batch,
                "threads": args.threads,
                "workers": args.workers,
                "versions": {
                    "python": platform.python_version(),
                    "pillow": PIL.__version__,
                    "numpy": np.__version__,
                    "onnxruntime": onnxruntime.__version__,
                },
            }
        )
    )


if __name__ == "__main__":
    main()
