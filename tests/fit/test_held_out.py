"""Validation rows that are given to `fit`."""

import warnings

import numpy as np
import pytest
from sklearn import config_context
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dropout import DropoutMLPClassifier


def test_unscaled_validation_rows_are_warned_of():
    """In a pipeline `dropoutmlpclassifier__X_val=X_val` passed unscaled rows without a word."""
    X, y = load_breast_cancer(return_X_y=True)
    network = DropoutMLPClassifier((8,), max_iter=2, random_state=0)
    model = make_pipeline(StandardScaler(), network)
    names = {"dropoutmlpclassifier__X_val": X[400:], "dropoutmlpclassifier__y_val": y[400:]}
    with pytest.warns(UserWarning, match=r"X_val is far outside .* transform_input"):
        model.fit(X[:400], y[:400], **names)
    with config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("error")
        network.set_fit_request(X_val=True, y_val=True)
        steps = [("scale", StandardScaler()), ("net", network)]
        model = Pipeline(steps, transform_input=["X_val"])
        model.fit(X[:400], y[:400], X_val=X[400:], y_val=y[400:])
    assert model[-1].best_validation_score_ > 0.5


@pytest.mark.parametrize("shift", [0.0, 1.9])
def test_validation_rows_near_the_range_are_not_warned_of(shift):
    X = np.random.default_rng(0).random((50, 3))
    X[:, 2] = 1.0  # a constant column has no range to be outside of
    X_val = X[:20] + shift * np.array([0.7, -0.7, 100.0])
    y = X[:, 0] > 0.5
    DropoutMLPClassifier((4,), max_iter=1).fit(X, y, X_val=X_val, y_val=y[:20])
