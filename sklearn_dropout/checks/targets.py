"""Checks of targets as given: missing values, and values that are neither numbers nor labels."""

from datetime import date, time, timedelta

import numpy as np
from scipy import sparse
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import type_of_target, unique_labels

from .inputs import check_container
from .validation import as_array, is_time, refuse_times

_LARGEST_LABEL = 2.0**62  # up to which scikit-learn takes numbers as integers
_FEW_CLASSES = 10  # some versions of scikit-learn warn of more, if the rows are few
_MISSING_TYPES = ("NAType", "NaTType")  # of pandas, which may not be installed


def check_targets(y, name, numeric):
    """Refuse targets that no task takes: missing values, times, and text instead of numbers.

    Parameters
    ----------
    y : targets as the user gave them
    name : str
        Of the argument.
    numeric : bool
        Whether the targets must be numbers, as those of a regressor.
    """
    check_container(y, name)
    y = as_array(y, name)
    if sparse.issparse(y):
        _check_sparse(y, name, numeric)
        return
    if np.ma.isMaskedArray(y) and np.ma.getmaskarray(y).any():
        _refuse_missing(np.argwhere(np.ma.getmaskarray(y))[0], np.ma.masked, name)
    values = _values(y)
    if values.ndim > 2:
        raise ValueError(
            f"{name} has shape {values.shape}: give one target for each row, or a table of them."
        )
    if values.dtype.kind == "f":
        _check_floats(values, name)
    if values.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has the dtype {values.dtype}.")
    if values.dtype.kind == "O":
        _check_objects(values, name)
    if numeric and values.dtype.kind in "OUS":
        _check_text(values, name)


def check_objects_in_inputs(X):
    """Refuse times in arrays of objects; the error of a conversion would not name them."""
    if isinstance(X, np.ndarray) and X.dtype.kind == "O" and X.ndim == 2:
        for row, values in enumerate(X):
            for value in values:
                if isinstance(value, (date, time, timedelta)):
                    refuse_times("X", f"such as {value!r} in row {row}")


def _check_sparse(y, name, numeric):
    if numeric or y.ndim != 2 or y.shape[1] < 2:
        which = "for a regressor" if numeric else f"with the shape {y.shape}"
        raise TypeError(
            f"{name} is a sparse matrix {which}: pass {name}.toarray()"
            f"{'' if numeric else '.ravel()'}. Only an indicator matrix of several labels may be "
            "sparse."
        )


def _values(y):
    """The targets as an array; of objects if values may be missing or of several types."""
    dtype = getattr(y, "dtype", None)
    try:
        if isinstance(dtype, np.dtype) and not hasattr(y, "iloc"):
            return np.asarray(y)
        # A single string turns a list into an array of strings.
        return np.asarray(y, dtype=object) if isinstance(y, (list, tuple)) else np.asarray(y)
    except (TypeError, ValueError):  # ragged: scikit-learn refuses it later
        return np.zeros(0)


def _check_floats(values, name):
    """Refuse NaN and infinity."""
    if np.isfinite(values).all():
        return
    if np.isnan(values).any():
        _refuse_missing(np.argwhere(np.isnan(values))[0], np.nan, name)
    row = int(np.argwhere(np.isinf(values))[0][0])
    raise ValueError(f"Input {name} contains infinity, in row {row}. Leave such rows out.")


