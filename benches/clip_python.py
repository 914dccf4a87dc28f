"""The Python side of clip_throughput: the same graphs in onnxruntime, photos with Pillow, texts with tokenizers.

Prints one line of JSON, items per second. Needs models/export/requirements.txt.
"""

import argparse
import json
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from tokenizers import Tokenizer

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
SIDE = 224


def session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def read(path):
    with Image.open(path) as file:
        image = file.convert("RGB")
    short = min(image.size)
    image = image.resize(tuple(edge * SIDE // short for edge in image.size), Image.Resampling.BICUBIC)
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))


def tensor(images):
    values = np.stack(images).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(((values - MEAN) / STD).transpose(0, 3, 1, 2))


def tokens(tokenizer, texts):
    encodings = tokenizer.encode_batch(texts)
    ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
    return {"input_ids": ids, "attention_mask": np.array([e.attention_mask for e in encodings], dtype=np.int64)}


def rate(count, work, parts):
    began = time.perf_counter()
    for part in parts:
        work(part)
    return count / (time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--count", type=int, default=80)
    args = parser.parse_args()
    paths = sorted(args.images.glob("*.jpg"))[: args.count]
    samples = Path(__file__).resolve().parents[1] / "samples/photos"
    sentences = sorted(path.read_text(encoding="utf-8").split(".")[0] for path in samples.glob("*.txt"))
    texts = list(islice(cycle(sentences), args.count))
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("<|endoftext|>"), pad_token="<|endoftext|>")
    tokenizer.enable_truncation(77)
    vision = session(args.model / "onnx/vision_model.onnx", args.threads)
    text = session(args.model / "onnx/text_model.onnx", args.threads)

    def chunks(items):
        return [items[at : at + args.batch] for at in range(0, len(items), args.batch)]

    see = lambda values: vision.run(["image_embeds"], {"pixel_values": values})
    say = lambda feeds: text.run(["text_embeds"], feeds)
    prepared = [tensor([read(path) for path in part]) for part in chunks(paths)]
    ready = [tokens(tokenizer, part) for part in chunks(texts)]
    see(prepared[0]), say(ready[0])  # the first run allocates: not counted
    print(
        json.dumps(
            {
                "raw_images": rate(len(paths), see, prepared),
                "jpeg_images": rate(len(paths), lambda part: see(tensor([read(path) for path in part])), chunks(paths)),
                "raw_texts": rate(len(texts), say, ready),
                "texts": rate(len(texts), lambda part: say(tokens(tokenizer, part)), chunks(texts)),
            }
        )
    )


main()
