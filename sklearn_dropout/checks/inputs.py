"""Inputs that are not a table of numbers: what they are, and what to pass instead."""

from collections.abc import Iterator, Mapping, Set

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import DataLoader, Dataset

# How NumPy, PyTorch and scikit-learn refuse several numbers in the place of one.
_CONVERSION = "array element", "inhomogeneous", "real number", "one element", "Expected 2D"
_DTYPES = np.float32, np.float64
_NESTED = (list, tuple, np.ndarray, torch.Tensor)


def check_container(X, name="X"):
    """Refuse containers that are neither arrays nor lists of rows."""
    if isinstance(X, np.ndarray):
        return  # the checks below take a tenth of a second when a process makes them first
    if isinstance(X, (str, bytes)):
        remedy = f"the values, such as frame[{X!r}]"
    elif isinstance(X, (Dataset, DataLoader)):
        remedy = "its inputs and targets as X and y, such as `X, y = dataset.tensors`"
    elif isinstance(X, PackedSequence):
        remedy = f"a list of sequences, such as torch.nn.utils.rnn.unpack_sequence({name})"
    elif isinstance(X, Mapping) and not hasattr(X, "shape"):  # as a sparse matrix may have
        remedy = f"its values, such as pandas.DataFrame({name})"
    elif isinstance(X, (Iterator, Set)):
        remedy = f"the rows in their order, such as list({name})"
    else:
        return
    raise TypeError(
        f"{name} is a {type(X).__name__}; it must be an array or a list. Pass {remedy}."
    )


def are_plain_numbers(X, n_features):
    """Whether scikit-learn's checks of a table to predict would return the same array.

    They take longer than the prediction of a single row.

    Parameters
    ----------
    X : table of any kind
    n_features : int or None
        Columns it must have.
    """
    if type(X) is not np.ndarray or X.dtype not in _DTYPES:
        return False
    if X.ndim != 2 or X.shape[1] != n_features or not X.size or not X.flags.c_contiguous:
        return False
    with np.errstate(over="ignore", invalid="ignore"):  # finite numbers may have an infinite sum
        return bool(np.isfinite(X.sum()))


def explain(X, error, remedies):
    """Explain why inputs cannot become numbers; None if the error has another cause.

    Parameters
    ----------
    X : inputs as the user gave them
    error : Exception
        Of the conversion.
    remedies : dict
        What to do about inputs that are "nested", or "text".
    """
    if "could not convert string" in str(error):
        text = str(error).split("float: ")[-1].removeprefix("np.str_(").removesuffix(")")
        return f"X has text, such as {text}. {remedies['text']}"
    if "Found array with dim" in str(error):
        return f"X has shape {np.shape(X)}. {error} Pass X.reshape(len(X), -1)."
    if not any(words in str(error) for words in _CONVERSION):
        return None
    found = _nested(X)
    return None if found is None else f"X has {found}. {remedies['nested']}"


def _nested(X):
    """The first place with several numbers instead of one, or None."""
    if hasattr(X, "columns"):
        return _nested_column(X)
    objects = getattr(X, "dtype", None) == np.dtype(object)
    if isinstance(X, (list, tuple)) or (objects and X.ndim == 1):
        X = list(X)
        shapes = [_shape(row) for row in X]
        other = next((row for row, shape in enumerate(shapes) if shape != shapes[0]), None)
        if other is not None:
            return (
                f"samples of different shapes: {shapes[0]} in row 0, {shapes[other]} in row {other}"
            )
        if shapes and shapes[0] is None:
            return f"a {type(X[0]).__name__} of parts of different shapes in row 0"
        return _one(X[0], "row 0") if objects and isinstance(X[0], _NESTED) else None
    if not objects:
        return None
    for index, value in np.ndenumerate(np.asarray(X)):
        if isinstance(value, _NESTED):
            return _one(value, f"row {index[0]}")
    return None


def _nested_column(X):
    """The same for a data frame of any library."""
    for name, dtype in zip(X.columns, getattr(X, "dtypes", ())):
        if str(dtype).startswith(("object", "List", "Array", "Object")):
            for row, value in enumerate(X[name]):
                if isinstance(value, _NESTED) or type(value).__name__ == "Series":
                    return _one(value, f"row {row} of column {name!r}")
    return None


def _one(value, where):
    return (
        f"a value of type {type(value).__name__} and shape {_shape(value)} in {where}, where one "
        "number is due"
    )


def _shape(value):
    """Shape of a row, or None if its own parts differ in shape."""
    try:
        return tuple(np.shape(value))
    except (TypeError, ValueError):
        return None
