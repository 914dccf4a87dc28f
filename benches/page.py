#!/usr/bin/env python3
"""Draws the figures that the benchmarks left in target/bench as one page: page.py [FOLDER].

Each line of a `.jsonl` file is a point of a chart: lines where x is a number, bars where it is a text. The page needs
nothing beside it: its pictures are SVG in the HTML. Needs matplotlib.
"""

import datetime
import html
import io
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402  the way to draw must be chosen before

STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c2430}
svg{max-width:100%;height:auto} table{border-collapse:collapse} td,th{padding:.2rem .8rem;text-align:right;
border-bottom:1px solid #d8dde4} td:first-child,th:first-child{text-align:left} details{margin-bottom:2rem}"""


def machine():
    """What the figures were measured on, in a sentence."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    model = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "")
    flags = [name for name in ("avx2", "avx512f", "vnni", "amx_int8") if name in text]
    return f"{os.cpu_count()} cores, {model or platform.machine()} ({', '.join(flags) or 'no vector extensions told'})"


def commit():
    """The commit that was measured, and whether the tree was changed."""
    try:
        words = ["git", "describe", "--always", "--dirty"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def charts(folder):
    """Title -> (axes, series -> points), in the order of files and lines."""
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            axes, series = found.setdefault(row["chart"], ((row["x_axis"], row["y_axis"]), {}))
            series.setdefault(row["series"], []).append((row["x"], row["y"]))
    return found


def draw(axes, series):
    """A chart as SVG."""
    figure, plot = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    if any(isinstance(x, str) for points in series.values() for x, _ in points):
        names = list(dict.fromkeys(x for points in series.values() for x, _ in points))
        width = 0.8 / len(series)
        for at, (name, points) in enumerate(series.items()):
            places = [names.index(x) + (at - (len(series) - 1) / 2) * width for x, _ in points]
            plot.bar(places, [y for _, y in points], width, label=name)
        plot.set_xticks(range(len(names)), names)
    else:
        for name, points in series.items():
            plot.plot(*zip(*sorted(points)), marker="o", label=name)
        if axes[0] != "recall@10":
            plot.set_xscale("log", base=2)
            plot.xaxis.set_major_formatter("{x:.0f}")
        plot.set_yscale("log")
        plot.yaxis.set_major_formatter("{x:g}")
        plot.yaxis.set_minor_formatter("{x:g}")
    plot.set_xlabel(axes[0])
    plot.set_ylabel(axes[1])
    plot.grid(alpha=0.3)
    plot.legend()
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return text.getvalue().split("?>", 1)[1].split(".dtd\">", 1)[1]


def table(axes, series):
    rows = "".join(
        f"<tr><td>{html.escape(name)}<td>{html.escape(x) if isinstance(x, str) else f'{x:g}'}<td>{y:,.4g}"
        for name, points in series.items()
        for x, y in points
    )
    head = "".join(f"<th>{html.escape(name)}" for name in ("", *axes))
    return f"<details><summary>as a table</summary><table><tr>{head}{rows}</table></details>"


def page(folder):
    parts = [
        f"<h2>{html.escape(title)}</h2>{draw(axes, series)}{table(axes, series)}"
        for title, (axes, series) in charts(folder).items()
    ]
    day = datetime.date.today().isoformat()
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Pairwright: benchmarks</title>'
        f"<style>{STYLE}</style><h1>Benchmarks</h1><p>{day}, commit {html.escape(commit())}, "
        f"{html.escape(machine())}: the day and the commit of this page, not of figures left from an earlier run. "
        f"Compare what stands in one chart: another day's machine is another machine.</p>"
        + "".join(parts)
    )


if __name__ == "__main__":
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / target / "bench")
    if not any(folder.glob("*.jsonl")):
        sys.exit(f"no figures in {folder}: run a benchmark first (make bench)")
    out = folder / "index.html"
    out.write_text(page(folder))
    print(f"drawn: {out}")
