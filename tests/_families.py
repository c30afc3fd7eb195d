"""The estimators of all families, small enough for tests that run over each of them."""

import numpy as np
from sklearn.base import is_classifier

import sklearn_dropout
from sklearn_dropout.estimators.base import DropoutNetwork

_PUBLIC = [getattr(sklearn_dropout, name) for name in sklearn_dropout.__all__]
ALL = [kind for kind in _PUBLIC if isinstance(kind, type) and issubclass(kind, DropoutNetwork)]
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
