"""scikit-learn's K-means for benches/kmeans.rs: points.npy k starts iterations threads seed."""

import resource
import sys
import time

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

path, k, starts, iterations, threads, seed = sys.argv[1], *map(int, sys.argv[2:])
points = np.load(path)
with threadpool_limits(threads or None):
    started = time.perf_counter()
    found = KMeans(k, n_init=starts, max_iter=iterations, tol=1e-4, random_state=seed).fit(points)
    seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(
    f"scikit-learn: inertia {found.inertia_:.3f}, {found.n_iter_} iterations of the best start, "
    f"{seconds:.2f} s, peak memory {peak:.0f} MiB"
)
