"""Tests of the parts of the recipes that need no torch: samples.py, figures.py, mix.py, the proof's arms and summary."""

from __future__ import annotations

import json
import sys
import tempfile
import unittest
from pathlib import Path

from figures import chance, figures, first, interval, paired, rank, table
from mix import read, write
from samples import Sample, batches, candidates, derange, folds, read_llava

sys.path.insert(0, str(Path(__file__).resolve().parent / "proof"))

import arms  # noqa: E402
import summary  # noqa: E402

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
            base = {"fold": 0, "id": str(place), "photo": f"{place // 2}.jpg"}
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

    def test_an_answer_is_compared_within_its_fold(self):
        scores = [
            {"fold": fold, "id": "a", "photo": "a.jpg", "condition": condition, "losses": [loss]}
            for fold, both in enumerate([(1.0, 2.0), (5.0, 9.0)])
            for condition, loss in zip(("matched", "shuffled"), both)
        ]
        found = paired(scores[:3], "matched", "shuffled", lambda score: score["losses"][0])
        self.assertEqual(found, [("a.jpg", -1.0)], "the second fold has one condition")
        found = paired(scores, "matched", "shuffled", lambda score: score["losses"][0])
        self.assertEqual(found, [("a.jpg", -1.0), ("a.jpg", -4.0)])


class Mixing(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        (self.folder / "photos").mkdir()
        (self.folder / "photos/a.jpg").write_bytes(b"photo")

    def source(self, records):
        (self.folder / "data.json").write_text(json.dumps(records))
        return f"{self.folder}/data.json:{self.folder}/photos"

    def test_every_trainer_gets_every_record(self):
        words = {"id": 7, "conversations": record()["conversations"]}
        words["conversations"][0] = {"from": "human", "value": "No photo."}
        write(self.folder / "mix", read(self.source([record(), words])))
        photo = str(self.folder / "photos/a.jpg")
        llava = json.loads((self.folder / "mix/llava.json").read_text())
        self.assertEqual([one.get("image") for one in llava], [photo[1:], None], "from --image_folder / on")
        factory = json.loads((self.folder / "mix/factory.json").read_text())
        self.assertEqual([one["images"] for one in factory], [[photo], []])
        rows = [json.loads(line) for line in (self.folder / "mix/swift.jsonl").read_text().splitlines()]
        self.assertEqual([row.get("images") for row in rows], [[photo], None])
        self.assertEqual(rows[0]["messages"][1], {"role": "assistant", "content": "Words."})

    def test_a_record_that_does_not_do_is_named(self):
        two = record(turns=[("human", "<image> <image>"), ("gpt", "Words.")])
        for bad, word in [
            (record(photo="b.jpg"), "no photo .*b.jpg"),
            (two, "2 times <image>, wanted 1"),
            ({"id": "x", "conversations": []}, "wanted conversations"),
        ]:
            with self.assertRaisesRegex(ValueError, f"record 1 .*{word}"):
                read(self.source([record(), bad]))
        with self.assertRaisesRegex(ValueError, "FILE.json:FOLDER"):
            read("data.json")


class Proof(unittest.TestCase):
    def test_arms_are_of_equal_size_over_the_same_photos(self):
        matched = {photo: [record(f"{photo}-{place}", photo) for place in range(2)] for photo in PHOTOS}
        drawn = {photo: [record(f"r-{photo}", photo)] for photo in PHOTOS[1:]}
        made = arms.arms(matched, drawn, seed=1)
        self.assertEqual({name: len(records) for name, records in made.items()}, dict.fromkeys(made, 22))
        self.assertEqual({one["image"] for one in made["matched"]}, set(PHOTOS[1:]))
        own = {one["id"]: one["image"] for one in made["matched"]}
        self.assertTrue(all(own[one["id"]] != one["image"] for one in made["shuffled"]))
        self.assertEqual(sorted(own.values()), sorted(one["image"] for one in made["shuffled"]))

    def test_a_summary_compares_arms_by_seed(self):
        with tempfile.TemporaryDirectory() as folder:
            for run, value in {"matched-1": 0.5, "matched-2": 0.7, "shuffled-1": 0.4, "shuffled-2": 0.4}.items():
                path = Path(folder) / run / "model/1_results.json"
                path.parent.mkdir(parents=True)
                results = {"pope": {"pope_accuracy,none": value, "pope_accuracy_stderr,none": 0.1, "alias": "pope"}}
                path.write_text(json.dumps({"results": results}))
            told = summary.summary(summary.read(Path(folder)))
        self.assertIn("| pope | pope_accuracy | matched | 2 | 0.600 [0.500, 0.700] |  |", told)
        self.assertIn("| pope | pope_accuracy | shuffled | 2 | 0.400 [0.400, 0.400] | +0.100, +0.300 |", told)
        self.assertNotIn("stderr", told)


if __name__ == "__main__":
    unittest.main()
