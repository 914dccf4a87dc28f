"""Plots of a training: loss by step, loss and place of the true photo by condition, ranks of held-out answers."""

from __future__ import annotations

from pathlib import Path

from figures import rank

COLOURS = {"matched": "#1b6ca8", "shuffled": "#d1672b", "blind": "#777777"}


def plot(out: Path, scores: list[dict], parts: dict[str, dict]) -> None:
    """Writes OUT/train.png and OUT/train.svg from the scores, their figures and the checkpoints' histories."""
    import matplotlib

    matplotlib.use("Agg")
    import torch
    from matplotlib import pyplot

    figure, ((loss, bars), (ranks, held)) = pyplot.subplots(2, 2, figsize=(11, 7.5), constrained_layout=True)
    for condition, colour in COLOURS.items():
        for place, path in enumerate(sorted(out.glob(f"fold-*-{condition}.pt"))):
            history = torch.load(path, weights_only=True)["history"]
            label = condition if place == 0 else None
            loss.plot(range(1, len(history) + 1), history, color=colour, alpha=0.6, linewidth=1, label=label)
    loss.set(title="Training loss, a line for each fold", xlabel="step", ylabel="nats per token")
    loss.legend(frameon=False)

    def draw(axes, key: str, scale: float) -> None:
        places, labels = [], []
        for part_place, (part, found) in enumerate(parts.items()):
            for condition, (mean, low, high) in found[key].items():
                x = part_place * 4 + list(COLOURS).index(condition)
                error = [[scale * (mean - low)], [scale * (high - mean)]]
                axes.errorbar(x, scale * mean, yerr=error, fmt="o", color=COLOURS[condition], capsize=4)
                places.append(x)
                labels.append(f"{condition}\n{part}")
        axes.set_xticks(places, labels, fontsize=8)

    draw(bars, "loss", 1)
    bars.set(title="Loss with the true photo, 95 % intervals over photos", ylabel="nats per token")
    draw(held, "first", 100)
    for found in parts.values():
        if "chance" in found:
            held.axhline(100 * found["chance"], color="black", linewidth=0.8, linestyle=":")
    held.set(title="True photo first (dotted: chance)", ylabel="% of answers", ylim=(0, None))

    for condition in ("matched", "shuffled"):
        these = [rank(one["losses"]) for one in scores if one["part"] == "held out" and one["condition"] == condition]
        most = max((len(one["losses"]) for one in scores), default=1)
        edges = [place + 0.5 for place in range(most + 1)]
        ranks.hist(these, bins=edges, histtype="step", linewidth=1.5, color=COLOURS[condition], label=condition)
    ranks.set(title="Rank of the true photo, held-out answers", xlabel="rank (1 is best)", ylabel="answers")
    ranks.legend(frameon=False)
    for axes in (loss, bars, ranks, held):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out / "train.png", dpi=120)
    figure.savefig(out / "train.svg")
    pyplot.close(figure)
