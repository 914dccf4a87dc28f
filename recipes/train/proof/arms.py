"""The arms of the proof, of equal size and over the same photos:

    python arms.py --matched M/dataset/llava.json --random R/dataset/llava.json --out ARMS [--seed 1]

`matched.json` is what Pairwright drew and had answered; `random.json` instructions drawn evenly from the whole library for
the same photos, answered by the same model; `shuffled.json` the matched texts with their photos exchanged, no text with
its own photo. Of each photo every arm has as many samples.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from samples import derange  # noqa: E402


def by_photo(path: Path) -> dict[str, list[dict]]:
    found = defaultdict(list)
    for record in json.loads(path.read_text(encoding="utf-8")):
        found[record["image"]].append(record)
    return found


def arms(matched: dict[str, list[dict]], drawn: dict[str, list[dict]], seed: int) -> dict[str, list[dict]]:
    """The records of the three arms."""
    photos = sorted(set(matched) & set(drawn))
    exchanged = derange(photos, seed)
    made = {"matched": [], "shuffled": [], "random": []}
    for photo in photos:
        count = min(len(matched[photo]), len(drawn[photo]))
        made["matched"] += matched[photo][:count]
        made["random"] += drawn[photo][:count]
        made["shuffled"] += [record | {"image": exchanged[photo]} for record in matched[photo][:count]]
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--matched", type=Path, required=True)
    parser.add_argument("--random", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    made = arms(by_photo(args.matched), by_photo(args.random), args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, records in made.items():
        (args.out / f"{name}.json").write_text(json.dumps(records, ensure_ascii=False))
        print(f"{name}: {len(records)} samples")


if __name__ == "__main__":
    main()
