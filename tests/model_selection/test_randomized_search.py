"""`DropoutRandomizedSearchCV` against scikit-learn's `RandomizedSearchCV`."""

import numpy as np
import pytest
from scipy.stats import loguniform, randint, uniform
from sklearn.datasets import load_iris
from sklearn.model_selection import RandomizedSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dropout import DropoutMLPClassifier, DropoutRandomizedSearchCV

X, y = load_iris(return_X_y=True)
NETWORK = DropoutMLPClassifier((6,), batch_size=16, max_iter=3, random_state=0)
PIPELINE = make_pipeline(StandardScaler(), NETWORK)
NAME = "dropoutmlpclassifier__"
CASES = {
    "distributions": (NETWORK, {"dropout_rate": uniform(0, 0.6), "alpha": loguniform(1e-5, 1)}),
    "lists": (NETWORK, {"dropout_rate": [0.0, 0.1, 0.2], "batch_size": [10, 30]}),
    "dicts": (
        NETWORK,
        [
            {"dropout_rate": uniform(0, 0.5)},
            {"solver": ["sgd"], "momentum": uniform(0, 0.9), "max_iter": randint(2, 5)},
        ],
    ),
    "pipeline": (PIPELINE, {f"{NAME}dropout_rate": uniform(0, 0.6)}),
}


def pair(est, distributions, **params):
    options = {"n_iter": 5, "cv": 3, "random_state": 1, "return_train_score": True} | params
    return [
        Search(est, distributions, **options).fit(X, y)
        for Search in (DropoutRandomizedSearchCV, RandomizedSearchCV)
    ]


@pytest.mark.parametrize(("est", "distributions"), CASES.values(), ids=CASES)
def test_results_are_those_of_scikit_learn(est, distributions):
    ours, theirs = pair(est, distributions)
    assert ours.cv_results_.keys() == theirs.cv_results_.keys()
    for key, expected in theirs.cv_results_.items():
        found = ours.cv_results_[key]
        if key.startswith("param_"):  # masked where a candidate lacks the parameter
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found.mask, expected.mask)
            np.testing.assert_array_equal(found.compressed(), expected.compressed())
        elif key == "params":
            assert found == expected
        elif "time" not in key:
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert ours.best_params_ == theirs.best_params_
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6)


def test_nested_in_a_cross_validation():
    params = CASES["pipeline"][1]
    ours, theirs = (
        cross_val_score(Search(PIPELINE, params, n_iter=3, cv=2, random_state=0), X, y)
        for Search in (DropoutRandomizedSearchCV, RandomizedSearchCV)
    )
    np.testing.assert_allclose(ours, theirs)


def test_random_state():
    same = [pair(NETWORK, CASES["distributions"][1], n_iter=2)[0] for _ in range(2)]
    assert same[0].cv_results_["params"] == same[1].cv_results_["params"]
    other = pair(NETWORK, CASES["distributions"][1], n_iter=2, random_state=2)[0]
    assert other.cv_results_["params"] != same[0].cv_results_["params"]


def test_parameters_are_checked_before_any_work():
    with pytest.raises(ValueError, match="'n_iter' parameter of DropoutRandomizedSearchCV"):
        DropoutRandomizedSearchCV(NETWORK, {"dropout_rate": [0.1]}, n_iter=0).fit(X, y)
    with pytest.raises(ValueError, match=r"dropout_rate=1\.5 is outside"):
        DropoutRandomizedSearchCV(
            NETWORK, {"dropout_rate": [1.5]}, n_iter=1, error_score="raise"
        ).fit(X, y)
