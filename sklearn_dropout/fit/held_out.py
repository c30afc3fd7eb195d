"""Rows to validate on: a part of the training rows, or a separate set."""

import warnings

import numpy as np
from scipy.sparse import issparse
from sklearn.model_selection import train_test_split

from ..checks.targets import check_targets
from ..checks.weights import check_weights
from ..dropout.streams import Use, bits


def hold_out(estimator, y, rows, weight, seed):
    """Split rows into training and validation rows, stratified by class for classifiers.

    Returns
    -------
    rows, weight : of the training rows
    held_out : tuple (rows, weight) of the validation rows
    """
    labels = y[rows] if estimator._stratifies and y.ndim == 1 else None
    try:
        train, valid = train_test_split(
            np.arange(len(rows)),
            test_size=estimator.validation_fraction,
            stratify=labels if _can_be_stratified(labels, estimator) else None,
            random_state=int(bits(seed, Use.SPLIT).random_raw()) >> 33,
        )
    except ValueError as error:
        raise ValueError(
            f"early_stopping=True cannot hold out validation_fraction="
            f"{estimator.validation_fraction!r} of {len(rows)} rows: {error} "
            "Pass X_val and y_val, or use early_stopping=False."
        ) from error
    if len(valid) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' (now "
            f"{estimator.validation_fraction!r}) or the size of your dataset ({len(y)} rows)."
        )
    parts = [(rows[part], None if weight is None else weight[part]) for part in (train, valid)]
    return *parts[0], parts[1]


def _can_be_stratified(labels, estimator):
    """Whether to stratify: always for two classes, for more if each fits into both parts."""
    if labels is None or len(np.unique(labels)) <= 2:
        return labels is not None
    counts = np.unique(labels, return_counts=True)[1]
    n_valid = int(np.ceil(estimator.validation_fraction * len(labels)))
    return counts.min() > 1 and len(counts) <= min(n_valid, len(labels) - n_valid)


def validation_rows(estimator, X_val, y_val, sample_weight_val):
    """Check a validation set: X, y, the rows that have a weight, and their weights."""
    check_targets(y_val, "y_val", estimator._numeric_target)
    try:
        X_val, y_val = estimator._validate(X_val, y_val, reset=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"X_val, y_val: {error}") from error
    y_val = estimator._encode_more(y_val, "y_val")
    weight = check_weights(sample_weight_val, X_val, "sample_weight_val")
    weight = estimator._validation_weights(weight, y_val)
    rows = np.arange(X_val.shape[0]) if weight is None else np.flatnonzero(weight)
    return X_val, y_val, rows, None if weight is None else weight[rows]


def warn_of_other_scale(X, X_val):
    """Warn if validation inputs look unscaled beside the training inputs.

    Parameters
    ----------
    X, X_val : checked tables
    """
    if issparse(X) or issparse(X_val) or X.shape[1] != X_val.shape[1] or not X_val.shape[0]:
        return
    low, high, mean = X.min(axis=0), X.max(axis=0), X_val.mean(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        span = high - low
        outside = (span > 0) & ((mean > high + span) | (mean < low - span))
    if outside.any():
        column = int(outside.argmax())
        warnings.warn(
            f"X_val is far outside the range of X: the mean of column {column} is "
            f"{mean[column]:.4g}, and X reaches from {low[column]:.4g} to {high[column]:.4g}. A "
            "Pipeline does not transform X_val: pass it through the fitted steps before the "
            "network, or name it in the Pipeline's transform_input.",
            stacklevel=2,
        )
