"""What was exported, as every loader is compared with it. Only the standard library and Pillow: each environment has it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

IMAGE = "<image>"


def plain(text: str) -> str:
    """An instruction without the placeholder of the photo, which trainers move and replace."""
    return text.replace(IMAGE, "").strip()


class Reference:
    """The samples of DATASET/samples.jsonl and what a loader made of them."""

    def __init__(self, dataset: Path) -> None:
        self.wanted = Counter()
        for line in (dataset / "samples.jsonl").read_text(encoding="utf-8").splitlines():
            sample = json.loads(line)
            lineage = sample["lineage"]
            size = (lineage["width"], lineage["height"])
            self.wanted[(sample["instruction"].strip(), sample["answer"].strip(), size, lineage["image_sha256"])] += 1
        self.found = Counter()
        self.shapes: dict[str, list[int]] = {}
        self.note = ""
        self.hashes_known = True

    def saw(self, instruction: str, answer: str, photo) -> None:
        """One sample that came out of a loader; `photo` is bytes, a path, or a Pillow image."""
        from PIL import Image

        content = photo.read_bytes() if isinstance(photo, Path) else photo
        digest = None
        if isinstance(content, bytes):
            digest = hashlib.sha256(content).hexdigest()
            content = Image.open(BytesIO(content))
        content.load()
        if digest is None:
            self.hashes_known = False
        self.found[(plain(instruction), answer.strip(), content.size, digest)] += 1

    def batch(self, arrays: dict) -> None:
        """The shapes of the first batch."""
        self.shapes = {name: list(array.shape) for name, array in arrays.items() if hasattr(array, "shape")}

    def batches(self, rows, collate: Callable[[list], dict]) -> None:
        """All rows collated by fours, so that one which cannot be is met; the shapes of the first batch."""
        for start in range(0, len(rows), 4):
            batch = collate([rows[place] for place in range(start, min(start + 4, len(rows)))])
            if start == 0:
                self.batch(batch)

    def result(self) -> dict:
        """Counts for the table; `same` is how many came out with text and photo as exported."""
        wanted, found = self.wanted, self.found
        if not self.hashes_known:
            # The loader gave decoded pictures: their size stands for them.
            wanted, found = (shorten(one) for one in (wanted, found))
        return {
            "in": wanted.total(), "out": found.total(), "same": (wanted & found).total(),
            "shapes": self.shapes, "note": self.note,
        }  # fmt: skip


def shorten(counts: Counter) -> Counter:
    short = Counter()
    for key, count in counts.items():
        short[key[:3]] += count
    return short
