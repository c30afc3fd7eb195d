"""Dropout networks for scikit-learn."""

from ._mlp import DropoutMLPClassifier, DropoutMLPRegressor

__all__ = ["DropoutMLPClassifier", "DropoutMLPRegressor"]
__version__ = "0.1.0"
