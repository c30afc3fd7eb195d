"""Scores of networks that trained together, where the score is the estimators' own.

A call of a scikit-learn scorer costs as much as training a small network. Accuracy and R² of all
networks that share a fold come from one pass over its rows instead.
"""

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import Pipeline

from ._tensors import rows_as_tensor
from ._validation import _PassthroughScorer, _Scorer
from .nn._losses import OUT_ACTIVATIONS


def scores_together(scorer, whole):
    """Whether a scorer asks a whole for nothing but the accuracy or R² of its network."""
    if get_config()["enable_metadata_routing"]:
        return False
    while type(whole) is Pipeline:
        whole = whole.steps[-1][1]
    if isinstance(whole, TransformedTargetRegressor) or not whole._stacks:
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


def own_scores(learners, outcomes, X, y):
    """Accuracy or R² of networks on the same rows.

    Parameters
    ----------
    learners : list of DropoutNetwork
        Of one architecture; fitted but for their weights.
    outcomes : list of Outcome
        With their weights.
    X : as the networks' `predict` takes it
    y : targets of these rows

    Returns
    -------
    scores : list of float
    """
    first = learners[0]
    X = first._validate(X, reset=False)
    y = first._encode_more(y, "y")
    if not is_classifier(first) and len(y) < 2:
        raise ValueError("R² needs two rows.")
    outputs, n_rows = first._forward_together(outcomes, X.dtype)
    with torch.inference_mode():
        starts = range(0, X.shape[0], n_rows)
        parts = [outputs(rows_as_tensor(X, start, start + n_rows)) for start in starts]
        z = OUT_ACTIVATIONS[first.out_activation_](torch.cat(parts, 1)).numpy()
    if is_classifier(first):
        return _accuracy(z, y, first.out_activation_).tolist()
    return [_r2(learner._decode_targets(answer), y) for learner, answer in zip(learners, z)]


def _accuracy(outputs, y, out_activation):
    """Share of right rows: outputs of shape (n_networks, n_rows, n_outputs), numbers of classes."""
    if out_activation == "softmax":
        return (outputs.argmax(-1) == y).mean(1)
    y = y.reshape(len(y), -1)
    return ((outputs > 0.5) == (y > 0.5)).all(-1).mean(1)


def _r2(prediction, y):
    """Mean R² of the columns of `y`, as ``sklearn.metrics.r2_score`` has it."""
    residual = ((y - prediction.reshape(y.shape)) ** 2).sum(0)
    spread = ((y - y.mean(0)) ** 2).sum(0)
    constant = spread == 0
    r2 = 1.0 - residual / np.where(constant, 1.0, spread)
    return float(np.where(constant, residual == 0, r2).mean())
