#!/usr/bin/env python3
"""Reference numbers for src/evaluate, made by NumPy and SciPy, independent of our code.

    python3 tests/golden/make_evaluation.py > tests/golden/evaluation.json

Recorded with Python 3.11, NumPy 2.4.6, SciPy 1.17.1. The Bradley-Terry strengths are the root of
the likelihood's gradient as scipy.optimize.root (hybr) finds it from the minimum that BFGS found;
ours are Newton's. The published answer files are read where they lie, in ../shared/data; none of
their text is recorded, only counts and strengths.
"""

import itertools
import json
import pathlib
import sys

import numpy
import scipy
from scipy import optimize, stats

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "../shared/data/mm-instruct-eval"
FILES = ["gpt4v", "llava-v1.5-7b", "InstructBLIP-7B"]


def strengths(wins):
    """Log-strengths with mean 0 that maximise sum w_ij log sigma(s_i - s_j)."""
    wins = numpy.array(wins, dtype=float)
    size = len(wins)

    def full(free):
        return numpy.concatenate([[0.0], free])

    def loss(free):
        s = full(free)
        return (wins * numpy.logaddexp(0.0, s[None, :] - s[:, None])).sum()

    def gradient(free):
        s = full(free)
        chance = 1.0 / (1.0 + numpy.exp(s[None, :] - s[:, None]))
        games = wins + wins.T
        return (games * chance - wins).sum(axis=1)[1:]

    start = optimize.minimize(loss, numpy.zeros(size - 1), jac=gradient, method="BFGS").x
    found = optimize.root(gradient, start, method="hybr", tol=1e-14).x
    assert abs(gradient(found)).max() < 1e-8, abs(gradient(found)).max()
    s = full(found)
    return (s - s.mean()).tolist()


def ranking_cases():
    draws = numpy.random.default_rng(20240619)
    cases = [[[0, 7], [3, 0]], [[0, 3, 1], [2, 0, 4], [5, 0.5, 0]]]
    for size, games in [(3, 20), (5, 12), (8, 99), (20, 30)]:
        truth = draws.normal(0, 1.0, size)
        wins = numpy.zeros((size, size))
        for one, other in itertools.combinations(range(size), 2):
            chance = 1 / (1 + numpy.exp(truth[other] - truth[one]))
            for _ in range(games):
                score = 0.5 if draws.random() < 0.2 else float(draws.random() < chance)
                wins[one, other] += score
                wins[other, one] += 1 - score
        cases.append(wins.tolist())
    # One baseline, everyone against it.
    star = numpy.zeros((6, 6))
    for other in range(1, 6):
        star[other, 0], star[0, other] = 10 + 13 * other, 99 - 10 - 13 * other
    cases.append(star.tolist())
    return [{"wins": wins, "strengths": strengths(wins)} for wins in cases]


def rows(name):
    lines = (FOLDER / f"{name}.json").read_text(encoding="utf-8").splitlines()
    return {row["question_id"]: row for row in map(json.loads, filter(str.strip, lines))}


def longer(a, b):
    """The letter of a judge that prefers the answer with more characters."""
    return "A" if len(a) > len(b) else "B" if len(a) < len(b) else "C"


def garbage(a, b):
    """The same, but for three prompts of ten it only talks."""
    return None if (len(a) + 2 * len(b)) % 10 < 3 else longer(a, b)


def strict(forward, backward):
    if forward is None or backward is None:
        return "unparsed"
    return {"AB": "first", "BA": "second"}.get(forward + backward, "tie")


def paper(forward, backward):
    """The branches of the published script; two unreadable replies are no tie."""
    if forward is None and backward is None:
        return "unparsed"
    if forward == backward:
        return "tie"
    if forward == "A" or backward == "B":
        return "first"
    if forward == "B" or backward == "A":
        return "second"
    return "unparsed"


def judged(one, other, judge):
    outcomes = ["first", "tie", "second", "unparsed"]
    strictly, published, letters = [], [], []
    for key in rows("MM-Instruct-Eval-question"):
        a, b = one[key]["text"].strip(), other[key]["text"].strip()
        forward, backward = judge(a, b), judge(b, a)
        letters += [forward, backward]
        strictly.append(strict(forward, backward))
        published.append(paper(forward, backward))
    flips = sum(one is not None and one == two for one, two in zip(letters[::2], letters[1::2]))
    return {
        "strict": [strictly.count(name) for name in outcomes],
        "paper": [published.count(name) for name in outcomes],
        "letters": [letters.count(letter) for letter in ["A", "B", "C", None]],
        "same_letter": flips,
    }


def published():
    answers = [rows(name) for name in FILES]
    wins = numpy.zeros((3, 3))
    pairs = {}
    for one, other in itertools.combinations(range(3), 2):
        both = answers[one], answers[other]
        found = {
            "always_a": judged(*both, lambda a, b: "A"),
            "longer": judged(*both, longer),
            "garbage": judged(*both, garbage),
        }
        pairs[f"{FILES[one]} {FILES[other]}"] = found
        first, tie, second, _ = found["longer"]["strict"]
        wins[one, other] += first + tie / 2
        wins[other, one] += second + tie / 2
    return {"pairs": pairs, "strengths": strengths(wins)}


def main():
    wilson = [(0, 1), (1, 1), (12, 99), (99, 99), (45, 99), (500, 1000), (3, 10000)]
    sign = [(0, 1), (5, 5), (3, 9), (0, 99), (99, 0), (40, 59), (4800, 5200), (10, 300)]
    interval = lambda k, n: stats.binomtest(k, n).proportion_ci(method="wilson")
    json.dump(
        {
            "versions": {"numpy": numpy.__version__, "scipy": scipy.__version__},
            "wilson": [[k, n, *interval(k, n)] for k, n in wilson],
            "sign": [[a, b, stats.binomtest(a, a + b).pvalue] for a, b in sign],
            "ranking": ranking_cases(),
            "published": published(),
        },
        sys.stdout,
    )
    print()


if __name__ == "__main__":
    main()
