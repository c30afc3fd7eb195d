"""Dropout networks for scikit-learn."""

from ._cnn import DropoutCNNClassifier, DropoutCNNRegressor
from ._mlp import DropoutMLPClassifier, DropoutMLPRegressor
from ._search import DropoutSearchCV

__all__ = [
    "DropoutCNNClassifier",
    "DropoutCNNRegressor",
    "DropoutMLPClassifier",
    "DropoutMLPRegressor",
    "DropoutSearchCV",
]
__version__ = "0.1.0"
