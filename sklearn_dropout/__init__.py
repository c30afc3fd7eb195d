"""Dropout networks for scikit-learn."""

from ._comparison import compare_overfitting
from ._displays import DropoutRateDisplay, OverfittingDisplay, TrainingHistoryDisplay
from ._mlp import DropoutMLPClassifier, DropoutMLPRegressor
from ._overfitting import OverfittingComparison
from ._search import DropoutSearchCV

__all__ = [
    "DropoutMLPClassifier",
    "DropoutMLPRegressor",
    "DropoutRateDisplay",
    "DropoutSearchCV",
    "OverfittingComparison",
    "OverfittingDisplay",
    "TrainingHistoryDisplay",
    "compare_overfitting",
]
__version__ = "0.1.0"
