"""Loads every export of a run through its trainers' own dataset code and prints a table: `make trainers`, or

    python check.py --dataset RUN/dataset --photos PHOTOS [--environments runtime/recipes]

Each trainer has an environment of its own; this file starts itself again with that environment's Python for each line.
Ends with 1 if a sample was lost or changed, or a loader failed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import traceback
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# Trainer as the table calls it, environment, package whose version is told, module and function, export (a path in the
# dataset folder), whether the function needs the folder of photos.
LOADERS = [
    ("LLaVA", "datasets", None, "load_llava.array", "llava.json", True),
    ("datasets", "datasets", "datasets", "load_datasets.lineage", "samples.jsonl", True),
    ("datasets", "datasets", "datasets", "load_datasets.lineage", "samples.parquet", True),
    ("datasets", "datasets", "datasets", "load_datasets.pictures", "parquet_images", False),
    ("datasets", "datasets", "datasets", "load_datasets.by_card", "parquet_images", False),
    ("datasets", "datasets", "datasets", "load_datasets.by_card", "finevision", False),
    ("datasets", "datasets", "datasets", "load_datasets.by_card", "trl", False),
    ("datasets", "datasets", "datasets", "load_datasets.tars", "webdataset", False),
    ("nanoVLM", "datasets", None, "load_nanovlm.rows", "finevision", False),
    ("webdataset", "webdataset", "webdataset", "load_webdataset.tars", "webdataset", False),
    ("TRL", "trl", "trl", "load_trl.conversations", "trl", False),
    ("LLaMA-Factory", "llamafactory", "llamafactory", "load_llamafactory.folder", "llamafactory", False),
    ("ms-swift", "swift", "ms-swift", "load_swift.lines", "swift", False),
]


def load(place: int, dataset: Path, photos: Path, out: Path) -> None:
    """One line of the table, in the environment that was started for it."""
    from reference import Reference

    _, _, package, function, export, with_photos = LOADERS[place]
    module, name = function.split(".")
    reference = Reference(dataset)
    loader = getattr(importlib.import_module(module), name)
    loader(reference, dataset / export, *([photos] if with_photos else []))
    out.write_text(json.dumps(reference.result() | {"version": version(package) if package else ""}))


def line(place: int, args: argparse.Namespace, scratch: Path) -> tuple[dict, bool]:
    """The cells of one line, and whether all is well."""
    title, environment, _, _, export, _ = LOADERS[place]
    cells = {"trainer": title, "export": export, "in": "", "out": "", "same": "", "shapes": "", "note": ""}
    python = args.environments / environment / "bin/python"
    if not (args.dataset / export).exists():
        return cells | {"note": "not in this export"}, True
    if not python.exists():
        return cells | {"note": f"not installed: {python} is missing"}, False
    out = scratch / "found.json"
    out.unlink(missing_ok=True)
    command = [python, __file__, "--dataset", args.dataset, "--photos", args.photos, "--load", str(place), "--found", out]
    # A home of its own, so that no cache of an earlier export is taken for this one and none is left behind.
    environ = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(HERE), "HF_HOME": str(scratch / "hub"), "PATH": "/usr/bin:/bin",
               "MODELSCOPE_CACHE": str(scratch / "modelscope"), "HOME": str(scratch), "OMP_NUM_THREADS": "1"}  # fmt: skip
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=scratch, check=False)
    if not out.exists():
        if args.verbose:
            print(ran.stdout, ran.stderr, file=sys.stderr)
        last = (ran.stderr.strip().splitlines() or ["no message"])[-1]
        return cells | {"note": f"FAILED: {last[:200]}"}, False
    found = json.loads(out.read_text())
    shapes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in found["shapes"].items())
    cells |= {name: str(found[name]) for name in ("in", "out", "same", "note")} | {"shapes": shapes}
    cells["trainer"] = f"{title} {found['version']}".strip()
    return cells, found["in"] == found["out"] == found["same"] > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", type=Path, required=True, help="RUN/dataset with samples.jsonl and the exports")
    parser.add_argument("--photos", type=Path, required=True, help="the run's source: photos by the names in the export")
    parser.add_argument("--environments", type=Path, default=ROOT / "runtime/recipes")
    parser.add_argument("--verbose", action="store_true", help="show all that a failing loader printed")
    parser.add_argument("--load", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--found", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.dataset, args.photos = args.dataset.resolve(), args.photos.resolve()
    # Each line runs in a folder of its own, where a relative path would lead elsewhere.
    args.environments = args.environments.resolve()
    if args.load is not None:
        try:
            load(args.load, args.dataset, args.photos, args.found)
        except Exception as error:
            traceback.print_exc()
            sys.exit(f"{type(error).__name__}: {error}")
        return
    print("| trainer | export | samples in | samples out | as exported | first batch | remarks |")
    print("|---|---|---|---|---|---|---|", flush=True)
    all_well = True
    with tempfile.TemporaryDirectory() as scratch:
        for place in range(len(LOADERS)):
            cells, well = line(place, args, Path(scratch))
            all_well &= well
            print(f"| {' | '.join(cells.values())} |", flush=True)
    sys.exit(0 if all_well else 1)


if __name__ == "__main__":
    main()
