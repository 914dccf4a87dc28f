"""nanoVLM's reader of FineVision as it is documented, written anew over `datasets`.

A row has `images` and `texts` of `user` and `assistant`. Turns whose rating is below the wanted one are left out, a
missing rating (null) leaves nothing out; image tokens in texts are taken away, the photo's own stand before the first turn.
"""

from pathlib import Path

import numpy
from reference import IMAGE, Reference

RATINGS = ("relevance", "image_correspondence", "visual_dependency", "formatting")
SIDE, LEAST = 224, 1


def rows(reference: Reference, folder: Path) -> None:
    from datasets import load_dataset

    unrated = 0
    pixels = []
    loaded = load_dataset("parquet", data_files=str(folder / "data/*.parquet"), split="train")
    for row in loaded:
        image = row["images"][0].convert("RGB")
        for place, text in enumerate(row["texts"]):
            given = [row[f"{name}_ratings"][place] for name in RATINGS]
            unrated += None in given
            if any(rating is not None and rating < LEAST for rating in given):
                continue
            reference.saw(text["user"].replace(IMAGE, ""), text["assistant"], image)
        if len(pixels) < 4:
            resized = numpy.asarray(image.resize((SIDE, SIDE)), dtype=numpy.float32) / 255
            pixels.append(resized.transpose(2, 0, 1))
    reference.batch({"images": numpy.stack(pixels)})
    reference.note = f"reader re-stated here; {unrated} turns without all ratings"
