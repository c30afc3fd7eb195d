"""Long runs in one process: what grows with the number of fits, and with the number of rows.

    python -m benchmarks.endurance [--quick]

Fits and searches are repeated in one process, whose resident memory, threads and open files are
counted on the way: a leak is a slope. Then a network is trained on a memory map of float32 rows
that is larger than what a fit may take, in a separate process, with its progress bar on.
"""

import argparse
import contextlib
import gc
import io
import os
import re
import tempfile
import threading
import time

import numpy as np
import psutil
from joblib.externals.loky import get_reusable_executor
from sklearn.datasets import load_iris
from tqdm.auto import tqdm

from benchmarks._timing import in_new_process, peak_memory, print_header, print_table
from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV

MB = 1 << 20


def small_fits():
    """Fits of every kind that leave something behind for a while."""
    X, y = load_iris(return_X_y=True)
    shared = {"hidden_layer_sizes": (16, 8), "max_iter": 10, "batch_size": 16}
    kinds = [
        lambda seed: DropoutMLPClassifier(**shared, random_state=seed).fit(X, y).predict(X),
        lambda seed: DropoutMLPRegressor(**shared, random_state=seed).fit(X, y).net_.predict(X),
        lambda seed: DropoutMLPClassifier(
            **shared, random_state=seed, early_stopping=True, callbacks=[]
        ).fit(X, y),
        lambda seed: DropoutMLPClassifier(**shared, random_state=seed).partial_fit(X, y, [0, 1, 2]),
        lambda seed: refused_fit(X, y),
    ]
    return lambda place: kinds[place % len(kinds)](place)


def refused_fit(X, y):
    """A fit that diverges, whose traceback holds what it had."""
    with contextlib.suppress(ValueError):
        DropoutMLPClassifier(solver="sgd", learning_rate_init=1e20, max_iter=3).fit(X * 1e10, y)


def small_searches():
    """Searches with one worker and with two by turns."""
    X, y = load_iris(return_X_y=True)
    grid = {"dropout_rate": [0.0, 0.2, 0.4], "alpha": [1e-4, 1e-2]}

    def search(place):
        network = DropoutMLPClassifier((16, 8), max_iter=5, batch_size=16, random_state=place)
        DropoutSearchCV(network, grid, cv=3, n_jobs=1 + place % 2).fit(X, y)

    return search


def state():
    """Resident memory in MB, threads and open files of this process."""
    gc.collect()
    process = psutil.Process()
    return process.memory_info().rss / MB, process.num_threads(), process.num_fds()


def repeat(make_work, n_calls, n_warm_up):
    """State after the warm-up, at some times on the way, and at the end.

    Returns
    -------
    states : list of tuples (n_calls, MB, threads, files)
    n_python_threads : int
        Left at the end.
    """
    work = make_work()
    steps = {n_warm_up, n_warm_up + n_calls} | {
        n_warm_up + n_calls * part // 4 for part in (1, 2, 3)
    }
    states = []
    for place in tqdm(range(1, n_warm_up + n_calls + 1), desc=make_work.__name__, disable=None):
        work(place)
        if place in steps:
            states.append((place - n_warm_up, *state()))
    get_reusable_executor().shutdown(wait=True)  # else this process waits for idle workers
    return states, threading.active_count()


def report(title, states):
    rows = [(n, f"{memory:.1f}", threads, files) for n, memory, threads, files in states]
    first, last = states[0], states[-1]
    per_call = (last[1] - first[1]) / (last[0] - first[0]) * 1024
    growth = f"{per_call:.2f} kB a call, {last[2] - first[2]} threads, {last[3] - first[3]} files"
    print_table(
        title,
        ("calls after the warm-up", "resident MB", "threads", "open files"),
        rows,
        f"Growth: {growth}.",
    )


def write_rows(path, n_rows, n_features):
    """Float32 rows, a chunk at a time."""
    X = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, n_features))
    rng = np.random.default_rng(0)
    for start in range(0, n_rows, 50_000):
        part = X[start : start + 50_000]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    X.flush()


def fit_memory_map(path):
    """Train one epoch on a memory map; memory in MB and what the progress bar showed."""
    X = np.load(path, mmap_mode="r")
    y = np.empty(len(X), dtype=np.float32)
    for start in range(0, len(X), 50_000):
        y[start : start + 50_000] = X[start : start + 50_000, 0] > 0
    network = DropoutMLPClassifier((32,), batch_size=1_000, max_iter=3, verbose=1, random_state=0)
    DropoutMLPClassifier((32,), max_iter=1).fit(X[:5_000], y[:5_000])  # loads what it needs
    anonymous = AnonymousMemory()
    start, bar = time.perf_counter(), io.StringIO()
    with contextlib.redirect_stderr(bar), anonymous:
        network.fit(X, y)
    seconds = time.perf_counter() - start
    shown = re.findall(r"(\d+)/3 \[", bar.getvalue())
    return anonymous.growth / MB, peak_memory() / MB, X.nbytes / MB, seconds, sorted(set(shown))


class AnonymousMemory:
    """Largest growth of this process's own memory; pages of a mapped file are the system's."""

    def __enter__(self):
        self.first, self.growth, self.done = self.now(), 0, threading.Event()
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()
        return self

    @staticmethod
    def now():
        memory = psutil.Process().memory_info()
        return memory.rss - getattr(memory, "shared", 0)

    def watch(self):
        while not self.done.wait(0.01):
            self.growth = max(self.growth, self.now() - self.first)

    def __exit__(self, *exception):
        self.done.set()
        self.watcher.join()


def main():
    """Run and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="seconds of work, to see that it runs")
    parser.add_argument("--fits", type=int, help="default: 1000, with --quick 40")
    parser.add_argument("--searches", type=int, help="default: 100, with --quick 4")
    parser.add_argument("--rows", type=int, help="default: 1000000, with --quick 50000")
    options = parser.parse_args()
    n_fits = options.fits or (40 if options.quick else 1_000)
    n_searches = options.searches or (4 if options.quick else 100)
    n_rows = options.rows or (50_000 if options.quick else 1_000_000)
    print_header(["scikit-learn", "torch", "numba", "sklearn-dropout"])

    warm_up = 10 if options.quick else 100
    states, left = in_new_process(repeat, small_fits, n_fits, warm_up)
    report(f"{n_fits} fits in one process", states)
    print(f"Python threads at the end: {left}.")
    states, left = in_new_process(repeat, small_searches, n_searches, 2 if options.quick else 20)
    report(f"{n_searches} searches in one process", states)
    print(f"Python threads at the end: {left}.")

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "X.npy")
        in_new_process(write_rows, path, n_rows, 50)
        growth, peak, size, seconds, shown = in_new_process(fit_memory_map, path)
    print_table(
        f"A memory map of {n_rows:,} x 50 float32, 3 epochs of a network of 32 units",
        ("data", "own memory of the fit", "peak of the process", "time", "bar showed epochs"),
        [(f"{size:.0f} MB", f"{growth:.0f} MB", f"{peak:.0f} MB", f"{seconds:.1f} s", shown)],
        "The peak of the process counts pages of the map, which the system may drop at any time.",
    )


if __name__ == "__main__":
    main()
