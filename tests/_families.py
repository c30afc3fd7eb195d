"""The estimators of all families, small enough for tests that run over each of them."""

from itertools import product

import numpy as np
import pytest
from sklearn.base import is_classifier

import sklearn_dropout
from sklearn_dropout.estimators.base import DropoutNetwork

_PUBLIC = [getattr(sklearn_dropout, name) for name in sklearn_dropout.__all__]
ALL = [kind for kind in _PUBLIC if isinstance(kind, type) and issubclass(kind, DropoutNetwork)]
ONE_OF_EACH_FAMILY = [
    sklearn_dropout.DropoutMLPClassifier,
    sklearn_dropout.DropoutCNNRegressor,
    sklearn_dropout.DropoutRNNClassifier,
]
CLASSIFIERS = [Est for Est in ALL if is_classifier(Est())]

_SMALL = {
    "hidden_layer_sizes": (6,),
    "conv_layer_sizes": (3,),
    "max_iter": 3,
    "batch_size": 16,
    "dropout_rate": 0.3,
    "random_state": 0,
}


def small(Est, **params):
    """An estimator that trains in milliseconds."""
    mine = Est().get_params()
    return Est(**{name: value for name, value in _SMALL.items() if name in mine} | params)


def problem(Est, n=48, seed=0, n_features=6):
    """Inputs as a table, and targets that depend on them."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n_features))
    y = X[:, 0] + 0.1 * rng.standard_normal(n)
    return X, np.where(y > 0.2, "yes", "no") if is_classifier(Est()) else 10 * y + 3


def answers(est, X):
    """Probabilities, or predicted targets."""
    return est.predict_proba(X) if is_classifier(est) else est.predict(X)


def assert_same(one, other, X):
    """The same network, bit for bit."""
    for ours, theirs in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(answers(one, X), answers(other, X))
    assert one.loss_curve_ == other.loss_curve_


def differ(one, other):
    """Whether two networks have different weights."""
    return any(not np.array_equal(a, b) for a, b in zip(one.coefs_, other.coefs_))


def spread(**axes):
    """Run a test over all values of each argument, but not over all combinations of them.

    The longest axis goes with every combination of the others, one case for each.
    """
    longest, *others = sorted(axes, key=lambda name: -len(axes[name]))
    values, combinations = list(axes[longest]), list(product(*(axes[name] for name in others)))
    n = len(values)
    rows = [
        (values[(case + case // n) % n], *combinations[case % len(combinations)])
        for case in range(max(n, len(combinations)))
    ]
    return pytest.mark.parametrize((longest, *others), rows)
