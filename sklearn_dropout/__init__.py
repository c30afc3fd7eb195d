"""Dropout networks for scikit-learn."""

from ._cnn import DropoutCNNClassifier, DropoutCNNRegressor
from ._comparison import compare_overfitting
from ._displays import DropoutRateDisplay, OverfittingDisplay, TrainingHistoryDisplay
from ._mlp import DropoutMLPClassifier, DropoutMLPRegressor
from ._overfitting import OverfittingComparison
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
    "DropoutRateDisplay",
    "DropoutSearchCV",
    "OverfittingComparison",
    "OverfittingDisplay",
    "TrainingHistoryDisplay",
    "Uncertainty",
    "compare_overfitting",
    "predictive_log_likelihood",
]
__version__ = "0.1.0"
