"""Networks inside pipelines and target transformers, and what is fitted around them."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV
from sklearn_dropout.estimators.nesting import find_network

SMALL = {
    "hidden_layer_sizes": (4,),
    "max_iter": 3,
    "batch_size": 10,
    "learning_rate_init": 0.01,
    "random_state": 0,
}
BOTH = (DropoutSearchCV, GridSearchCV)


def classifier(**params):
    return DropoutMLPClassifier(**SMALL | params)


def regressor(**params):
    return DropoutMLPRegressor(**SMALL | params)


def class_data(n=60, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    return X, np.where(X[:, 0] + 0.4 * rng.standard_normal(n) > 0, "yes", "no")


def number_data(n=60, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    return X, 20 + 5 * X[:, 0] + rng.standard_normal(n)


def means(Search, est, grid, X, y, **options):
    options = {"cv": 3, "scoring": "neg_log_loss", "refit": False} | options
    return Search(est, grid, **options).fit(X, y).cv_results_["mean_test_score"]


def assert_same_means(est, grid, X, y, **options):
    ours, theirs = (means(Search, est, grid, X, y, **options) for Search in BOTH)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


# Finding


def wrapped():
    net = regressor()
    pipeline = make_pipeline(StandardScaler(), net)
    prefix = "dropoutmlpregressor__"
    return {
        "alone": (net, net, ""),
        "pipeline": (pipeline, net, prefix),
        "one step": (Pipeline([("net", net)]), net, "net__"),
        "pipeline in a pipeline": (Pipeline([("all", pipeline)]), net, f"all__{prefix}"),
        "target": (TransformedTargetRegressor(net), net, "regressor__"),
        "target of a pipeline": (
            TransformedTargetRegressor(pipeline),
            net,
            f"regressor__{prefix}",
        ),
        "pipeline of a target": (
            Pipeline([("target", TransformedTargetRegressor(net))]),
            net,
            "target__regressor__",
        ),
    }


@pytest.mark.parametrize("name", wrapped())
def test_find_network(name):
    wrapper, net, prefix = wrapped()[name]
    found, found_prefix = find_network(wrapper)
    assert type(found) is type(net)
    assert found_prefix == prefix
    if prefix:
        assert wrapper.get_params()[prefix[:-2]] is found
        wrapper.set_params(**{f"{prefix}alpha": 0.7})
        assert found.alpha == 0.7


class OwnPipeline(Pipeline):
    """May do anything."""


@pytest.mark.parametrize(
    "est",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(classifier(), StandardScaler()),
        Pipeline([("scale", StandardScaler()), ("net", "passthrough")]),
        BaggingClassifier(classifier()),
        OwnPipeline([("net", classifier())]),
        TransformedTargetRegressor(),
    ],
    ids=lambda est: type(est).__name__,
)
def test_no_network_to_be_found(est):
    assert find_network(est)[0] is None


# Preprocessing


class Log(TransformerMixin, BaseEstimator):
    """Does nothing, and takes down what it was fitted on."""

    fits = []
    transforms = []

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y=None):
        Log.fits.append((self.factor, frozenset(X[:, 0])))
        return self

    def transform(self, X):
        Log.transforms.append((self.factor, frozenset(X[:, 0])))
        return X * self.factor


@pytest.fixture
def log():
    for records in (Log.fits, Log.transforms):
        records.clear()
    return Log


NETWORK_GRIDS = {
    "rates": {"dropout_rate": [0.0, 0.2, 0.4]},
    "many rates": {"dropout_rate": np.linspace(0, 0.9, 12).tolist()},
    "layers": {"hidden_layer_sizes": [(3,), (4,)], "dropout_rate": [0.0, 0.4]},
    "activations and epochs": {"activation": ["relu", "tanh"], "max_iter": [2, 3]},
    "wide": {"hidden_layer_sizes": [200], "batch_size": ["auto"], "dropout_rate": [0.0, 0.4]},
    "on its own": {"solver": ["sgd"], "learning_rate": ["invscaling"], "alpha": [0.0, 1.0]},
}


@pytest.mark.parametrize("grid", NETWORK_GRIDS.values(), ids=NETWORK_GRIDS)
def test_preprocessing_without_parameters_is_fitted_once_for_each_fold(grid, log):
    X, y = class_data()
    grid = {f"net__{name}": values for name, values in grid.items()}
    model = Pipeline([("log", Log()), ("net", classifier(hidden_layer_sizes=(30,)))])
    means(DropoutSearchCV, model, grid, X, y, cv=KFold(4))
    assert len(log.fits) == 4


@pytest.mark.parametrize("grid", NETWORK_GRIDS.values(), ids=NETWORK_GRIDS)
def test_preprocessing_is_fitted_once_for_each_fold_and_its_parameters(grid, log):
    X, y = class_data()
    grid = {f"net__{name}": values for name, values in grid.items()}
    grid["log__factor"] = [1.0, 0.5]
    model = Pipeline([("log", Log()), ("net", classifier(hidden_layer_sizes=(30,)))])
    cv = KFold(4)
    means(DropoutSearchCV, model, grid, X, y, cv=cv)
    folds = {frozenset(X[train, 0]) for train, _ in cv.split(X)}
    assert set(log.fits) == {(factor, fold) for factor in (1.0, 0.5) for fold in folds}
    assert len(log.fits) == 2 * 4


def test_preprocessing_never_sees_test_rows(log):
    X, y = class_data()
    cv = [(np.arange(40), np.arange(40, 60)), (np.arange(20, 60), np.arange(20))]
    model = make_pipeline(Log(), classifier())
    grid = {"dropoutmlpclassifier__dropout_rate": [0.0, 0.4]}
    means(DropoutSearchCV, model, grid, X, y, cv=cv)
    assert {rows for _, rows in log.fits} == {frozenset(X[train, 0]) for train, _ in cv}


def test_parts_of_preprocessing_in_the_grid(log):
    X, y = class_data()
    union = FeatureUnion([("log", Log()), ("scale", StandardScaler())])
    model = Pipeline([("all", union), ("net", classifier())])
    grid = {
        "all__log__factor": [1.0, 3.0],
        "all__scale__with_std": [True, False],
        "net__dropout_rate": [0.0, 0.4],
    }
    assert_same_means(model, grid, 3 * X, y)
    log.fits.clear()
    means(DropoutSearchCV, model, grid, 3 * X, y)
    assert len(log.fits) == 3 * 4


def test_pipeline_with_memory(tmp_path, log):
    X, y = class_data()
    model = Pipeline([("log", Log()), ("net", classifier())], memory=str(tmp_path))
    grid = {"net__dropout_rate": [0.0, 0.4], "log__factor": [1.0, 3.0]}
    ours = means(DropoutSearchCV, model, grid, X, y)
    n_fits = len(log.fits)
    assert n_fits == 3 * 2
    np.testing.assert_allclose(means(GridSearchCV, model, grid, X, y), ours, rtol=1e-5)
    assert len(log.fits) == n_fits
    np.testing.assert_allclose(means(DropoutSearchCV, model, grid, X, y), ours, rtol=1e-6)
    assert len(log.fits) == n_fits


def test_failing_preprocessing_fails_its_candidates_only():
    X, y = class_data()
    model = Pipeline([("scale", StandardScaler()), ("net", classifier())])
    grid = {
        "scale": [StandardScaler(), SelectFromModel(LogisticRegression(C=-1.0))],
        "net__dropout_rate": [0.0, 0.4],
    }
    results = []
    for Search in BOTH:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            results.append(means(Search, model, grid, X, y))
        assert "6 fits failed out of a total of 12" in str(caught[0].message)
    np.testing.assert_allclose(*results, rtol=1e-5)
    assert np.isnan(results[0]).sum() == 2


def double(X):
    return 2 * X


FUNCTIONS = {"named": [None, double], "lambda": [None, lambda X: 3 * X]}


@pytest.mark.parametrize("functions", FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions_in_the_grid(functions):
    X, y = class_data()
    model = Pipeline([("change", FunctionTransformer()), ("net", classifier())])
    grid = {"change__func": functions, "net__dropout_rate": [0.0, 0.4]}
    assert_same_means(model, grid, X, y)


def test_seeds_of_preprocessing():
    X, y = class_data()
    model = Pipeline([("noise", Noise()), ("net", classifier())])
    grid = {
        "noise__random_state": [0, 1, np.random.RandomState(2)],
        "net__dropout_rate": [0.0, 0.4],
    }
    assert_same_means(model, grid, X, y)


class Noise(TransformerMixin, BaseEstimator):
    """Adds a random number to each column."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y=None):
        rng = self.random_state
        if not isinstance(rng, np.random.RandomState):
            rng = np.random.RandomState(rng)
        self.noise_ = rng.standard_normal(X.shape[1])
        return self

    def transform(self, X):
        return X + self.noise_


