"""Tests of the parts of the small training that need no torch: samples.py, figures.py."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path

from figures import chance, figures, first, interval, rank, table
from samples import Sample, batches, candidates, derange, folds, read_llava

PHOTOS = [f"{place}.jpg" for place in range(23)]


def record(name="a-1", photo="a.jpg", turns=(("human", "<image>\nWrite."), ("gpt", "Words."))):
    return {"id": name, "image": photo, "conversations": [{"from": one, "value": text} for one, text in turns]}


class Reading(unittest.TestCase):
    def read(self, records):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "llava.json"
            path.write_text(json.dumps(records))
            return read_llava(path)

    def test_a_record_is_a_sample_without_the_placeholder(self):
        self.assertEqual(self.read([record()]), [Sample("a-1", "a.jpg", "Write.", "Words.")])

    def test_each_turn_of_a_conversation_is_a_sample(self):
        turns = [("human", "<image>\nOne?"), ("gpt", "One."), ("human", "Two?"), ("gpt", "Two.")]
        found = self.read([record(turns=turns)])
        self.assertEqual([(one.id, one.instruction) for one in found], [("a-1/0", "One?"), ("a-1/1", "Two?")])

    def test_a_bad_record_is_named(self):
        for bad, word in [
            ({"id": "x"}, "image"),
            (record(turns=[("human", "alone")]), "1 turns"),
            (record(turns=[("gpt", "a"), ("human", "b")]), "gpt and human"),
            (record(turns=[("human", "<image>"), ("gpt", "b")]), "no text"),
        ]:
            with self.assertRaisesRegex(ValueError, f"record 1: .*{word}"):
                self.read([record(), bad])
        with self.assertRaisesRegex(ValueError, "JSON array"):
            self.read({"a": 1})


class Drawing(unittest.TestCase):
    def test_folds_part_the_photos(self):
        parts = folds(PHOTOS * 2, 4, seed=3)
        self.assertEqual(sorted(photo for part in parts for photo in part), sorted(PHOTOS))
        self.assertEqual(sorted(len(part) for part in parts), [5, 6, 6, 6])
        self.assertEqual(parts, folds(PHOTOS[::-1], 4, seed=3))
        self.assertNotEqual(parts, folds(PHOTOS, 4, seed=4))
        with self.assertRaisesRegex(ValueError, "24 folds of 23 photos"):
            folds(PHOTOS, 24, seed=0)

    def test_a_shuffle_leaves_no_photo_with_its_texts(self):
        for seed in range(20):
            changed = derange(PHOTOS[:4], seed)
            self.assertEqual(sorted(changed.values()), PHOTOS[:4])
            self.assertTrue(all(one != other for one, other in changed.items()))
        with self.assertRaisesRegex(ValueError, "cannot be exchanged"):
            derange(PHOTOS[:1], 0)

    def test_candidates_begin_with_the_own_photo(self):
        sample = Sample("s", "3.jpg", "Write.", "Words.")
        found = candidates(sample, PHOTOS, 9, seed=1, always="7.jpg")
        self.assertEqual(found[:2], ["3.jpg", "7.jpg"])
        self.assertEqual(len(set(found)), 10)
        self.assertEqual(found, candidates(sample, PHOTOS, 9, seed=1, always="7.jpg"))
        self.assertEqual(len(candidates(sample, PHOTOS[:5], 9, seed=1)), 5, "a small pool gives what it has")

    def test_batches_hold_every_place_once(self):
        found = batches(10, 4, "x")
        self.assertEqual([len(batch) for batch in found], [4, 4, 2])
        self.assertEqual(sorted(place for batch in found for place in batch), list(range(10)))


class Figures(unittest.TestCase):
    def test_ranks_share_ties(self):
        self.assertEqual(rank([2.0, 1.0, 3.0]), 2)
        self.assertEqual(rank([1.0, 1.0, 3.0]), 1.5)
        self.assertEqual(rank([1.0, 1.0, 3.0], place=2), 3)
        self.assertEqual((first([1.0, 1.0, 3.0]), first([2.0, 1.0]), first([1.0, 2.0])), (0.5, 0, 1))

    def test_an_interval_keeps_the_answers_of_a_photo_together(self):
        values = [(f"{photo}", float(photo % 2)) for photo in range(40) for _ in range(50)]
        mean, low, high = interval(values)
        self.assertEqual(mean, 0.5)
        # Forty photos, not two thousand answers: 0.5 +- 1.96 * 0.5 / sqrt(40).
        self.assertAlmostEqual(low, 0.345, delta=0.04)
        self.assertAlmostEqual(high, 0.655, delta=0.04)
        self.assertEqual(interval([("a", 2.0), ("a", 4.0)]), (3.0, 3.0, 3.0))

    def test_figures_compare_the_same_answers(self):
        scores = []
        for place in range(12):
            base = {"id": str(place), "photo": f"{place // 2}.jpg"}
            scores.append(base | {"condition": "matched", "losses": [1.0, 2.0, 3.0, 4.0], "assigned": 1})
            scores.append(base | {"condition": "shuffled", "losses": [1.5, 1.0, 3.0, 4.0], "assigned": 1})
            scores.append(base | {"condition": "blind", "losses": [3.0], "assigned": None})
        found = figures(scores)
        self.assertEqual(found["less"]["loss, matched minus shuffled"], (-0.5, -0.5, -0.5))
        self.assertEqual(found["less"]["loss, matched minus blind"], (-2.0, -2.0, -2.0))
        self.assertEqual((found["first"]["matched"][0], found["first"]["shuffled"][0]), (1.0, 0.0))
        self.assertEqual(found["assigned_first"]["shuffled"][0], 1.0)
        self.assertEqual((found["chance"], found["photos"]["blind"]), (0.25, 6))
        self.assertEqual(chance([{"losses": [1.0] * 10}]), 0.1)
        self.assertIn("| held out | matched | 12 | 1.000 [1.000, 1.000] | 100 % [100, 100] |", table({"held out": found}))


if __name__ == "__main__":
    unittest.main()
