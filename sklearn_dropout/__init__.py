"""Dropout networks for scikit-learn."""

from ._mlp import DropoutMLPClassifier, DropoutMLPRegressor
from ._search import DropoutSearchCV
from ._uncertainty import Uncertainty, predictive_log_likelihood

__all__ = [
    "DropoutMLPClassifier",
    "DropoutMLPRegressor",
    "DropoutSearchCV",
    "Uncertainty",
    "predictive_log_likelihood",
]
__version__ = "0.1.0"
