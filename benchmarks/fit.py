"""Fit, predict and memory of the perceptrons, beside the tools a user would pick instead.

Run from the root of the repository: ``python -m benchmarks.fit``, ``--quick`` to see that it runs.

Works as small as most of these gain nothing from a second thread, and threads of other tools wait
for each other on a machine with other work: every tool gets one unless ``--threads`` says
otherwise. The row ``threads`` compares one and two, with ``--busy`` beside a process that burns a
core as well.
"""

from functools import partial

import numpy as np

from sklearn_dropout import DropoutMLPClassifier

from . import _predictions, _timing, _variants
from ._tools import MAX_KERAS_EPOCHS, available_tools, layer_sizes
from ._works import all_settings, random_rows

PACKAGES = ("sklearn-dropout", "numba", "numpy", "scikit-learn", "torch", "skorch", "keras")


def fit_rows(settings, tools, n_repeats):
    """Lines of the table about one row: times, ratios, aims."""
    X, y = settings.data()
    works = {name: partial(tool, X, y, settings) for name, tool in tools.items()}
    times = _timing.interleave(works, n_repeats, settings.name)
    n_steps = -(-len(X) // settings.batch_size) if settings.unit == "step" else 1
    times = {name: [taken / n_steps for taken in values] for name, values in times.items()}
    ratios = {name: _timing.ratios(values, times["here"]) for name, values in times.items()}
    if "limit" in times:
        ratios["limit"] = _timing.ratios(times["here"], times["limit"])
    del ratios["here"]
    network = "-".join(map(str, layer_sizes(X, y, settings)))
    length = f"{len(X):,} rows, batch {settings.batch_size}, epochs {settings.epochs:,}"
    return [
        [
            f"{settings.name}: {network}, dropout {settings.rate}",
            f"time / {settings.unit}",
            *map(_timing.duration, times.values()),
        ],
        [length, "ratio", "", *map(_timing.spread, ratios.values())],
        ["", "aim", "", *(settings.aims.get(name, "") for name in ratios)],
    ]


def print_fit(chosen, options):
    tools = available_tools()
    rows = []
    for settings in chosen:
        rows += fit_rows(settings, tools, options.repeats)
    _timing.print_table(
        "Fit",
        ["work", "", *tools],
        rows,
        f"Medians of {options.repeats} interleaved rounds (min-max). Here: the public fit, checks "
        "included. Ratio: tool / here; for the limit here / limit.",
        "Limit: the products, random bits and Adam of a step alone. scikit-learn drops nothing. "
        f"Keras without its first epoch, and with at most {MAX_KERAS_EPOCHS} epochs.",
    )


def memory_of_fit(dtype, n_rows, settings):
    """Peak memory before and after a fit, in bytes; to be run in a separate process."""
    estimator = DropoutMLPClassifier(
        settings.hidden, dropout_rate=settings.rate, batch_size=settings.batch_size, max_iter=1
    )
    estimator.fit(*random_rows(1_000, dtype))  # loads what the first fit loads
    X, y = random_rows(n_rows, dtype)
    before = _timing.peak_memory()
    estimator.fit(X, y)
    return before, _timing.peak_memory()


def memory_rows(settings, options):
    """Lines about the memory of a fit on many rows."""
    n_rows = 5_000 if options.quick else 100_000
    for dtype in (np.float32, np.float64):
        size = n_rows * 784 * 4
        before, after = _timing.in_new_process(memory_of_fit, dtype, n_rows, settings)
        yield [
            f"{n_rows:,} x 784 {np.dtype(dtype).name}",
            *(f"{value / 1e6:,.0f}" for value in (size, before, after, after - before)),
            f"{(after - before) / size:.2f}",
        ]


def print_memory(rows):
    _timing.print_table(
        "Peak memory of a fit, MB",
        ["X", "X in float32", "before fit", "after fit", "growth", "growth / X in float32"],
        rows,
        'Process with the libraries and X loaded: "before" holds X as it was given.',
    )


OTHER_TABLES = {
    "activations": _variants.print_activations,
    "threads": _variants.print_threads,
    "predict": _predictions.print_predict,
    "sparse": _predictions.print_sparse,
}


def main():
    works = all_settings(quick=False)
    parser = _timing.argument_parser(__doc__, [*works, *OTHER_TABLES, "memory"], threads=1)
    parser.add_argument(
        "--busy", action="store_true", help="threads: also beside a process that burns a core"
    )
    options = _timing.parse(parser)
    settings = all_settings(options.quick)
    with _timing.threads(options.threads):
        _timing.print_header(PACKAGES)
        # First, while this process has less memory than the ones it starts.
        memory = []
        if "memory" in options.rows:
            memory = list(memory_rows(settings["large128"], options))
        if chosen := [settings[name] for name in options.rows if name in settings]:
            print_fit(chosen, options)
        for name, print_rows in OTHER_TABLES.items():
            if name in options.rows:
                print_rows(settings, options)
        if memory:
            print_memory(memory)


if __name__ == "__main__":
    main()
