"""Figures of a training from the scores of its answers, with intervals. No torch in here.

A score is one answer under one condition: `losses` are its mean losses per token (nats) with each candidate photo, the
true one first.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable

DRAWS = 2000


def rank(losses: list[float], place: int = 0) -> float:
    """The rank of one candidate by loss, 1 the best; equal losses share their mean rank."""
    mine = losses[place]
    below = sum(loss < mine for loss in losses)
    same = sum(loss == mine for loss in losses)
    return below + (same + 1) / 2


def first(losses: list[float], place: int = 0) -> float:
    """1 if the candidate has the lowest loss, a share of 1 where others have the same, else 0."""
    least = min(losses)
    return (losses[place] == least) / sum(loss == least for loss in losses)


def chance(scores: list[dict]) -> float:
    """How often the true photo would come first if losses said nothing."""
    return sum(1 / len(score["losses"]) for score in scores) / len(scores)


def interval(values: list[tuple[str, float]], seed: int = 0, draws: int = DRAWS) -> tuple[float, float, float]:
    """Mean of (photo, value) with its 95 % interval by the bootstrap over photos: answers of one photo stay together."""
    of_photo = defaultdict(list)
    for photo, value in values:
        of_photo[photo].append(value)
    sums = [(sum(one), len(one)) for _, one in sorted(of_photo.items())]

    def mean(parts: list[tuple[float, int]]) -> float:
        return sum(total for total, _ in parts) / sum(count for _, count in parts)

    draw = random.Random(f"bootstrap {seed}")
    means = sorted(mean(draw.choices(sums, k=len(sums))) for _ in range(draws))
    return mean(sums), means[int(0.025 * draws)], means[min(int(0.975 * draws), draws - 1)]


def paired(scores: list[dict], one: str, other: str, value: Callable[[dict], float]) -> list[tuple[str, float]]:
    """(photo, difference of the value under two conditions) of each answer that has both.

    Only scores of one fold are compared: another fold scores an answer of the training photos, too, with other weights.
    """
    under = defaultdict(dict)
    for score in scores:
        under[score["fold"], score["id"]][score["condition"]] = score
    return [
        (both[one]["photo"], value(both[one]) - value(both[other]))
        for both in under.values()
        if one in both and other in both
    ]


def figures(scores: list[dict]) -> dict:
    """All figures of one part (training or held out) of a training's scores: [mean, low, high] each."""
    found: dict = {"answers": {}, "photos": {}, "loss": {}, "first": {}, "rank": {}, "assigned_first": {}, "less": {}}
    for condition in ("matched", "shuffled", "blind"):
        these = [score for score in scores if score["condition"] == condition]
        if not these:
            continue
        found["answers"][condition] = len(these)
        found["photos"][condition] = len({score["photo"] for score in these})
        found["loss"][condition] = interval([(score["photo"], score["losses"][0]) for score in these])
        if condition != "blind":
            found["first"][condition] = interval([(score["photo"], first(score["losses"])) for score in these])
            found["rank"][condition] = interval([(score["photo"], rank(score["losses"])) for score in these])
            found["chance"] = chance(these)
        assigned = [score for score in these if score.get("assigned") is not None]
        if condition == "shuffled" and assigned:
            pairs = [(score["photo"], first(score["losses"], score["assigned"])) for score in assigned]
            found["assigned_first"][condition] = interval(pairs)
    for one, other in (("matched", "shuffled"), ("matched", "blind")):
        loss = paired(scores, one, other, lambda score: score["losses"][0])
        if loss:
            found["less"][f"loss, {one} minus {other}"] = interval(loss)
    ranked = paired(scores, "matched", "shuffled", lambda score: first(score["losses"]))
    if ranked:
        found["less"]["true photo first, matched minus shuffled"] = interval(ranked)
    return found


def table(parts: dict[str, dict]) -> str:
    """The figures of all parts as a Markdown table."""

    def cell(triple: tuple[float, float, float] | None, percent: bool) -> str:
        if triple is None:
            return ""
        scale, digits, unit = (100, 0, " %") if percent else (1, 3, "")
        mean, low, high = (f"{one * scale:.{digits}f}" for one in triple)
        return f"{mean}{unit} [{low}, {high}]"

    lines = ["| photos | trained on | answers | loss per token | true photo first | mean rank |", "|---|---|---|---|---|---|"]
    for part, found in parts.items():
        for condition, answers in found["answers"].items():
            row = [part, condition, str(answers), cell(found["loss"][condition], False)]
            row += [cell(found["first"].get(condition), True), cell(found["rank"].get(condition), False)]
            lines.append(f"| {' | '.join(row)} |")
    lines += ["", "| photos | paired difference | mean and 95 % interval |", "|---|---|---|"]
    for part, found in parts.items():
        for name, triple in found["less"].items():
            lines.append(f"| {part} | {name} | {cell(triple, 'first' in name)} |")
        for triple in found["assigned_first"].values():
            lines.append(f"| {part} | shuffled: the photo it was trained with first | {cell(triple, True)} |")
    return "\n".join(lines)
