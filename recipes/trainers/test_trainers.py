"""Tests of what the table of trainers rests on: a sample that is lost or changed is not counted as exported."""

from __future__ import annotations

import hashlib
import json
import tempfile
import unittest
from io import BytesIO
from pathlib import Path

from load_llava import IGNORED, IMAGE_ID, SIDE, square, tokens
from PIL import Image
from reference import Reference


def photo(width: int, height: int) -> bytes:
    out = BytesIO()
    Image.new("RGB", (width, height), (200, 10, 10)).save(out, "PNG")
    return out.getvalue()


class Comparing(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.photos = [photo(8, 6), photo(8, 7)]
        lines = []
        for place, content in enumerate(self.photos):
            lineage = {"width": 8, "height": 6 + place, "image_sha256": hashlib.sha256(content).hexdigest()}
            lines.append(json.dumps({"instruction": f"Write {place}.", "answer": "Words.", "lineage": lineage}))
        (Path(folder.name) / "samples.jsonl").write_text("\n".join(lines) + "\n")
        self.reference = Reference(Path(folder.name))

    def counts(self) -> tuple[int, int, int]:
        found = self.reference.result()
        return found["in"], found["out"], found["same"]

    def test_all_as_exported(self):
        self.reference.saw("<image>\nWrite 0.", "Words.", self.photos[0])
        self.reference.saw("Write 1.", "Words.", self.photos[1])
        self.assertEqual(self.counts(), (2, 2, 2))

    def test_a_lost_sample_and_one_that_came_twice(self):
        self.reference.saw("Write 0.", "Words.", self.photos[0])
        self.assertEqual(self.counts(), (2, 1, 1))
        self.reference.saw("Write 0.", "Words.", self.photos[0])
        self.assertEqual(self.counts(), (2, 2, 1))

    def test_a_changed_text_and_an_exchanged_photo(self):
        self.reference.saw("Write 0.", "Word.", self.photos[0])
        self.reference.saw("Write 1.", "Words.", self.photos[0])
        self.assertEqual(self.counts(), (2, 2, 0))

    def test_decoded_pictures_are_compared_by_size(self):
        for place, content in enumerate(self.photos):
            self.reference.saw(f"Write {place}.", "Words.", Image.open(BytesIO(content)))
        self.assertEqual(self.counts(), (2, 2, 2))
        self.reference.saw("Write 0.", "Words.", Image.new("RGB", (9, 9)))
        self.assertEqual(self.counts(), (2, 3, 2))


class Llava(unittest.TestCase):
    def test_only_answers_are_learnt_and_the_photo_is_one_token(self):
        ids, labels = tokens([{"from": "human", "value": "Write.\n<image>"}, {"from": "gpt", "value": "Words."}])
        self.assertEqual(len(ids), len(labels))
        self.assertEqual(ids.count(IMAGE_ID), 1)
        learnt = [one for one in labels if one != IGNORED]
        self.assertEqual(bytes(learnt[:-1]).decode(), " Words.")
        self.assertEqual(bytes(ids[ids.index(IMAGE_ID) + 1 :][:7]).decode(), "\nWrite.", "the photo comes first")
        with self.assertRaisesRegex(ValueError, "turn 0 is of gpt"):
            tokens([{"from": "gpt", "value": "Words."}])

    def test_a_photo_is_padded_to_a_square(self):
        pixels = square(Image.open(BytesIO(photo(40, 10))).convert("RGB"))
        self.assertEqual(pixels.shape, (3, SIDE, SIDE))
        self.assertLess(abs(pixels[:, 0, 0]).max(), 0.02, "the padding is the mean colour")
        self.assertGreater(pixels[0, SIDE // 2, SIDE // 2], 1)


if __name__ == "__main__":
    unittest.main()
