"""Accuracy and R² of a network, without a scorer.

A call of a scikit-learn scorer costs as much as training a small network. Accuracy and R² come
straight from the outputs instead, on rows that are checked once for all networks of a fold.
"""

import numpy as np
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import Pipeline

from ..checks.validation import _PassthroughScorer, _Scorer


def asks_for_own_score(scorer, model):
    """Whether a scorer only needs the accuracy or R² of the network in a model."""
    if get_config()["enable_metadata_routing"]:
        return False
    while type(model) is Pipeline:
        model = model.steps[-1][1]
    if isinstance(model, TransformedTargetRegressor):
        return False
    if isinstance(scorer, _PassthroughScorer):
        return True
    metric = accuracy_score if is_classifier(model) else r2_score
    return (
        type(scorer) is _Scorer
        and scorer._score_func is metric
        and scorer._sign == 1
        and not scorer._kwargs
        and scorer._response_method == "predict"
    )


def checked_rows(learner, X, y):
    """Check rows to score, for `own_score`.

    Parameters
    ----------
    learner : DropoutNetwork
        Fitted, except for its weights.
    X : as for its `predict`
    y : targets of these rows
    """
    X = learner._validate(X, reset=False)
    y = learner._encode_more(y, "y")
    if learner._numeric_target and len(y) < 2:
        raise ValueError("R² needs two rows.")
    return X, y


def own_score(learner, X, y):
    """Accuracy or R² of a network.

    Parameters
    ----------
    learner : DropoutNetwork
        With weights; needs no other attributes of a finished fit.
    X, y : from `checked_rows`

    Returns
    -------
    score : float
    """
    if learner._numeric_target:
        targets = learner._outputs_of(X, learner._scaled_targets)
        return _r2(learner._decode_targets(targets), y)
    return _accuracy(learner._outputs_of(X), y)


def _accuracy(outputs, y):
    """Fraction of correct rows, from outputs before the output function and class numbers."""
    if y.ndim == 2:
        right = ((outputs > 0) == (y > 0.5)).all(1)
    elif outputs.shape[1] == 1:
        right = (outputs[:, 0] > 0) == (y > 0)
    else:
        right = outputs.argmax(1) == y
    return float(np.count_nonzero(right) / len(right))


def _r2(prediction, y):
    """Mean R² of the columns of `y`, as in ``sklearn.metrics.r2_score``."""
    residual = ((y - prediction.reshape(y.shape)) ** 2).sum(0)
    spread = ((y - y.mean(0)) ** 2).sum(0)
    constant = spread == 0
    r2 = 1.0 - residual / np.where(constant, 1.0, spread)
    return float(np.where(constant, residual == 0, r2).mean())
