"""Dropout networks for scikit-learn."""

from ._cnn import DropoutCNNClassifier, DropoutCNNRegressor
from ._mlp import DropoutMLPClassifier, DropoutMLPRegressor
from ._rnn import DropoutRNNClassifier, DropoutRNNRegressor
from ._search import DropoutSearchCV

__all__ = [
    "DropoutCNNClassifier",
    "DropoutCNNRegressor",
    "DropoutMLPClassifier",
    "DropoutMLPRegressor",
    "DropoutRNNClassifier",
    "DropoutRNNRegressor",
    "DropoutSearchCV",
]
__version__ = "0.1.0"