# Networks elsewhere than at the end


class OutOfNetwork(TransformerMixin, BaseEstimator):
    """Adds the predictions of a network of its own as a column."""

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y):
        self.estimator_ = clone(self.estimator).fit(X, y)
        return self

    def transform(self, X):
        return np.column_stack([X, self.estimator_.predict_proba(X)])


def test_networks_in_preprocessing_are_fitted():
    X, y = class_data()
    model = Pipeline([("first", OutOfNetwork(classifier())), ("net", classifier())])
    grid = {"net__dropout_rate": [0.0, 0.4], "first__estimator__alpha": [0.0, 10.0]}
    assert_same_means(model, grid, X, y)


def test_search_in_preprocessing():
    X, y = class_data()
    inner = DropoutSearchCV(classifier(), {"dropout_rate": [0.0, 0.4]}, cv=2)
    model = Pipeline([("first", OutOfNetwork(inner)), ("net", classifier())])
    assert_same_means(model, {"net__dropout_rate": [0.0, 0.4]}, X, y)


def test_networks_inside_other_estimators_are_fitted_as_usual():
    X, y = class_data()
    model = BaggingClassifier(classifier(), n_estimators=2, random_state=0)
    ours, theirs = (
        means(Search, model, {"estimator__dropout_rate": [0.0, 0.4]}, X, y) for Search in BOTH
    )
    np.testing.assert_array_equal(ours, theirs)


