"""Sample weights, the parameter `class_weight`, and the weights of rows beside the penalty."""

import warnings
from numbers import Real

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from .validation import _check_sample_weight, as_array

# Of sample weights: room for the sums and ratios of float32.
_SMALLEST_SUM, _LARGEST_SUM = 1e-30, 1e30

# The penalty over the weight of a batch: beyond float32, and strong enough for a warning if the
# weights cause it, with such a mean or a smaller one.
_LARGEST_PENALTY, _STRONG_PENALTY, _SMALL_MEAN = 1e30, 0.1, 0.01


def check_weights(sample_weight, X, name="sample_weight"):
    """Sample weights as float64, or None; not negative, not all zero."""
    if sample_weight is None:
        return None
    try:
        weight = _check_sample_weight(as_array(sample_weight, name), X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error
    if (weight < 0).any():
        raise ValueError(
            f"Negative values in {name} (the smallest is {weight.min()}). Weights must be >= 0; "
            "a weight of 0 leaves a row out."
        )
    if not weight.any():
        raise ValueError(f"{name} is zero for every row: no row is left to train on.")
    if not _SMALLEST_SUM < weight.sum() < _LARGEST_SUM:
        raise ValueError(
            f"{name} has a sum of {weight.sum()}. Scale the weights, for example to a mean of 1; "
            "their ratios are what counts."
        )
    return weight


def class_factors(class_weight, classes, codes, weight):
    """Weight of each class.

    Parameters
    ----------
    class_weight : 'balanced' or dict
    classes : ndarray of shape (n_classes,)
    codes : int64 ndarray of shape (n_rows,)
        Number of each row's class.
    weight : float64 ndarray of shape (n_rows,), or None
        Sample weights.

    Returns
    -------
    factors : float64 ndarray of shape (n_classes,)
        With 'balanced', 0 for classes without a row of positive weight.
    """
    if isinstance(class_weight, list):
        raise ValueError(
            f"class_weight={class_weight!r} is a list, which is for several labels, but y has one "
            "class for each row. Pass a dict with the weight of each class."
        )
    if class_weight != "balanced":
        return _from_dict(class_weight, classes.tolist(), class_weight)
    rows = slice(None) if weight is None else weight > 0
    present = np.unique(codes[rows])
    factors = np.zeros(len(classes))
    factors[present] = compute_class_weight(
        "balanced",
        classes=present,
        y=codes[rows],
        sample_weight=None if weight is None else weight[rows],
    )
    return factors


def label_factors(class_weight, y, weight):
    """Weights of rows without and with each label.

    Parameters
    ----------
    class_weight : 'balanced' or list of dicts
        One dict for each label, with the keys 0 and 1.
    y : ndarray of zeros and ones of shape (n_rows, n_labels)
    weight : float64 ndarray of shape (n_rows,), or None
        Sample weights.

    Returns
    -------
    factors : float64 ndarray of shape (2, n_labels)
    """
    n_labels = y.shape[1]
    if class_weight == "balanced":
        columns = y.astype(np.int64).T
        return np.transpose([class_factors("balanced", np.arange(2), c, weight) for c in columns])
    pairs = isinstance(class_weight, list) and all(isinstance(w, dict) for w in class_weight)
    if not pairs or len(class_weight) != n_labels:
        raise ValueError(
            f"class_weight={class_weight!r} does not fit the {n_labels} labels of y. Pass "
            "'balanced', or a list with a dict for each label, such as {0: 1.0, 1: 5.0} to count "
            "rows that have the label five times."
        )
    for weights in class_weight:
        unknown = [key for key in weights if key not in (0, 1)]
        if unknown:
            raise ValueError(
                f"class_weight={class_weight!r} has the key {unknown[0]!r}: those of each label "
                "are 0 (rows without it) and 1 (rows that have it)."
            )
    return np.transpose([_from_dict(weights, [0, 1], class_weight) for weights in class_weight])


def _from_dict(weights, labels, class_weight):
    """Weights of labels, 1 for those that a dict leaves out."""
    for label, value in weights.items():
        real = isinstance(value, Real) and not isinstance(value, bool)
        if not real or not np.isfinite(value) or value < 0:
            raise ValueError(
                f"class_weight={class_weight!r} gives {label!r} the weight {value!r}: weights "
                "must be >= 0, finite numbers."
            )
    missing = [label for label in labels if label not in weights]
    unknown = [label for label in weights if label not in labels]
    if missing and unknown:  # a fold may lack some of the classes
        raise ValueError(
            f"class_weight={class_weight!r} has {unknown}, which are not classes of y, and no "
            f"weight for {missing}. Its keys must be the labels in y."
        )
    return np.array([weights.get(label, 1.0) for label in labels], dtype=np.float64)


def check_sum(weight, class_weight):
    """The weights of the rows, unless `class_weight` has made them too small or too large."""
    if not weight.any():
        raise ValueError(
            f"class_weight={class_weight!r} is zero for every row: no row is left to train on."
        )
    with np.errstate(over="ignore"):
        total = weight.sum()
    if not _SMALLEST_SUM < total < _LARGEST_SUM:
        raise ValueError(
            f"class_weight={class_weight!r} gives weights with a sum of {total}. Scale them, for "
            "example to a mean of 1; their ratios are what counts."
        )
    return weight


def check_penalty(estimator, train, batch_size):
    """Refuse a penalty that outweighs the loss; warn if small weights make it strong.

    Parameters
    ----------
    estimator : DropoutNetwork
    train : Sample
    batch_size : int
    """
    alpha = float(estimator.alpha)
    if not alpha or estimator.solver == "adamw":  # whose decay is not divided by weights
        return
    strength = alpha / (train.total_weight * min(1.0, batch_size / len(train.rows)))
    mean = train.total_weight / train.n_given
    factors = getattr(estimator, "class_weight", None)
    culprit = "sample_weight" if factors is None else f"sample_weight, class_weight={factors!r}"
    if strength > _LARGEST_PENALTY:
        small = f" beside weights ({culprit}) with a mean of {mean:.3g}" if mean < 1 else ""
        raise ValueError(
            f"alpha={alpha!r} is out of proportion{small}: only the penalty would be "
            f"minimised. Use a smaller alpha{', or weights with a mean of 1' if small else ''}."
        )
    if mean < _SMALL_MEAN and strength > _STRONG_PENALTY:
        warnings.warn(
            f"The weights of the rows ({culprit}) have a mean of {mean:.3g}, with which "
            f"alpha={alpha!r} is as strong as alpha={alpha / mean:.3g} without weights. Scale them "
            "to a mean of 1, or use alpha=0.",
            stacklevel=2,
        )
