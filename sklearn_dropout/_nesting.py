"""Estimators of this package inside a `Pipeline` or a `TransformedTargetRegressor`."""

from copy import copy

from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import Pipeline

from ._base import DropoutNetwork


def find_network(estimator):
    """The estimator of this package at the end of pipelines and target transformers.

    Subclasses do not count: they may fit in ways of their own.

    Returns
    -------
    network : DropoutNetwork, or None where there is none
    prefix : str
        Of its parameters in the whole, such as ``"clf__"``.
    """
    if isinstance(estimator, DropoutNetwork):
        ours = type(estimator).__module__.partition(".")[0] == __name__.partition(".")[0]
        return (estimator if ours else None), ""
    if type(estimator) is Pipeline and estimator.steps:
        name, inner = estimator.steps[-1]
    elif type(estimator) is TransformedTargetRegressor:
        name, inner = "regressor", estimator.regressor
    else:
        return None, ""
    network, prefix = find_network(inner)
    return network, f"{name}__{prefix}"


def call_of_network(whole, fit):
    """Fit everything but the network, whose call is only taken down.

    Parameters
    ----------
    whole : estimator
        With a network as `find_network` finds it.
    fit : callable (whole)
        Calls its `fit`.

    Returns
    -------
    network : DropoutNetwork
        That would have been fitted: the one in the whole, or its clone.
    call : FitCall
    """
    marked, _ = find_network(whole)
    marked._calls = []  # clones have the mark, other networks in the whole do not
    try:
        fit(whole)
        ((network, call),) = marked._calls
    finally:
        vars(marked).pop("_calls")
    vars(network).pop("_calls", None)
    return network, call


def graft(template, whole, network):
    """A copy of a fitted whole with another network in its place.

    Parameters
    ----------
    template : DropoutNetwork, Pipeline or TransformedTargetRegressor
        All its other fitted parts are shared with the copy.
    whole : estimator of the same kind
        Not fitted, with the parameters that the copy is to have.
    network : DropoutNetwork
        To be fitted.
    """
    if isinstance(template, DropoutNetwork):
        return network
    copied = copy(template)
    if type(template) is Pipeline:
        name, inner = template.steps[-1]
        last = graft(inner, whole.steps[-1][1], network)
        copied.steps = [*template.steps[:-1], (name, last)]
    else:
        copied.regressor = whole.regressor
        copied.regressor_ = graft(template.regressor_, whole.regressor, network)
    return copied


def inputs_of_network(whole, X):
    """What a pipeline hands over to its network, from the inputs of the pipeline."""
    while type(whole) is Pipeline:
        if len(whole.steps) > 1:
            X = whole[:-1].transform(X)
        whole = whole.steps[-1][1]
    return X


def complete(whole):
    """Set what a whole would have taken from its network after the network's fit."""
    if type(whole) is Pipeline:
        complete(whole.steps[-1][1])
    elif type(whole) is TransformedTargetRegressor:
        complete(whole.regressor_)
        if hasattr(whole.regressor_, "feature_names_in_"):
            whole.feature_names_in_ = whole.regressor_.feature_names_in_
