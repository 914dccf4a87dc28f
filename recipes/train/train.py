"""A small real training on a Pairwright export, with two controls: `make train`, or

    python train.py --data RUN/dataset/llava.json --photos PHOTOS --out WORK

The projector between frozen photo features (`pairwright embed`) and a frozen small language model is trained in three
ways: on the export's pairs (matched), with the photos exchanged among the texts (shuffled), and with the mean photo in
place of each (blind). Folds over photos; after each fold every held-out answer is scored with its own photo and with
nine other held-out ones, and as many answers of the training photos in the same way. The same command goes on where it
was stopped; what was settled when it began (WORK/settings.json) is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import subprocess
import sys
import time
from pathlib import Path

from figures import figures, table
from samples import batches, candidates, derange, folds, read_llava

ROOT = Path(__file__).resolve().parents[2]
CONDITIONS = ("matched", "shuffled", "blind")
# What makes a training another one; the rest of the options may differ between two calls.
SETTLED = ("data", "photos", "features", "gguf", "folds", "epochs", "batch", "rate", "tokens", "hidden", "instruction",
           "answer", "others", "seed", "dtype")  # fmt: skip


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="LLaVA JSON of an export")
    add("--photos", type=Path, required=True, help="folder below which the export's photos lie")
    add("--out", type=Path, required=True, help="folder for features, checkpoints, scores, figures and plots")
    add("--features", type=Path, help="PREFIX of vectors made by pairwright embed with an encoder of your choice")
    add("--binary", type=Path, default=ROOT / "target/release/pairwright", help="makes the features where none are given")
    add("--gguf", type=Path, default=ROOT / "runtime/models/SmolLM2-135M-Instruct.Q4_1.gguf")
    add("--cache", type=Path, default=ROOT / "runtime/recipes/models", help="keeps the language model's read weights")
    add("--folds", type=int, default=4)
    add("--epochs", type=int, default=2)
    add("--batch", type=int, default=8)
    add("--rate", type=float, default=1e-3, help="AdamW, cosine after 3 %% warm-up: LLaVA-1.5's first stage")
    add("--tokens", type=int, default=4, help="vectors that stand for a photo")
    add("--hidden", type=int, default=512)
    add("--instruction", type=int, default=20, help="tokens of an instruction that are kept")
    add("--answer", type=int, default=24, help="tokens of an answer that are kept")
    add("--others", type=int, default=9, help="other photos among which the true one is ranked")
    add("--seed", type=int, default=1)
    add("--device", default="cpu")
    add("--dtype", choices=("bfloat16", "float32"),
        help="of the language model; by default bfloat16 where the device computes with it, else float32")  # fmt: skip
    add("--threads", type=int, default=0, help="0: one per core")
    add("--minutes", type=float, default=60, help="stops after so long; the same command goes on")
    return parser.parse_args()


def settle(args: argparse.Namespace) -> None:
    """Writes what this training is, or refuses to go on with one that began as another."""
    path = args.out / "settings.json"
    if not args.dtype:
        args.dtype = json.loads(path.read_text()).get("dtype", "bfloat16") if path.exists() else fitting_dtype(args.device)
    now = {name: str(value) if isinstance(value := getattr(args, name), Path) else value for name in SETTLED}
    now["data_sha256"] = hashlib.sha256(args.data.read_bytes()).hexdigest()
    if not path.exists():
        path.write_text(json.dumps(now, indent=2) + "\n")
        return
    was = json.loads(path.read_text())
    other = [f"{name} was {was.get(name)}, is {now[name]}" for name in now if was.get(name) != now[name]]
    if other:
        sys.exit(f"{path}: this training began with other settings: {'; '.join(other)}. Take another --out.")


def fitting_dtype(device: str) -> str:
    """bfloat16 takes half the time of float32 where there are instructions for it, and four times where not."""
    import torch

    return "bfloat16" if device != "cpu" or torch.cpu._is_avx512_bf16_supported() else "float32"


def embed(args: argparse.Namespace) -> Path:
    """The photos' vectors, made once."""
    prefix = args.features or args.out / "photos"
    if not prefix.with_suffix(".npy").exists():
        command = [args.binary, "embed", "--images", args.photos, "--out", prefix]
        print(f"== {' '.join(map(str, command))}", flush=True)
        subprocess.run(command, check=True)
    return prefix


