"""Reads a trainer's settings with that trainer's own parser, so that a name or value it does not know is an error:

    runtime/recipes/llamafactory/bin/python recipes/train/check_settings.py llamafactory
    runtime/recipes/swift/bin/python recipes/train/check_settings.py swift

Models and data are replaced by tiny ones made here; nothing is trained. 16-bit floats are turned off where the parser asks
the machine for a GPU.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "trainers")]


def llamafactory(settings: dict, model: Path, mixture: Path, out: Path) -> str:
    from llamafactory.hparams import get_train_args

    settings |= {"model_name_or_path": str(model), "dataset_dir": str(mixture), "output_dir": str(out), "bf16": False}
    _, _, training, tuning, _ = get_train_args(settings | {"use_cpu": True})
    return f"learning rate {training.learning_rate}, language model frozen: {tuning.freeze_language_model}"


def swift(settings: dict, model: Path, mixture: Path, out: Path) -> str:
    from swift.arguments import SftArguments
    from swift.utils import parse_args

    settings |= {"model": str(model), "dataset": str(mixture / "swift.jsonl"), "output_dir": str(out)}
    settings |= {"torch_dtype": "float32", "use_cpu": True}
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value).lower() if isinstance(value, bool) else str(value))]
    args, rest = parse_args(SftArguments, words)
    if rest:
        raise ValueError(f"not known to ms-swift: {rest}")
    return f"learning rate {args.learning_rate}, language model frozen: {args.freeze_llm}"


def main() -> None:
    from mix import write
    from PIL import Image
    from tiny import saved

    os.environ |= {"HF_HUB_OFFLINE": "1"}
    trainer = {"llamafactory": llamafactory, "swift": swift}[sys.argv[1]]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.chdir(folder)
        Image.new("RGB", (64, 48)).save(folder / "photo.png")
        turns = [{"from": "human", "value": "<image>\nWrite."}, {"from": "gpt", "value": "Words."}]
        write(folder / "mix", [{"id": "1", "image": str(folder / "photo.png"), "conversations": turns}])
        model = saved(folder / "tiny")
        for path in sorted((HERE / sys.argv[1]).glob("*.yaml")):
            told = trainer(yaml.safe_load(path.read_text()), model, folder / "mix", folder / f"out-{path.stem}")
            print(json.dumps({"settings": f"{sys.argv[1]}/{path.name}", "read": told}), flush=True)


if __name__ == "__main__":
    main()
