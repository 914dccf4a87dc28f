"""LLaVA's reader as its documentation and published scripts tell it, written anew with numpy and Pillow.

`LazySupervisedDataset` with `--version v1 --image_aspect_ratio pad`: a JSON array; a photo is opened as
`image_folder/image`, made square with the processor's mean colour and resized to 336; the placeholder is moved to the
front of its turn; turns follow as `USER: ... ASSISTANT: ...</s>`; only answers are learnt. A byte is a token here.
"""

import json
from pathlib import Path

import numpy
from PIL import Image
from reference import IMAGE, Reference

SIDE = 336
MEAN = numpy.array([0.48145466, 0.4578275, 0.40821073], dtype=numpy.float32)
DEVIATION = numpy.array([0.26862954, 0.26130258, 0.27577711], dtype=numpy.float32)
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
IGNORED, IMAGE_ID = -100, -200


def square(image: Image.Image) -> numpy.ndarray:
    """[3, 336, 336] of a photo, padded to a square first."""
    side = max(image.size)
    padded = Image.new("RGB", (side, side), tuple(int(255 * one) for one in MEAN))
    padded.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    pixels = numpy.asarray(padded.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=numpy.float32) / 255
    return ((pixels - MEAN) / DEVIATION).transpose(2, 0, 1)


def tokens(conversations: list[dict]) -> tuple[list[int], list[int]]:
    """Ids and labels of a conversation; where the photo stands there is one id of -200."""
    ids, labels = list(SYSTEM.encode()), []
    labels = [IGNORED] * len(ids)
    for place, turn in enumerate(conversations):
        if turn["from"] != ("human", "gpt")[place % 2]:
            raise ValueError(f"turn {place} is of {turn['from']}")
        text = turn["value"]
        if place % 2 == 0:
            if IMAGE in text:
                text = f"{IMAGE}\n{text.replace(IMAGE, '').strip()}"
            before, photo, after = f" USER: {text} ASSISTANT:".partition(IMAGE)
            piece = [*before.encode(), *([IMAGE_ID] if photo else []), *after.encode()]
            labels += [IGNORED] * len(piece)
        else:
            piece = [*f" {text}".encode(), 2]
            labels += piece
        ids += piece
    return ids, labels


def array(reference: Reference, path: Path, photos: Path) -> None:
    """Every record of the file to ids, labels and pixels; the first four collated."""
    batch = []
    for record in json.loads(path.read_text(encoding="utf-8")):
        image = Image.open(photos / record["image"]).convert("RGB")
        turns = record["conversations"]
        ids, labels = tokens(turns)
        if ids.count(IMAGE_ID) != 1:
            raise ValueError(f"{record['id']}: {ids.count(IMAGE_ID)} placeholders of the photo, wanted 1")
        pixels = square(image)
        if len(batch) < 4:
            batch.append((ids, labels, pixels))
        for human, gpt in zip(turns[::2], turns[1::2], strict=True):
            reference.saw(human["value"], gpt["value"], photos / record["image"])
    longest = max(len(ids) for ids, _, _ in batch)
    reference.batch({
        "input_ids": numpy.array([ids + [0] * (longest - len(ids)) for ids, _, _ in batch]),
        "labels": numpy.array([labels + [IGNORED] * (longest - len(labels)) for _, labels, _ in batch]),
        "images": numpy.stack([pixels for _, _, pixels in batch]),
    })
    reference.note = "reader re-stated here"
