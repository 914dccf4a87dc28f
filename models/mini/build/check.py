#!/usr/bin/env python3
"""Measures the built model: agreement with another build, independence of the batch, recall on captioned photos.

    python check.py --photos DIR [--against DIR] [--json]

DIR of --photos holds captions.jsonl (`file_name`, `captions`) and the photos. --against takes a folder with
vision.onnx, text.onnx and tokenizer.json of another build (the prototype). Exits 1 when a bound is missed.
"""

import argparse
import json
import platform
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import PIL
import tokenizers
from PIL import Image

from reference import Model, digest

HERE = Path(__file__).resolve().parent
AGREEMENT = 0.999  # least cosine with the other build
INDEPENDENCE = 1e-4  # greatest difference of one value, alone or in a batch


def read_photos(folder):
    rows = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    captions = [caption for row in rows for caption in row["captions"]]
    owner = np.array([at for at, row in enumerate(rows) for _ in row["captions"]])
    return [folder / row["file_name"] for row in rows], captions, owner


def recall(similarity, owner):
    """Percent of queries whose own item is among the first 1, 5, 10; the best of a photo's captions counts."""
    own = similarity[owner, np.arange(len(owner))]
    to_image = (similarity > own).sum(axis=0)
    best = np.array([similarity[at, owner == at].max() for at in range(len(similarity))])
    to_text = (similarity > best[:, None]).sum(axis=1)
    rate = lambda ranks: [round(100 * float((ranks < k).mean()), 2) for k in (1, 5, 10)]
    return {"text_to_image": rate(to_image), "image_to_text": rate(to_text)}


def cosine_scale(similarity, owner):
    own = np.arange(len(similarity))[:, None] == owner[None]
    mean = lambda values: round(float(values.mean()), 3)
    return {
        "matching_mean": mean(similarity[own]),
        "other_mean": mean(similarity[~own]),
        "other_p95": round(float(np.percentile(similarity[~own], 95)), 3),
    }


def caption_weights(images, texts, owner):
    """R@1 text to image when the last caption of each photo joins its image with a weight."""
    last = np.array([np.flatnonzero(owner == at)[-1] for at in range(len(images))])
    queries = np.setdiff1d(np.arange(len(owner)), last)
    by_image, by_caption = images @ texts[queries].T, texts[last] @ texts[queries].T
    scores = {}
    for weight in (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0):
        joined = (1 - weight) * by_image + weight * by_caption
        scores[str(weight)] = recall(joined, owner[queries])["text_to_image"][0]
    return scores


def agreement(model, other, pixels, captions, images, texts):
    cosines = {
        "image": (images * other.embed_pixels(pixels)).sum(axis=1),
        "text": (texts * other.embed_texts(captions)).sum(axis=1),
    }
    return {
        f"{kind}_{name}": round(float(value), 6)
        for kind, values in cosines.items()
        for name, value in (("min", values.min()), ("mean", values.mean()))
    }


def independence(model, pixels, captions, images, texts):
    """The largest change of any value between alone, in eights and in one large batch."""
    one = max(np.abs(images - model.embed_pixels(pixels, size)).max() for size in (1, 3, 32))
    two = max(np.abs(texts - model.embed_texts(captions, size)).max() for size in (1, 8, 64))
    return {"image": float(one), "text": float(two)}


def files_match(model):
    return all(digest(model.folder / file["name"]) == file["sha256"] for file in model.manifest["files"])


def measure(args):
    model = Model(args.model)
    photos, captions, owner = read_photos(args.photos)
    pixels = np.stack([model.pixels(Image.open(photo)) for photo in photos])
    images, texts = model.embed_pixels(pixels), model.embed_texts(captions)
    result = {
        "pool": f"{len(photos)} photos x {len(captions)} captions",
        "files_match_manifest": files_match(model),
        **recall(images @ texts.T, owner),
        "cosines": cosine_scale(images @ texts.T, owner),
        "recall_at_1_by_caption_weight": caption_weights(images, texts, owner),
        "batch_difference": independence(model, pixels, captions, images, texts),
        "versions": {
            "python": platform.python_version(),
            **{part.__name__: part.__version__ for part in (PIL, np, onnx, onnxruntime, tokenizers)},
        },
    }
    if args.against:
        other = Model(args.against, manifest=model.folder / "model.toml")
        result["agreement"] = agreement(model, other, pixels, captions, images, texts)
        result["other_build"] = recall(other.embed_pixels(pixels) @ other.embed_texts(captions).T, owner)
    return result


def failures(result):
    if not result["files_match_manifest"]:
        yield "a file is not the one the manifest names"
    for kind in ("image", "text"):
        if result["batch_difference"][kind] >= INDEPENDENCE:
            yield f"{kind}: the batch changes a value by {result['batch_difference'][kind]:.2e}"
        if "agreement" in result and result["agreement"][f"{kind}_min"] < AGREEMENT:
            yield f"{kind}: cosine with the other build is {result['agreement'][f'{kind}_min']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=HERE.parent)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON line instead of a list")
    args = parser.parse_args()
    result = measure(args)
    if args.json:
        print(json.dumps(result))
    else:
        print("\n".join(f"{name:30} {json.dumps(value)}" for name, value in result.items()))
    missed = list(failures(result))
    print("\n".join(f"FAILED {line}" for line in missed), file=sys.stderr, end="\n" if missed else "")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
