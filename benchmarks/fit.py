"""Fit, predict and memory of the perceptrons, beside the tools a user would pick instead.

Run from the root of the repository: ``python -m benchmarks.fit``, ``--quick`` to see that it runs.

On a machine with other work, threads wait for each other and the tools that use them by default
are slower many times over: compare with ``--threads 1`` there.
"""

import warnings
from functools import partial

import numpy as np
from sklearn.datasets import load_iris, make_circles
from sklearn.neural_network import MLPClassifier

from sklearn_dropout import DropoutMLPClassifier

from . import _timing
from ._tools import MAX_KERAS_EPOCHS, Settings, available_tools, layer_sizes

PACKAGES = ("sklearn-dropout", "numpy", "scikit-learn", "torch", "skorch", "keras")


def circles():
    """The 30 training rows of the two-circles study."""
    X, y = make_circles(100, noise=0.1, random_state=1)
    return X[:30].astype(np.float32), y[:30]


def iris():
    X, y = load_iris(return_X_y=True)
    return X.astype(np.float32), y


def random_rows(n_rows, dtype=np.float32):
    """Noise in the shape of MNIST, with ten classes."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((n_rows, 784), dtype=dtype), rng.integers(10, size=n_rows)


def all_settings(quick):
    """The rows of the table by name; with `quick` little of each."""
    n_rows = 1_000 if quick else 20_000
    large = partial(
        Settings,
        data=partial(random_rows, n_rows),
        hidden=(256, 128, 64),
        rate=0.2,
        epochs=1 if quick else 3,
        unit="step",
    )
    large_aims = {"PyTorch": ">= 1.3", "skorch": ">= 2", "scikit-learn": ">= 1.5"}
    return {
        "circles": Settings(
            "circles",
            circles,
            hidden=(500,),
            rate=0.4,
            batch_size=32,
            epochs=20 if quick else 4_000,
            aims={"PyTorch": ">= 5", "skorch": ">= 10", "scikit-learn": ">= 3"},
        ),
        "iris": Settings(
            "iris",
            iris,
            hidden=(16, 8),
            rate=0.2,
            batch_size=16,
            epochs=4 if quick else 40,
            aims={"scikit-learn": ">= 2.5"},
        ),
        "large32": large("large", batch_size=32, aims=large_aims | {"products": "<= 2.2"}),
        "large128": large("large", batch_size=128, aims=large_aims | {"products": "<= 1.5"}),
    }


def architecture(X, y, settings):
    return "-".join(map(str, layer_sizes(X, y, settings)))


def fit_rows(settings, tools, n_repeats):
    """Lines of the table about one row: times, ratios, aims."""
    X, y = settings.data()
    works = {name: partial(tool, X, y, settings) for name, tool in tools.items()}
    times = _timing.interleave(works, n_repeats, settings.name)
    n_steps = -(-len(X) // settings.batch_size) if settings.unit == "step" else 1
    times = {name: [taken / n_steps for taken in values] for name, values in times.items()}
    ratios = {name: _timing.ratios(values, times["here"]) for name, values in times.items()}
    ratios["products"] = _timing.ratios(times["here"], times["products"])
    del ratios["here"]
    network = f"{settings.name}: {architecture(X, y, settings)}, dropout {settings.rate}"
    length = f"{len(X):,} rows, batch {settings.batch_size}, epochs {settings.epochs:,}"
    return [
        [network, f"time / {settings.unit}", *map(_timing.duration, times.values())],
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
        f"Medians of {options.repeats} interleaved rounds (min-max). Ratio: tool / here; for the "
        "matrix products here / products.",
        "scikit-learn drops nothing. Keras without its first epoch, and with at most "
        f"{MAX_KERAS_EPOCHS} epochs.",
    )


def fitted(settings, X, y):
    """An estimator of ours and one of scikit-learn's, trained for one epoch."""
    estimators = {
        "here": DropoutMLPClassifier(settings.hidden, max_iter=1),
        "scikit-learn": MLPClassifier(settings.hidden, max_iter=1),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: estimator.fit(X, y) for name, estimator in estimators.items()}


def predict_row(settings, dtype, n_rows, options):
    """Line about the probabilities of `n_rows` rows."""
    X, y = settings.data()
    estimators = fitted(settings, X.astype(dtype), y)
    rows = np.random.default_rng(0).standard_normal((n_rows, X.shape[1]), dtype=dtype)
    n_calls = max(1, (20 if options.quick else 300) // n_rows)
    works = {
        name: partial(_timing.seconds, partial(estimator.predict_proba, rows), n_calls)
        for name, estimator in estimators.items()
    }
    times = _timing.interleave(works, options.repeats, "predict")
    return [
        architecture(X, y, settings),
        np.dtype(dtype).name,
        f"{n_rows:,}",
        *map(_timing.duration, times.values()),
        _timing.spread(_timing.ratios(times["here"], times["scikit-learn"])),
        "<= 1.5" if n_rows == 1 else "<= 1",
    ]


def print_predict(networks, options):
    _timing.print_table(
        "predict_proba",
        ["network", "X", "rows", "here", "scikit-learn", "here / scikit-learn", "aim"],
        [
            predict_row(settings, dtype, n_rows, options)
            for settings in networks
            for dtype in (np.float64, np.float32)
            for n_rows in (1, 1_000 if options.quick else 100_000)
        ],
        "Fitted on the precision they predict in.",
    )


def memory_of_fit(dtype, n_rows, settings):
    """Peak memory before and after a fit, in bytes; to be run in a process of its own."""
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


def main():
    everything = all_settings(quick=False)
    parser = _timing.argument_parser(__doc__, [*everything, "predict", "memory"])
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
        if "predict" in options.rows:
            print_predict([settings[name] for name in ("iris", "circles", "large128")], options)
        if memory:
            print_memory(memory)


if __name__ == "__main__":
    main()
