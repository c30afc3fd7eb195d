"""Checks of parameters and data; the only importer of scikit-learn's private names."""

from numbers import Integral

import numpy as np
import torch
from sklearn.metrics._scorer import _MultimetricScorer, _PassthroughScorer, _Scorer
from sklearn.model_selection._validation import (
    _insert_error_scores,
    _score,
    _warn_or_raise_about_fit_failures,
)
from sklearn.utils import _safe_indexing
from sklearn.utils._optional_dependencies import check_matplotlib_support, check_pandas_support
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import (
    _check_feature_names_in,
    _check_method_params,
    _check_sample_weight,
)

try:  # scikit-learn 1.9
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback._callback_support import callback_management_context
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """In the place of scikit-learn's, which has no callbacks before 1.9."""

    callback_management_context = None


__all__ = [
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "Options",
    "StrOptions",
    "_MultimetricScorer",
    "_PassthroughScorer",
    "_Scorer",
    "_check_feature_names_in",
    "_check_method_params",
    "_check_sample_weight",
    "_insert_error_scores",
    "_safe_indexing",
    "_safe_split",
    "_score",
    "_warn_or_raise_about_fit_failures",
    "as_array",
    "callback_management_context",
    "check_conv_layer_sizes",
    "check_device",
    "check_feature_groups",
    "check_hidden_layer_sizes",
    "check_input_shape",
    "check_matplotlib_support",
    "check_pandas_support",
    "check_rates",
    "check_solver",
    "check_window",
    "is_time",
    "precision",
    "refuse_times",
    "validate_parameter_constraints",
]

# What to do if training cannot continue from the fitted network.
FIT_NEW = "To start from new weights, call fit with warm_start=False."


def as_array(data, name="X"):
    """Torch tensors as NumPy arrays, from any device and without gradient; other data unchanged.

    Dates, times and durations are refused: a conversion would turn them into integers.
    """
    if not isinstance(data, torch.Tensor):
        _check_dtypes(data, name)
        return data
    if data.is_floating_point() and data.dtype not in (torch.float16, torch.float32, torch.float64):
        data = data.to(torch.float32)  # such as bfloat16, which NumPy does not have
    try:
        return data.detach().cpu().resolve_conj().resolve_neg().numpy()
    except (NotImplementedError, RuntimeError, TypeError) as error:
        raise TypeError(
            f"{name} is a tensor with layout {data.layout}, dtype {data.dtype} and device "
            f"{data.device}, which cannot become an array: pass a dense tensor of numbers, or a "
            "SciPy CSR matrix."
        ) from error


