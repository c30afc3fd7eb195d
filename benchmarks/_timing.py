"""What all benchmarks share: interleaved timing, peak memory, threads, header and tables.

Nothing here asserts a time. Times of different hours or machines cannot be compared; ratios taken
round by round in one process can, within their spread.
"""

import argparse
import gc
import importlib.metadata
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch
from tabulate import tabulate
from threadpoolctl import threadpool_info, threadpool_limits
from tqdm.auto import tqdm

_LONG = 20.0  # seconds, of which warming up is a small part
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


def seconds(work, n_calls=1):
    """Mean time of a call of `work`, over `n_calls` in a row."""
    start = time.perf_counter()
    for _ in range(n_calls):
        work()
    return (time.perf_counter() - start) / n_calls


def interleave(tools, n_repeats, title=""):
    """Time several tools round by round: A B C, A B C, ...

    Parameters
    ----------
    tools : dict of callables () -> float
        Each measures itself and returns seconds. Called once more before, to warm up, unless that
        takes so long that it counts as a round.
    n_repeats : int
        Rounds.
    title : str
        For the progress bar.

    Returns
    -------
    times : dict of lists of float, of length n_repeats
    """
    times = {name: [] for name in tools}
    for round_ in tqdm(range(n_repeats + 1), desc=title, leave=False, disable=None):
        for name, tool in tools.items():
            gc.collect()
            if len(times[name]) == n_repeats:
                continue
            taken = tool()
            if round_ or taken > _LONG:
                times[name].append(taken)
    return times


def ratios(numerators, denominators):
    """Ratios of two tools, each within one round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def spread(values):
    """Median, and from three values on the smallest and the largest."""
    median, low, high = map(_three_digits, (statistics.median(values), min(values), max(values)))
    return f"{median} ({low}-{high})" if len(values) > 2 else median


def _three_digits(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def duration(times):
    """Median of times in seconds, with spread, in a unit that suits it."""
    median = statistics.median(times)
    unit = next((unit for unit, size in _UNITS.items() if median >= size), "us")
    return f"{spread([taken / _UNITS[unit] for taken in times])} {unit}"


def peak_memory():
    """Largest resident memory this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def in_new_process(function, *arguments):
    """What `function` returns in a separate process.

    Call it while this process is small: Linux lets a child inherit the peak of its parent's
    memory.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


@contextmanager
def threads(n_threads):
    """Run every tool with `n_threads` threads; ``None`` leaves each with its default."""
    if n_threads is None:
        yield
        return
    # Read by TensorFlow when it is imported.
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(n_threads)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with threadpool_limits(n_threads):
            yield
    finally:
        torch.set_num_threads(before)


def argument_parser(description, rows, threads=None):
    """Parser of the options that all benchmarks have.

    Parameters
    ----------
    description : str
    rows : iterable of str
        What can be chosen with ``--rows``.
    threads : int, default=None
        What ``--threads`` is unless given; ``None`` leaves each tool with its default.
    """
    rows = tuple(rows)

    def chosen(text):
        names = text.split(",")
        if unknown := set(names) - set(rows):
            raise argparse.ArgumentTypeError(f"{sorted(unknown)} not in {', '.join(rows)}")
        return names

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="seconds of work, to see that it runs")
    parser.add_argument("--rows", type=chosen, default=rows, help=f"some of {','.join(rows)}")
    parser.add_argument("--repeats", type=int, help="rounds (default: 5, with --quick 1)")
    shown = "0: what each takes" if threads is None else f"default {threads}; 0: what each takes"
    parser.add_argument("--threads", type=int, default=threads, help=f"for every tool ({shown})")
    return parser


def parse(parser):
    """Options from the command line, the number of rounds filled in."""
    options = parser.parse_args()
    if options.repeats is None:
        options.repeats = 1 if options.quick else 5
    options.threads = options.threads or None
    return options


def print_header(packages):
    """Print versions, processor, threads and the load there is already."""
    versions = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {package}")
    blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    print(", ".join(versions))
    print(
        f"{_processor()}, {os.cpu_count()} CPUs; threads: torch {torch.get_num_threads()}, "
        f"BLAS {'/'.join(map(str, sorted(blas)))}; "
        f"load average {os.getloadavg()[0]:.2f}",
        flush=True,
    )


def _processor():
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def print_table(title, columns, rows, *notes):
    """Print a table with a title above and notes below."""
    print(f"\n{title}\n")
    print(tabulate(rows, headers=columns, disable_numparse=True))
    for note in notes:
        print(note)
    sys.stdout.flush()
