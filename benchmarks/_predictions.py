"""Tables of `benchmarks.fit` about predictions and about sparse rows, beside scikit-learn's MLP."""

import warnings
from functools import partial

import numpy as np
from scipy.sparse import random_array
from sklearn.neural_network import MLPClassifier

from sklearn_dropout import DropoutMLPClassifier

from . import _timing
from ._tools import layer_sizes

AIMS = {1: "<= 1.0", 100_000: "<= 0.7"}
DENSITY = 0.002


def estimators(hidden):
    """One of ours and one of scikit-learn's, to be trained for one epoch."""
    return {
        "here": DropoutMLPClassifier(hidden, dropout_rate=0.2, max_iter=1, random_state=0),
        "scikit-learn": MLPClassifier(hidden, max_iter=1, random_state=0),
    }


def fit(estimator, X, y):
    """Train without a word about convergence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X, y)


def lines_of(work, calls, n_calls, options, aim=""):
    """Line of a table about a call of ours and of scikit-learn's.

    Parameters
    ----------
    work : list of str
        First columns.
    calls : dict of callables
    n_calls : int
        How many are timed as one.
    """
    works = {name: partial(_timing.seconds, call, n_calls) for name, call in calls.items()}
    times = _timing.interleave(works, options.repeats, work[0])
    ratio = _timing.ratios(times["here"], times["scikit-learn"])
    return [*work, *map(_timing.duration, times.values()), _timing.spread(ratio), aim]


def predict_row(settings, dtype, n_rows, options):
    """Line about the probabilities of `n_rows` rows."""
    X, y = settings.data()
    rows = np.random.default_rng(0).standard_normal((n_rows, X.shape[1]), dtype=dtype)
    calls = {
        name: partial(fit(estimator, X.astype(dtype), y).predict_proba, rows)
        for name, estimator in estimators(settings.hidden).items()
    }
    n_calls = max(1, (20 if options.quick else 300) // n_rows)
    network = "-".join(map(str, layer_sizes(X, y, settings)))
    work = [network, np.dtype(dtype).name, f"{n_rows:,}"]
    return lines_of(work, calls, n_calls, options, AIMS.get(n_rows, ""))


def print_predict(settings, options):
    rows = [
        predict_row(settings[name], dtype, n_rows, options)
        for name in ("iris", "circles", "large128")
        for dtype in (np.float64, np.float32)
        for n_rows in (1, 1_000 if options.quick else 100_000)
    ]
    _timing.print_table(
        "predict_proba",
        ["network", "X", "rows", "here", "scikit-learn", "here / scikit-learn", "aim"],
        rows,
        "Fitted on the precision they predict in.",
    )


def sparse_rows(n_rows, n_features):
    """A CSR matrix as of words in texts, and two classes."""
    rng = np.random.default_rng(0)
    X = random_array((n_rows, n_features), density=DENSITY, format="csr", dtype=np.float32, rng=rng)
    return X, rng.integers(2, size=n_rows)


def print_sparse(settings, options):
    X, y = sparse_rows(*(1_000, 3_000) if options.quick else (10_000, 30_000))
    networks = estimators((50,))
    fits = {name: partial(fit, network, X, y) for name, network in networks.items()}
    rows = [lines_of(["fit, one epoch"], fits, 1, options)]
    calls = {name: partial(network.predict_proba, X) for name, network in networks.items()}
    rows.append(lines_of(["predict_proba"], calls, 1, options))
    _timing.print_table(
        f"Sparse rows: {X.shape[0]:,} x {X.shape[1]:,}, density {DENSITY}, 50 units, batch 200",
        ["work", "here", "scikit-learn", "here / scikit-learn", ""],
        rows,
    )
