"""The samples of a Pairwright export, and what is drawn from them: folds, shuffles, candidates. No torch in here."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

IMAGE = "<image>"


@dataclass(frozen=True)
class Sample:
    """One instruction and its answer for one photo."""

    id: str
    photo: str  # path below the folder of photos, as the export names it
    instruction: str
    answer: str


def read_llava(path: Path) -> list[Sample]:
    """The samples of a LLaVA JSON file; a conversation of several turns gives one sample for each turn.

    Raises ValueError with the record's place and field for anything that is not as the format says.
    """
    records = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(records, list):
        raise ValueError(f"{path}: wanted a JSON array of records, found {type(records).__name__}")
    samples = []
    for place, record in enumerate(records):
        where = f"{path}, record {place}"
        try:
            name, photo, turns = str(record["id"]), record["image"], record["conversations"]
        except (TypeError, KeyError) as error:
            raise ValueError(f"{where}: no field {error}") from error
        if len(turns) < 2 or len(turns) % 2:
            raise ValueError(f"{where}: {len(turns)} turns, wanted pairs of human and gpt")
        for turn in range(0, len(turns), 2):
            human, gpt = turns[turn], turns[turn + 1]
            if (human["from"], gpt["from"]) != ("human", "gpt"):
                raise ValueError(f"{where}: turn {turn} is of {human['from']} and {gpt['from']}, not human and gpt")
            instruction = human["value"].replace(IMAGE, "").strip()
            answer = gpt["value"].strip()
            if not instruction or not answer:
                raise ValueError(f"{where}: turn {turn} has no text")
            samples.append(Sample(name if len(turns) == 2 else f"{name}/{turn // 2}", photo, instruction, answer))
    return samples


def folds(photos: list[str], count: int, seed: int) -> list[list[str]]:
    """The distinct photos in `count` parts, which differ by one photo at most: a photo is never in two of them."""
    distinct = sorted(set(photos))
    if not 2 <= count <= len(distinct):
        raise ValueError(f"{count} folds of {len(distinct)} photos: wanted 2 to {len(distinct)}")
    random.Random(f"folds {seed}").shuffle(distinct)
    return [distinct[part::count] for part in range(count)]


def derange(photos: list[str], seed: int) -> dict[str, str]:
    """Each photo mapped to another one, no two to the same, drawn evenly from all such maps."""
    photos = sorted(photos)
    if len(photos) < 2:
        raise ValueError(f"{len(photos)} photo cannot be exchanged for another one")
    draw = random.Random(f"derange {seed}")
    while True:
        others = photos[:]
        draw.shuffle(others)
        if all(one != other for one, other in zip(photos, others)):
            return dict(zip(photos, others))


def candidates(sample: Sample, pool: list[str], others: int, seed: int, always: str | None = None) -> list[str]:
    """The sample's own photo, then distinct others of the pool, `always` among them if it is given."""
    rest = sorted(set(pool) - {sample.photo, always})
    given = [] if always in (None, sample.photo) else [always]
    drawn = random.Random(f"candidates {seed} {sample.id}").sample(rest, min(others - len(given), len(rest)))
    return [sample.photo, *given, *drawn]


def batches(count: int, size: int, seed: str) -> list[list[int]]:
    """The places 0 to count - 1 in an order that the seed fixes, in batches; the last one may be smaller."""
    order = list(range(count))
    random.Random(f"batches {seed}").shuffle(order)
    return [order[start : start + size] for start in range(0, count, size)]
