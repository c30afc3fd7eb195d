"""Dropout networks for scikit-learn."""

from .displays.coverage import IntervalCoverageDisplay
from .displays.history import TrainingHistoryDisplay
from .displays.learning_rate import LearningRateDisplay
from .displays.overfitting import OverfittingDisplay
from .displays.rate import DropoutRateDisplay
from .estimators.cnn import DropoutCNNClassifier, DropoutCNNRegressor
from .estimators.ensemble import DropoutEnsembleClassifier, DropoutEnsembleRegressor
from .estimators.mlp import DropoutMLPClassifier, DropoutMLPRegressor
from .estimators.rnn import DropoutRNNClassifier, DropoutRNNRegressor
from .model_selection.comparison import compare_overfitting
from .model_selection.report import OverfittingComparison
from .model_selection.search import DropoutRandomizedSearchCV, DropoutSearchCV
from .uncertainty.moments import Uncertainty, predictive_log_likelihood

__all__ = [
    "DropoutCNNClassifier",
    "DropoutCNNRegressor",
    "DropoutEnsembleClassifier",
    "DropoutEnsembleRegressor",
    "DropoutMLPClassifier",
    "DropoutMLPRegressor",
    "DropoutRNNClassifier",
    "DropoutRNNRegressor",
    "DropoutRandomizedSearchCV",
    "DropoutRateDisplay",
    "DropoutSearchCV",
    "IntervalCoverageDisplay",
    "LearningRateDisplay",
    "OverfittingComparison",
    "OverfittingDisplay",
    "TrainingHistoryDisplay",
    "Uncertainty",
    "compare_overfitting",
    "predictive_log_likelihood",
]
__version__ = "0.1.0"
