"""hnswlib and faiss beside our index, for benches/search_peers.rs: program vectors.npy [options]."""

import argparse
import json
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import numpy as np


def engine(name):
    """The module of a peer; None, loudly, where it could not be installed."""
    try:
        return import_module(name)
    except ImportError as error:
        print(f"SKIPPED: nothing is compared with {name}, it is not installed here ({error})", flush=True)
        return None


WIDTHS = [16, 32, 48, 64, 96, 128, 256, 512]

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("vectors")
parser.add_argument("--photos")
parser.add_argument("--queries", type=int, default=1000)
parser.add_argument("--count", type=int, default=0)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--skip", action="append", default=[], help="an engine to leave out")
parser.add_argument("--figures", help="lines of JSON for benches/page.py are added here")
options = parser.parse_args()
faiss, hnswlib = (None if name in options.skip else engine(name) for name in ("faiss", "hnswlib"))
graphs = [name for name in ("before", "ours") if name not in options.skip]

rows = np.load(options.vectors)
rows = rows[: options.count] if options.count else rows
if options.photos:
    queries, base, ids = np.load(options.photos)[: options.queries], rows, np.arange(len(rows))
else:
    every = len(rows) // options.queries
    held = np.arange(options.queries) * every
    ids = np.setdiff1d(np.arange(len(rows)), held)
    queries, base = rows[held], rows[ids]
# In place: a million vectors are 1.5 GB.
del rows
base /= np.linalg.norm(base, axis=1, keepdims=True)
queries /= np.linalg.norm(queries, axis=1, keepdims=True)
what = f"{len(base):,} vectors of width {base.shape[1]}, {len(queries)} {'photos' if options.photos else 'texts'} asked"
print(what, flush=True)


def figure(title, x_axis, series, x, y):
    """A point of a chart of the page."""
    if options.figures:
        row = {"chart": f"{title}: {what}", "x_axis": x_axis, "y_axis": "queries a second of CPU time"}
        with open(options.figures, "a") as file:
            print(json.dumps(row | {"series": series, "x": x, "y": y}), file=file)


command = [options.program, options.vectors, "--serve", "--queries", str(options.queries)]
command += ["--count", str(options.count)]
command += ["--photos", options.photos] if options.photos else []
ours = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(line):
    """CPU seconds, wall seconds and the rest of the answer."""
    ours.stdin.write(line + "\n")
    ours.stdin.flush()
    cpu, wall, *rest = ours.stdout.readline().rstrip("\n").split(" ", 2)
    return float(cpu), float(wall), rest[0] if rest else ""


def timed(work):
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return time.process_time() - cpu, time.perf_counter() - wall, result


truth = [set(map(int, row.split(","))) for row in ask("truth")[2].split(" ")]


def recall(found):
    return sum(len(truth[at] & set(row)) for at, row in enumerate(found)) / (10 * len(queries))


builds = {}
if hnswlib:
    hnsw = hnswlib.Index("ip", base.shape[1])
    hnsw.init_index(len(base), M=16, ef_construction=128)
    builds["hnswlib"] = lambda: hnsw.add_items(base, ids, num_threads=1)
if faiss:
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(base.shape[1])
    flat.add(base)
    graph = faiss.IndexHNSWFlat(base.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 128
    builds["faiss"] = lambda: graph.add(base)
for name, build in builds.items():
    print(f"{name}: built in {timed(build)[0]:.1f} s of CPU time", flush=True)
for name in [*graphs, "exact"]:
    cpu, _, words = ask(f"build {name}")
    print(f"{name}: built in {cpu:.1f} s of CPU time {words}", flush=True)


def shared(search, threads):
    """`search` of one query at a time, on so many threads."""
    if threads == 1:
        return [search(query) for query in queries]
    with ThreadPoolExecutor(threads) as pool:
        share = -(-len(queries) // threads)
        parts = [queries[at : at + share] for at in range(0, len(queries), share)]
        return sum(pool.map(lambda part: [search(query) for query in part], parts), [])


def peer(name, width, threads):
    if name == "hnswlib":
        hnsw.set_ef(max(width, 10))
        hnsw.set_num_threads(threads)
        cpu, wall, (found, _) = timed(lambda: hnsw.knn_query(queries, 10, num_threads=threads))
        return cpu, wall, recall(found.tolist())
    if name == "faiss":
        graph.hnsw.efSearch = width
        faiss.omp_set_num_threads(threads)
        cpu, wall, (_, found) = timed(lambda: graph.search(queries, 10))
        return cpu, wall, recall(ids[found].tolist())
    faiss.omp_set_num_threads(threads)
    step = max(width, 1)
    search = lambda: np.concatenate(
        [flat.search(queries[at : at + step], 10)[1] for at in range(0, len(queries), step)]
    )
    cpu, wall, found = timed(search)
    return cpu, wall, recall(ids[found].tolist())


def run(name, width, threads):
    if name in ("before", "ours", "exact"):
        cpu, wall, found = ask(f"search {name} {width} {threads}")
        return cpu, wall, float(found)
    return peer(name, width, threads)


def table(names, widths, threads, title, x_axis):
    first = "candidates kept" if title == "graphs" else x_axis
    print(f"\n{title}, {threads} thread(s), by {first}: queries a second of CPU time (of wall time), recall@10")
    seen = {}
    for _ in range(options.rounds):
        for width in widths:
            for name in names:
                seen.setdefault((width, name), []).append(run(name, width, threads))
    print(f"{'':>6} " + " ".join(f"{name:>24}" for name in names))
    for width in widths:
        cells = []
        for name in names:
            cpu, wall, found = zip(*seen[width, name])
            quick = [len(queries) / max(statistics.median(one), 1e-3) for one in (cpu, wall)]
            share = statistics.median(found)
            cells.append(f"{quick[0]:>7.0f} ({quick[1]:>6.0f}) {share:.4f}")
            figure(f"{title}, {threads} thread(s)", x_axis, name, width if first == x_axis else share, quick[0])
        print(f"{width:>6} " + " ".join(f"{cell:>24}" for cell in cells), flush=True)


for threads in (1, 2):
    table([*graphs, *builds], WIDTHS, threads, "graphs", "recall@10")
table(["exact", "flat"] if faiss else ["exact"], [1, 8, 64, len(queries)], 1, "exact", "queries that come together")
