"""Dropout networks for scikit-learn."""

from ._cnn import DropoutCNNClassifier, DropoutCNNRegressor
from ._mlp import DropoutMLPClassifier, DropoutMLPRegressor
from ._rnn import DropoutRNNClassifier, DropoutRNNRegressor
from ._search import DropoutSearchCV
from ._uncertainty import Uncertainty, predictive_log_likelihood

__all__ = [
    "DropoutCNNClassifier",
    "DropoutCNNRegressor",
    "DropoutMLPClassifier",
    "DropoutMLPRegressor",
    "DropoutRNNClassifier",
    "DropoutRNNRegressor",
    "DropoutSearchCV",
    "Uncertainty",
    "predictive_log_likelihood",
]
__version__ = "0.1.0"
