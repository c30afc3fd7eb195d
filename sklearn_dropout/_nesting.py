"""Estimators of this package inside a `Pipeline` or a `TransformedTargetRegressor`."""

from copy import copy

from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import Pipeline

from ._base import DropoutNetwork


def find_network(estimator):
    """The estimator of this package at the end of pipelines and target transformers.

    Returns
    -------
    network : DropoutNetwork, or None where there is none
    prefix : str
        Of its parameters in the whole, such as ``"clf__"``.
    """
    if isinstance(estimator, DropoutNetwork):
        return estimator, ""
    if type(estimator) is Pipeline and estimator.steps:
        name, inner = estimator.steps[-1]
    elif type(estimator) is TransformedTargetRegressor:
        name, inner = "regressor", estimator.regressor
    else:
        return None, ""
    network, prefix = find_network(inner)
    return network, f"{name}__{prefix}"


def graft(whole, network):
    """A shallow copy of a fitted whole with another network in its place.

    Parameters
    ----------
    whole : DropoutNetwork, Pipeline or TransformedTargetRegressor
        As `find_network` takes apart; shares all its other fitted parts with the copy.
    network : DropoutNetwork
    """
    if isinstance(whole, DropoutNetwork):
        return network
    whole = copy(whole)
    if type(whole) is Pipeline:
        name, inner = whole.steps[-1]
        whole.steps = [*whole.steps[:-1], (name, graft(inner, network))]
    else:
        whole.regressor_ = graft(whole.regressor_, network)
    return whole