class Training:
    """Everything that the units (a fold under a condition) share."""

    def __init__(self, args: argparse.Namespace) -> None:
        import torch
        from model import encode, language_model, photo_features

        self.args, self.started, self.torch = args, time.monotonic(), torch
        if args.threads:
            torch.set_num_threads(args.threads)
        self.samples = read_llava(args.data)
        names, vectors = photo_features(embed(args))
        self.row = {name: place for place, name in enumerate(names)}
        missing = sorted({sample.photo for sample in self.samples} - set(names))
        if missing:
            sys.exit(f"{args.data}: {len(missing)} photos have no vector, {missing[0]} the first: is --photos right?")
        self.vectors = vectors.to(args.device)
        key = hashlib.sha256(args.gguf.read_bytes()).hexdigest()[:12]
        dtype = getattr(torch, args.dtype)
        self.tokenizer, self.model = language_model(args.gguf, args.cache / key, dtype, args.device)
        self.texts = {
            sample.id: encode(self.tokenizer, sample.instruction, sample.answer, args.instruction, args.answer)
            for sample in self.samples
        }
        self.parts = folds([sample.photo for sample in self.samples], args.folds, args.seed)
        self.scored = args.out / "scores.jsonl"

    def check_time(self) -> None:
        if time.monotonic() - self.started > self.args.minutes * 60:
            raise TimeoutError

    def projector(self, fold: int):
        from model import Projector

        # The three conditions of a fold begin with the same weights.
        self.torch.manual_seed(1000 * self.args.seed + fold)
        table = self.model.get_input_embeddings().weight
        scale = table.float().pow(2).mean().sqrt().item()
        args = self.args
        shape = (self.vectors.shape[1], args.hidden, args.tokens, table.shape[1])
        return Projector(*shape, scale).to(args.device)

    def unit(self, fold: int, condition: str, bar) -> list[dict]:
        """Trains one projector and scores its answers."""
        from model import losses, save

        args, torch = self.args, self.torch
        held = set(self.parts[fold])
        training = [sample for sample in self.samples if sample.photo not in held]
        pool = sorted({sample.photo for sample in training})
        exchanged = derange(pool, 1000 * args.seed + fold)
        known = self.vectors[[self.row[photo] for photo in pool]]
        mean, deviation = known.mean(0), known.std()

        def features(photos: list[str]):
            if condition == "blind":
                return torch.zeros(len(photos), len(mean), device=args.device)
            return (self.vectors[[self.row[photo] for photo in photos]] - mean) / deviation

        projector = self.projector(fold)
        optimizer = torch.optim.AdamW(projector.parameters(), lr=args.rate, weight_decay=0.0)
        per_epoch = math.ceil(len(training) / args.batch)
        steps = args.epochs * per_epoch
        warm = max(1, round(0.03 * steps))
        # A training of one step is over with its warm-up, and the curve is asked once more after it.
        after = max(1, steps - warm)
        curve = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: (step + 1) / warm if step < warm else (1 + math.cos(math.pi * (step - warm) / after)) / 2,
        )
        path = args.out / f"fold-{fold}-{condition}.pt"
        epoch, history = 0, []
        if path.exists():
            state = torch.load(path, weights_only=True)
            projector.load_state_dict(state["projector"])
            optimizer.load_state_dict(state["optimizer"])
            curve.load_state_dict(state["curve"])
            epoch, history = state["epoch"], state["history"]
            bar.update(epoch * per_epoch)
        for epoch in range(epoch, args.epochs):
            for batch in batches(len(training), args.batch, f"{args.seed} {fold} {epoch}"):
                self.check_time()
                chosen = [training[place] for place in batch]
                shown = [exchanged[one.photo] if condition == "shuffled" else one.photo for one in chosen]
                loss = losses(self.model, projector, features(shown), [self.texts[one.id] for one in chosen]).mean()
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(projector.parameters(), 1.0)
                optimizer.step()
                curve.step()
                history.append(loss.item())
                bar.set_postfix_str(f"loss {history[-1]:.2f}", refresh=False)
                bar.update()
            state = {"projector": projector.state_dict(), "optimizer": optimizer.state_dict()}
            save(path, state | {"curve": curve.state_dict(), "epoch": epoch + 1, "history": history})

        found = []
        count = len(self.samples) - len(training)
        draw = batches(len(training), count, f"{args.seed} {fold} scored")[0]
        looked_at = [("held out", one) for one in self.samples if one.photo in held]
        looked_at += [("training", training[place]) for place in sorted(draw)]
        with torch.inference_mode():
            # Several answers at once: the processor is twice as quick with 2,000 tokens as with 500.
            for start in range(0, len(looked_at), 4):
                self.check_time()
                shown, texts, counts = [], [], []
                for part, one in looked_at[start : start + 4]:
                    assigned = exchanged[one.photo] if part == "training" else None
                    photos = candidates(one, pool if assigned else sorted(held), args.others, args.seed, assigned)
                    photos = photos[:1] if condition == "blind" else photos
                    shown += photos
                    texts += [self.texts[one.id]] * len(photos)
                    counts.append(len(photos))
                each = losses(self.model, projector, features(shown), texts).split(counts)
                for (part, one), own in zip(looked_at[start : start + 4], each, strict=True):
                    found.append({
                        "fold": fold, "condition": condition, "part": part, "id": one.id, "photo": one.photo,
                        "losses": [round(loss, 5) for loss in own.tolist()],
                        "assigned": 1 if part == "training" and condition != "blind" else None,
                    })  # fmt: skip
                bar.update(len(shown) / args.others)
        return found

    def run(self) -> bool:
        """All units that are not scored yet; false if the time ran out before the last."""
        from tqdm import tqdm

        args = self.args
        scores = [json.loads(line) for line in self.scored.read_text().splitlines()] if self.scored.exists() else []
        done = {(score["fold"], score["condition"]) for score in scores}
        total = 0.0
        for fold in range(args.folds):
            held = sum(sample.photo in set(self.parts[fold]) for sample in self.samples)
            steps = args.epochs * math.ceil((len(self.samples) - held) / args.batch)
            for condition in CONDITIONS:
                if (fold, condition) not in done:
                    total += steps + 2 * held * ((1 if condition == "blind" else args.others + 1) / args.others)
        with tqdm(total=round(total), unit="step", smoothing=0.05, mininterval=1.0, bar_format="{desc} {percentage:3.0f}% |{bar:30}| {elapsed}, {remaining} left {postfix}") as bar:  # fmt: skip
            for fold in range(args.folds):
                for condition in CONDITIONS:
                    if (fold, condition) in done:
                        continue
                    bar.set_description_str(f"fold {fold + 1}/{args.folds} {condition}")
                    try:
                        found = self.unit(fold, condition, bar)
                    except TimeoutError:
                        return False
                    # A unit's scores in one write: a reader of the file sees all of it or nothing.
                    with self.scored.open("a") as file:
                        file.write("".join(json.dumps(score) + "\n" for score in found))
        return True