def _check_objects(values, name):
    """Refuse missing values and times among objects."""
    flat = values.ravel().tolist()
    plain = (bool, int, str, np.integer, np.bool_)
    if all(issubclass(kind, plain) for kind in set(map(type, flat))):
        return
    width = max(1, len(flat) // max(1, len(values)))
    for index, value in enumerate(flat):
        if isinstance(value, plain) or (isinstance(value, float) and value == value):
            continue
        if isinstance(value, (list, tuple, set, frozenset, dict, np.ndarray)):
            raise ValueError(
                f"{name} has {value!r} in row {index // width}: give one target for each row, or "
                "rows of equal length. For several labels per row pass an indicator matrix, for "
                "example from sklearn.preprocessing.MultiLabelBinarizer."
            )
        if _is_missing(value):
            _refuse_missing((index // width,), value, name)
        if isinstance(value, (date, time, timedelta)) or is_time(type(value).__name__):
            refuse_times(name, f"such as {value!r} in row {index // width}")


def _is_missing(value):
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    return isinstance(value, (np.datetime64, np.timedelta64)) and bool(np.isnat(value))


def _refuse_missing(index, value, name):
    raise ValueError(
        f"Input {name} contains NaN, None or NA: the first is {value!s} in row {int(index[0])}. "
        "Leave such rows out, or fill the values in."
    )


def _check_text(values, name):
    """Refuse text that does not stand for a number."""
    for index, value in np.ndenumerate(values):
        if isinstance(value, (str, bytes)):
            try:
                float(value)
            except ValueError:
                raise ValueError(
                    f"{name} has text, {str(value)!r} in row {index[0]}, where a regressor needs "
                    "numbers. Use a classifier if these are classes."
                ) from None


@np.errstate(invalid="ignore")  # scikit-learn casts huge numbers to int
def check_labels(y, name="y"):
    """Labels of shape (n,), or an indicator matrix of shape (n, n_labels), as an ndarray."""
    if _are_plain_labels(y):
        return y
    try:
        kind = type_of_target(y, input_name=name)
    except TypeError as error:
        raise TypeError(
            f"{name} has labels of several types ({error}). Use numbers or strings."
        ) from error
    if kind == "multilabel-indicator":
        return _check_indicators(y, name)
    if kind == "multiclass-multioutput":
        raise ValueError(
            f"{name} has shape {np.shape(y)} with more than two values: several outputs with "
            "several classes each are not supported. Use one estimator for each output "
            "(sklearn.multioutput.MultiOutputClassifier)."
        )
    if kind.startswith("continuous"):
        values = np.asarray(y, dtype=np.float64)
        is_integer = (values == np.floor(values)) & (np.abs(values) < _LARGEST_LABEL)
        value = values[~is_integer].flat[0]
        remedy = "bin them into classes (numpy.digitize)"
        if values.ndim == 2:
            remedy = "round them to an indicator matrix of zeros and ones"
        raise ValueError(
            f"Unknown label type: {kind}. {name} has numbers that are not whole, or are too large, "
            f"such as {float(value)!r}: a classifier needs classes. Use a regressor, or {remedy}."
        )
    if kind == "unknown":
        raise ValueError(
            f"Unknown label type: {kind}. {name} has elements that are not labels. Use numbers or "
            "strings, one for each row, or an indicator matrix."
        )
    return column_or_1d(y, warn=True)


def _are_plain_labels(y):
    """Whether scikit-learn's checks would accept the labels as they are.

    The checks of a fold take as long as the training of a small network.
    """
    if type(y) is not np.ndarray or y.ndim != 1 or y.dtype.kind not in "iu" or not y.size:
        return False
    return int(y.max()) - int(y.min()) < _FEW_CLASSES


def _check_indicators(y, name):
    """An indicator matrix as an ndarray of zeros and ones."""
    y = y.toarray() if sparse.issparse(y) else np.asarray(y)
    values = np.unique(y)
    if not np.isin(values, (0, 1)).all():
        largest = values[-1].item()
        raise ValueError(
            f"{name} has shape {y.shape} and the values {values.tolist()}: an indicator matrix "
            f"has 1 where a row has a label and 0 elsewhere. Pass ({name} == {largest!r}) if "
            f"{largest!r} means that the row has the label."
        )
    return y


def check_classes(classes):
    """The argument `classes` of `partial_fit`: its different labels, sorted."""
    classes = as_array(classes, "classes")
    try:
        if np.ndim(classes) != 1:
            raise ValueError(f"it has {np.ndim(classes)} dimensions")
        check_targets(classes, "classes", numeric=False)
        found = unique_labels(classes)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"classes={classes!r} must be a flat list or array of all labels, whole numbers or "
            f"strings: {error}"
        ) from error
    if len(found) < 2:
        raise ValueError(f"classes={classes!r} has a single class; at least 2 are needed.")
    return found
