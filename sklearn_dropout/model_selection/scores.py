"""Scores of a network where the score is the estimator's own, without a scorer.

A call of a scikit-learn scorer costs as much as training a small network. Accuracy and R² come
straight from the outputs instead, on rows that are checked once for all networks of a fold.
"""

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import Pipeline

from ..checks.validation import _PassthroughScorer, _Scorer
from ..nn.losses import OUT_ACTIVATIONS


def asks_for_own_score(scorer, whole):
    """Whether a scorer asks a whole for nothing but the accuracy or R² of its network."""
    if get_config()["enable_metadata_routing"]:
        return False
    while type(whole) is Pipeline:
        whole = whole.steps[-1][1]
    if isinstance(whole, TransformedTargetRegressor):
        return False
    if isinstance(scorer, _PassthroughScorer):
        return True
    metric = accuracy_score if is_classifier(whole) else r2_score
    return (
        type(scorer) is _Scorer
        and scorer._score_func is metric
        and scorer._sign == 1
        and not scorer._kwargs
        and scorer._response_method == "predict"
    )


def checked_rows(learner, X, y):
    """Rows to score, as `own_score` takes them.

    Parameters
    ----------
    learner : DropoutNetwork
        Fitted but for its weights.
    X : as its `predict` takes it
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
        With weights; nothing else that a fit sets in the end is needed.
    X, y : from `checked_rows`

    Returns
    -------
    score : float
    """
    z = learner._outputs_of(X)
    with torch.inference_mode():
        if learner._numeric_target:
            answers = OUT_ACTIVATIONS[learner.out_activation_](z).numpy()
            return _r2(learner._decode_targets(answers), y)
    return _accuracy(z.numpy(), y)


def _accuracy(outputs, y):
    """Share of right rows, from outputs before the output function and numbers of classes."""
    if y.ndim == 2:
        right = ((outputs > 0) == (y > 0.5)).all(1)
    elif outputs.shape[1] == 1:
        right = (outputs[:, 0] > 0) == (y > 0)
    else:
        right = outputs.argmax(1) == y
    return float(np.count_nonzero(right) / len(right))


def _r2(prediction, y):
    """Mean R² of the columns of `y`, as ``sklearn.metrics.r2_score`` has it."""
    residual = ((y - prediction.reshape(y.shape)) ** 2).sum(0)
    spread = ((y - y.mean(0)) ** 2).sum(0)
    constant = spread == 0
    r2 = 1.0 - residual / np.where(constant, 1.0, spread)
    return float(np.where(constant, residual == 0, r2).mean())