def _check_dtypes(data, name):
    """Refuse arrays and columns of data frames that hold times."""
    dtype, dtypes = getattr(data, "dtype", None), getattr(data, "dtypes", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return  # names of dtypes take longer to compare
    if dtype is not None and is_time(str(dtype)):
        refuse_times(name, f"of dtype {dtype}")
    if dtype is None and hasattr(dtypes, "__len__") and any(is_time(str(d)) for d in set(dtypes)):
        for column, dtype in zip(data.columns, dtypes):
            if is_time(str(dtype)):
                refuse_times(name, f"of dtype {dtype} in column {column!r}")


def is_time(type_name):
    """Whether the name of a dtype or type belongs to dates, times or durations."""
    kinds = ("datetime", "timedelta", "date", "time", "duration", "period", "timestamp", "<m8")
    return type_name.lower().startswith(kinds)


def refuse_times(name, where):
    """Raise an error that says what to pass instead."""
    raise ValueError(
        f"{name} has dates or times, {where}. Pass numbers, such as the days since a date."
    )


def precision(X):
    """The dtype of predictions for data like `X`: float32 or float64."""
    X = as_array(X)
    dtypes = X.dtypes if hasattr(X, "columns") and hasattr(X, "dtypes") else (None,)
    if all(isinstance(dtype, np.dtype) for dtype in dtypes):
        return np.float32 if all(dtype == np.float32 for dtype in X.dtypes) else np.float64
    return np.float32 if getattr(X, "dtype", None) == np.float32 else np.float64


def _numbers(name, values):
    """A parameter as an array; ragged lists are refused."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name}={values!r} is ragged: give one number, or a flat list of them."
        ) from error


def check_hidden_layer_sizes(sizes, name="hidden_layer_sizes"):
    """Units of each hidden layer, as a tuple of int."""
    if type(sizes) is tuple and all(type(size) is int and size > 0 for size in sizes):
        return sizes
    sizes = np.atleast_1d(_numbers(name, sizes))
    if sizes.size == 0:
        return ()
    if sizes.ndim != 1 or not np.issubdtype(sizes.dtype, np.integer) or (sizes <= 0).any():
        raise ValueError(
            f"{name} must be > 0, a whole number for each layer, got {sizes.tolist()}."
        )
    return tuple(int(size) for size in sizes)


def check_conv_layer_sizes(sizes):
    """Filters of each block, as a tuple of int."""
    filters = check_hidden_layer_sizes(sizes, "conv_layer_sizes")
    if not filters:
        raise ValueError(
            f"conv_layer_sizes={sizes!r} has no block of convolutions. Give the filters of at "
            "least one, or use a perceptron (DropoutMLPClassifier, DropoutMLPRegressor)."
        )
    return filters


def check_window(name, size, n_dimensions):
    """Size of a kernel or pool in each dimension, from one whole number or one for each."""
    values = np.asarray(size)
    if values.dtype.kind not in "iu" or values.ndim > 1 or (values < 1).any():
        raise ValueError(
            f"{name}={size!r} must be a whole number > 0, or one for each dimension of a sample."
        )
    if values.ndim == 1 and len(values) != n_dimensions:
        raise ValueError(
            f"{name}={size!r} has {len(values)} numbers for the {n_dimensions} dimension(s) of a "
            "sample (channels not counted). Give one number for all of them, or one for each."
        )
    return tuple(int(value) for value in np.broadcast_to(values, (n_dimensions,)))


def check_input_shape(input_shape):
    """Shape (channels, *positions) of a sample, as a tuple of int; None stays None."""
    if input_shape is None:
        return None
    shape = np.asarray(input_shape)
    is_integer = shape.ndim == 1 and shape.dtype.kind in "iu"
    if not is_integer or not 2 <= len(shape) <= 4 or (shape < 1).any():
        raise ValueError(
            f"input_shape={input_shape!r} must be (channels, length), (channels, height, width) "
            "or (channels, depth, height, width), whole numbers > 0."
        )
    return tuple(int(size) for size in shape)


def check_rates(name, rates, n_sites, site):
    """Dropout rates of `n_sites` places, from one number or one for each.

    Parameters
    ----------
    name : str
        Of the parameter.
    rates : float or array-like
    n_sites : int
    site : str
        Name of the places in the error, in the plural.

    Returns
    -------
    rates : float64 ndarray of shape (n_sites,)
    """
    values = _numbers(name, rates)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"{name}={rates!r} must be a number, or one number for each of the {site}.")
    if values.ndim > 1:
        raise ValueError(f"{name}={rates!r} is nested: give one number, or a flat list of them.")
    if values.ndim == 1 and len(values) != n_sites:
        raise ValueError(
            f"{name}={rates!r} has {values.size} rates for {n_sites} {site}. "
            "Give one number for all of them, or one for each."
        )
    if not ((values >= 0) & (values < 1)).all():
        raise ValueError(
            f"{name}={rates!r} is outside [0, 1). A rate is the fraction of units dropped; "
            "where a paper gives the fraction p that is retained, pass 1 - p."
        )
    return np.broadcast_to(values.astype(np.float64), (n_sites,)).copy()


def check_feature_groups(feature_groups, n_features, names=None):
    """Group of each column.

    Parameters
    ----------
    feature_groups : None, int, array-like or callable
    n_features : int
    names : array-like of str, default=None
        Of the columns, if they have names.

    Returns
    -------
    group_of_column : int64 ndarray of shape (n_features,)
        Numbered from 0.
    """
    if feature_groups is None:
        return np.arange(n_features)
    if isinstance(feature_groups, Integral):
        if n_features % feature_groups:
            raise ValueError(
                f"feature_groups={feature_groups} does not divide the {n_features} columns of X "
                "into blocks. Give an array with a label for each column instead."
            )
        return np.arange(n_features) // int(feature_groups)
    if callable(feature_groups):
        if names is None:
            raise ValueError(
                f"feature_groups={feature_groups!r} takes the names of the columns, but X has "
                "none. Pass a data frame; in a pipeline, call set_output(transform='pandas') of "
                "the step before the network."
            )
        feature_groups = feature_groups(names)
    labels = _numbers("feature_groups", feature_groups)
    if labels.shape != (n_features,):
        raise ValueError(
            f"feature_groups has shape {labels.shape}, but X has {n_features} columns. "
            "Give one label for each column. Where the columns differ between folds, pass "
            "sklearn_dropout.preprocessing.group_columns_by_source(encoder), or another function "
            "from the names of the columns to labels."
        )
    try:
        return np.unique(labels, return_inverse=True)[1]
    except TypeError as error:
        raise TypeError(
            f"feature_groups={feature_groups!r} has labels of several types ({error}). Use "
            "numbers or strings."
        ) from error


def check_device(device):
    """Name of a device that works on this machine."""
    if device == "cpu":
        return device
    if device == "auto":
        if not torch.accelerator.is_available():
            return "cpu"
        return str(torch.accelerator.current_accelerator())
    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(
            f"device={device!r} cannot be used here ({reason}). Use 'cpu' or 'auto'."
        ) from error
    return str(device)


def check_solver(solver):
    """Refuse classes that are not optimisers or whose step needs the loss more than once."""
    if not isinstance(solver, type):
        return
    if not issubclass(solver, torch.optim.Optimizer):
        raise TypeError(
            f"solver={solver!r} is not a subclass of torch.optim.Optimizer. "
            "Use 'adam', 'adamw', 'sgd' or such a class."
        )
    if issubclass(solver, torch.optim.LBFGS):
        raise ValueError(
            f"solver={solver!r} evaluates the loss several times in a step, which dropout makes "
            "random. Use 'adam', 'adamw', 'sgd' or another optimiser."
        )
    weight, bias = torch.zeros(2, 2), torch.zeros(2)
    weight.grad, bias.grad = torch.ones(2, 2), torch.ones(2)
    try:
        solver([weight, bias], lr=0.1).step()
    except Exception as error:
        raise ValueError(
            f"solver={solver!r} cannot be made with parameters and lr alone, or take a step from "
            f"dense gradients of weights and biases ({error}). Use 'adam', 'adamw', 'sgd' or "
            "another optimiser."
        ) from error