def report(args: argparse.Namespace, whole: bool, seconds: float) -> None:
    """Figures and plots of the units that are scored."""
    from plots import plot

    scores = [json.loads(line) for line in (args.out / "scores.jsonl").read_text().splitlines()]
    parts = {part: figures([one for one in scores if one["part"] == part]) for part in ("training", "held out")}
    # Each call adds its own time, so that a training in several calls tells the whole.
    path = args.out / "figures.json"
    before = json.loads(path.read_text())["seconds"] if path.exists() else 0.0
    path.write_text(json.dumps({"whole": whole, "seconds": before + seconds, "parts": parts}, indent=2) + "\n")
    text = table(parts)
    if not whole:
        scored = len({(one["fold"], one["condition"]) for one in scores})
        text = f"Not the whole training: {scored} of its {args.folds * len(CONDITIONS)} parts are scored.\n\n{text}"
    (args.out / "figures.md").write_text(text + "\n")
    plot(args.out, scores, parts)
    print(text)
    chance = parts["held out"].get("chance", 0)
    count = parts["held out"]["answers"].get("matched", 0)
    print(f"\nChance for the true photo to come first: {100 * chance:.0f} %. Intervals: 95 %, bootstrap over photos.")
    print(f"{count} answers show that the way from export to training works; they prove nothing about the method.")
    print(f"Plots and scores: {args.out}")


def main() -> None:
    args = options()
    args.out.mkdir(parents=True, exist_ok=True)
    settle(args)
    began = time.monotonic()
    whole = Training(args).run()
    if (args.out / "scores.jsonl").exists():
        report(args, whole, time.monotonic() - began)
    if not whole:
        sys.exit(f"The {args.minutes:g} minutes are over; the same command goes on.")


if __name__ == "__main__":
    main()
