"""Recall of captions with and without prompt templates: `pairwright embed` on the COCO photos beside the project.

    python scripts/measure_prompts.py [--binary target/release/pairwright] [--model DIR] [--photos DIR]

Needs numpy. For each template: how often a caption's photo is among its nearest 1, 5 and 10, and the reverse.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

TEMPLATES = [None, "a photo of {}", "a photo. {}", "This is a photo: {}", "a photo that fits the instruction: {}"]


def recall(queries, pool, right, k):
    nearest = np.argsort(-(queries @ pool.T), axis=1)[:, :k]
    return 100 * np.mean([any(right(query, row) for row in rows) for query, rows in enumerate(nearest)])


def main():
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default=root / "target/release/pairwright")
    parser.add_argument("--model", default=root / "models/mini")
    parser.add_argument("--photos", type=Path, default=root / "../shared/data/coco-train80")
    args = parser.parse_args()
    rows = [json.loads(line) for line in (args.photos / "captions.jsonl").read_text().splitlines()]
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        texts = Path(scratch) / "captions.txt"
        pairs = [(row["file_name"], " ".join(caption.split())) for row in rows for caption in row["captions"]]
        texts.write_text("\n".join(caption for _, caption in pairs) + "\n")

        def embed(*more):
            subprocess.run([args.binary, "embed", "--out", out, "--model", args.model, *more], check=True, capture_output=True)
            ids = [json.loads(line)["id"] for line in out.with_suffix(".jsonl").read_text().splitlines()]
            return ids, np.load(out.with_suffix(".npy"))

        names, photos = embed("--images", args.photos)
        print("| prompt | caption to photo @1 / 5 / 10 | photo to caption @1 / 5 / 10 |\n|---|---|---|")
        for template in TEMPLATES:
            _, captions = embed("--texts", texts, *(["--model-prompt", template] if template else []))
            to_photo = [recall(captions, photos, lambda q, r: pairs[q][0] == names[r], k) for k in (1, 5, 10)]
            to_caption = [recall(photos, captions, lambda q, r: names[q] == pairs[r][0], k) for k in (1, 5, 10)]
            figures = [" / ".join(f"{one:.1f}" for one in all_) for all_ in (to_photo, to_caption)]
            print(f"| {template or 'none'} | {figures[0]} | {figures[1]} |", flush=True)


main()
