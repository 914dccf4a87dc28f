#!/usr/bin/env python3
"""Soak run: `pairwright run` over a large source with a fast local LLM stub; speed and memory over time.

    cargo build --release --examples
    target/release/examples/synthetic_source /tmp/soak 100000
    python3 benches/soak.py /tmp/soak/manifest.jsonl --out /tmp/soak-run

Samples the process's resident memory and the number of embedded, matched and answered records every second, and
prints images/s and peak memory for each tenth of the run.
"""

import argparse
import json
import sqlite3
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELEASE = ROOT / "target" / "release"


def resident_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def counts(store):
    """(embedded or refused, answers) so far; zeros until the store is there."""
    try:
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=5) as db:
            done = db.execute("SELECT count(*) FROM items WHERE state <> 'new'").fetchone()[0]
            answers = db.execute("SELECT count(*) FROM answers").fetchone()[0]
            return done, answers
    except sqlite3.Error:
        return 0, 0


def watch(process, store):
    samples = []
    start = time.monotonic()
    while process.poll() is None:
        try:
            memory = resident_mib(process.pid)
        except (FileNotFoundError, ProcessLookupError):
            break
        samples.append((time.monotonic() - start, *counts(store), memory))
        time.sleep(1)
    return samples


def tenths(samples, column):
    """(from, to, items/s, peak MiB) for each tenth of the final count in `column`."""
    last = max(sample[column] for sample in samples)
    rows = []
    for tenth in range(10):
        low, high = last * tenth / 10, last * (tenth + 1) / 10
        inside = [sample for sample in samples if low <= sample[column] <= high]
        if len(inside) > 1 and inside[-1][0] > inside[0][0]:
            rate = (inside[-1][column] - inside[0][column]) / (inside[-1][0] - inside[0][0])
            rows.append((int(low), int(high), rate, max(sample[3] for sample in inside)))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--out", type=Path, required=True)
    args, extra = parser.parse_known_args()
    stub = subprocess.Popen([RELEASE / "examples" / "stub_llm"], stdout=subprocess.PIPE, text=True)
    try:
        url = stub.stdout.readline().split()[-1]
        command = [RELEASE / "pairwright", "run", "--source", args.source, "--out", args.out]
        command += ["--llm", f"openai:{url}", "--llm-in-flight", "8", *extra]
        print(" ".join(map(str, command)), flush=True)
        process = subprocess.Popen(command)
        samples = watch(process, args.out / "run.sqlite")
    finally:
        stub.kill()
    for name, column in (("images", 1), ("answers", 2)):
        for low, high, rate, peak in tenths(samples, column):
            print(f"{name} {low:>7}-{high:<7} {rate:8.1f}/s   peak {peak:6.1f} MiB")
    peak = max(sample[3] for sample in samples)
    print(json.dumps({"exit": process.returncode, "seconds": round(samples[-1][0]), "peak_mib": round(peak, 1)}))


if __name__ == "__main__":
    main()
