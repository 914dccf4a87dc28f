"""Means over seeds of what lmms-eval found, and how the arms differ: `python summary.py WORK/found`.

Reads every `*_results.json` below ARM-SEED folders. Differences are between arms of the same seed; with three seeds the
spread is told as lowest and highest, since three numbers have no interval worth the name.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

Found = dict[tuple[str, str], dict[str, dict[str, float]]]  # (task, metric) to arm to seed to value


def read(folder: Path) -> Found:
    """The numbers of all results below the folder; of several results of one run the newest file counts."""
    found: Found = defaultdict(lambda: defaultdict(dict))
    for run in sorted(path for path in folder.iterdir() if path.is_dir()):
        arm, _, seed = run.name.rpartition("-")
        files = sorted(run.rglob("*results.json"), key=lambda path: path.stat().st_mtime)
        for path in files:
            for task, metrics in json.loads(path.read_text()).get("results", {}).items():
                for metric, value in metrics.items():
                    if isinstance(value, (int, float)) and "stderr" not in metric:
                        found[(task, metric.split(",")[0])][arm][seed] = float(value)
    return found


def summary(found: Found, against: str = "matched") -> str:
    """A line for each metric and arm: mean, lowest, highest, and the difference of `against` to it by seed."""
    lines = [f"| task | metric | arm | seeds | mean [lowest, highest] | {against} minus it |", "|---|---|---|---|---|---|"]
    for (task, metric), of_arm in sorted(found.items()):
        for arm, of_seed in sorted(of_arm.items()):
            values = list(of_seed.values())
            mean = sum(values) / len(values)
            both = sorted(set(of_seed) & set(of_arm.get(against, {})))
            apart = ", ".join(f"{of_arm[against][seed] - of_seed[seed]:+.3f}" for seed in both) if arm != against else ""
            spread = f"{mean:.3f} [{min(values):.3f}, {max(values):.3f}]"
            lines.append(f"| {task} | {metric} | {arm} | {len(values)} | {spread} | {apart} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(summary(read(Path(sys.argv[1]))))