# Subclasses


class Scaled(DropoutMLPClassifier):
    """A network with few parameters, one of them its own, and a `fit` of its own."""

    def __init__(self, factor=1.0, dropout_rate=0.0):
        super().__init__(**SMALL, dropout_rate=dropout_rate)
        self.factor = factor

    def fit(self, X, y):
        return super().fit(X * self.factor, y)


class Doubled(DropoutMLPClassifier):
    """A network that prepares its data according to a number."""

    def fit(self, X, y):
        return super().fit(X * (2 if self.dropout_rate > 0.3 else 1), y)


class Measured(DropoutMLPClassifier):
    """A network that works on what it has learned."""

    def fit(self, X, y):
        super().fit(X, y)
        self.norm_ = np.abs(self.coefs_[0]).sum()
        return self

    def predict_proba(self, X):
        return super().predict_proba(X + self.norm_ / 100)


def test_subclass_with_parameters_of_its_own():
    X, y = class_data()
    grid = {"factor": [0.1, 1.0, 10.0], "dropout_rate": [0.0, 0.4]}
    assert_same_means(Scaled(), grid, X, y)


@pytest.mark.parametrize("Est", [Doubled, Measured])
def test_subclass_with_a_fit_of_its_own(Est):
    X, y = class_data()
    assert_same_means(Est(**SMALL), {"dropout_rate": [0.0, 0.2, 0.4]}, X, y)


class Careful(DropoutMLPClassifier):
    """A network that predicts in its own way."""

    def predict_proba(self, X):
        return 0.5 + 0.5 * (super().predict_proba(X) - 0.5)


def test_subclass_that_predicts_in_its_own_way():
    X, y = class_data()
    assert_same_means(Careful(**SMALL), {"dropout_rate": [0.0, 0.4]}, X, y)


# What scorers see


@pytest.mark.parametrize("name", [name for name in wrapped() if name != "alone"])
def test_scorers_see_the_parameters_of_the_candidate(name):
    X, y = number_data()
    wrapper, _, prefix = wrapped()[name]
    alphas = [0.25, 0.5, 1.0]

    def scoring(estimator, X, y):
        return estimator.get_params()[f"{prefix}alpha"]

    for Search in BOTH:
        seen = means(Search, wrapper, {f"{prefix}alpha": alphas}, X, y, scoring=scoring)
        assert seen.tolist() == alphas


@pytest.mark.parametrize("name", wrapped())
def test_scorers_see_fitted_attributes(name):
    X, y = number_data()
    wrapper, _, prefix = wrapped()[name]
    frame = pd.DataFrame(X, columns=list("abcd"))
    grid = {f"{prefix}alpha": [0.25, 0.5]}

    def scoring(estimator, X, y):
        assert list(X.columns) == list(estimator.feature_names_in_)
        assert estimator.n_features_in_ == 4
        # A target transformer fits a clone of its parameter, a pipeline the step itself.
        network = estimator.get_params()[prefix[:-2]] if prefix else estimator
        return float(hasattr(network, "coefs_"))

    options = {"scoring": scoring, "error_score": "raise"}
    ours, theirs = (means(Search, wrapper, grid, frame, y, **options) for Search in BOTH)
    np.testing.assert_array_equal(ours, theirs)
