"""The networks of a search against those of `GridSearchCV`: the same bits."""

import numpy as np
import pytest
import torch
from _families import answers
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, KFold, ParameterGrid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV
from sklearn_dropout.estimators.nesting import find_network
from sklearn_dropout.model_selection.plan import CHANGEABLE
from sklearn_dropout.nn.initializers import initial_parameters

SMALL = {
    "hidden_layer_sizes": (5, 4),
    "max_iter": 5,
    "batch_size": 10,
    "learning_rate_init": 0.01,
    "random_state": 0,
}
N_ROWS = 52  # five folds of 10 and 11 rows


def classifier(**params):
    return DropoutMLPClassifier(**SMALL | params)


def regressor(**params):
    return DropoutMLPRegressor(**SMALL | params)


def inputs(n=N_ROWS, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 4)), rng


def three_classes(n=N_ROWS, seed=0):
    X, _ = inputs(n, seed)
    return X, np.array(["low", "mid", "up"])[np.digitize(X[:, 0] + 0.4 * X[:, 1], [-0.5, 0.5])]


def two_classes(n=N_ROWS, seed=0):
    X, rng = inputs(n, seed)
    return X, (X[:, 0] + 0.3 * rng.standard_normal(n) > 0.3).astype(int)


def labels(n=N_ROWS, seed=0):
    X, rng = inputs(n, seed)
    return X, (X[:, :3] + 0.5 * rng.standard_normal((n, 3)) > 0).astype(int)


def numbers(n=N_ROWS, seed=0):
    X, rng = inputs(n, seed)
    return X, 20 + 5 * X[:, 0] + X[:, 1] ** 2 + rng.standard_normal(n)


def outputs(n=N_ROWS, seed=0):
    X, y = numbers(n, seed)
    return X, np.column_stack([y, 100 * X[:, 2] - y])


def counts(n=N_ROWS, seed=0):
    X, rng = inputs(n, seed)
    return X, rng.poisson(np.exp(0.5 + 0.5 * X[:, 0]))


def sparse_classes(n=N_ROWS, seed=0):
    X, y = three_classes(n, seed)
    return sparse.csr_array(np.where(np.abs(X) > 0.4, X, 0)), y


def rounded_classes(n=N_ROWS, seed=0):
    """Rows of which many are equal."""
    X, y = two_classes(n, seed)
    return np.round(X[:, :2]), y


def weights(seed=2):
    return np.random.default_rng(seed).integers(0, 4, N_ROWS) / 2


class Recorder:
    """A scorer that keeps the fitted estimators, by candidate and test rows."""

    def __init__(self, names):
        self.names = names
        self.fits = {}

    def __call__(self, estimator, X, y, sample_weight=None):
        network, _ = find_network(getattr(estimator, "regressor_", estimator))
        params = network.get_params()
        shown = [repr(params[name.rpartition("__")[2]]) for name in self.names]
        rows = (X.toarray() if sparse.issparse(X) else X).tobytes()
        assert (*shown, rows) not in self.fits
        self.fits[(*shown, rows)] = estimator
        return 0.0


def fits(Search, est, grid, X, y, fit_params, cv, **options):
    recorder = Recorder(sorted(grid))
    Search(est, grid, cv=cv, scoring=recorder, refit=False, **options).fit(X, y, **fit_params)
    assert len(recorder.fits) == len(ParameterGrid(grid)) * cv.get_n_splits()
    return recorder.fits


def assert_same_fit(ours, theirs, X):
    """Equal bits: both train the same network by the same arithmetic in the same order."""
    np.testing.assert_array_equal(answers(ours, X), answers(theirs, X))
    ours, theirs = (find_network(getattr(e, "regressor_", e))[0] for e in (ours, theirs))
    assert_same_network(ours, theirs)


def assert_same_network(ours, theirs):
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    assert ours._curves == theirs._curves
    for name in ("coefs_", "intercepts_"):
        for got, expected in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)


RATES = {"dropout_rate": [0.0, 0.3, [0.6, 0.1]]}
STOPPING = {"early_stopping": True, "max_iter": 25, "n_iter_no_change": 2, "tol": 0.01}
# Estimator, grid, data, fit parameters
SETTINGS = {
    "classifier": (classifier(), RATES, three_classes, {}),
    "two classes": (classifier(), RATES, two_classes, {}),
    "regressor": (regressor(), RATES, numbers, {}),
    "absolute error": (regressor(loss="absolute_error"), RATES, numbers, {}),
    "huber": (regressor(loss="huber"), RATES, numbers, {}),
    "poisson": (regressor(loss="poisson"), RATES, counts, {}),
    "multilabel": (classifier(), RATES, labels, {}),
    "several outputs": (regressor(), RATES, outputs, {}),
    "sparse": (classifier(), RATES, sparse_classes, {}),
    "equal rows merged": (classifier(batch_size=60), RATES, rounded_classes, {}),
    "whole batch": (classifier(batch_size=60), RATES, three_classes, {}),
    "one row rests": (classifier(batch_size=20, shuffle=False), RATES, three_classes, {}),
    "sample weights": (classifier(), RATES, three_classes, {"sample_weight": weights() + 1}),
    "rows left out": (classifier(), RATES, three_classes, {"sample_weight": weights()}),
    "weighted regression": (
        regressor(),
        {"alpha": [0, 0.1, 10.0]},
        numbers,
        {"sample_weight": weights() + 0.5},
    ),
    "balanced": (classifier(class_weight="balanced"), RATES, three_classes, {}),
    "class weights": (classifier(class_weight={0: 1, 1: 4}), RATES, two_classes, {}),
    "seeds": (classifier(), {"random_state": [0, 1, 7], "alpha": [0, 1]}, three_classes, {}),
    "sgd": (
        regressor(solver="sgd"),
        {"learning_rate_init": [0.001, 0.02], "alpha": [0.0, 1.0]},
        numbers,
        {},
    ),
    "adamw": (
        regressor(solver="adamw", alpha=0.5),
        {"learning_rate_init": [0.001, 0.02], **RATES},
        numbers,
        {},
    ),
    "adamw, several alphas": (
        classifier(solver="adamw"),
        {"alpha": [0.0, 0.5], "dropout_rate": [0.0, 0.4]},
        two_classes,
        {},
    ),
    "norms": (
        classifier(solver="sgd", learning_rate_init=0.3),
        {"max_norm": [None, 0.4, 1.0], "dropout_rate": [0.0, 0.4]},
        three_classes,
        {},
    ),
    "all dropout": (
        classifier(feature_groups=[0, 0, 1, 2]),
        {"spatial_dropout_rate": [0, 0.4], "input_dropout_rate": [0.0, 0.3], "max_norm": [None, 1]},
        three_classes,
        {},
    ),
    "initial weights": (
        regressor(),
        {"weight_init": ["he_uniform", "normal"], "random_state": [1, 2]},
        numbers,
        {},
    ),
    "validation set": (
        classifier(),
        RATES,
        three_classes,
        dict(zip(("X_val", "y_val"), three_classes(17, 1))),
    ),
    "weighted validation set": (
        regressor(),
        RATES,
        numbers,
        dict(zip(("X_val", "y_val"), numbers(17, 1))) | {"sample_weight_val": np.arange(17)},
    ),
    "early stopping": (classifier(**STOPPING), RATES, three_classes, {}),
    "early stopping of regressors": (
        regressor(**STOPPING),
        {"random_state": [0, 1], "dropout_rate": [0.0, 0.5]},
        numbers,
        {},
    ),
    "early stopping on a set": (
        regressor(**STOPPING),
        {"learning_rate_init": [0.003, 0.1], "dropout_rate": [0.0, 0.4]},
        numbers,
        dict(zip(("X_val", "y_val"), numbers(17, 1))),
    ),
    "early stopping, sgd": (
        regressor(**STOPPING, solver="sgd", feature_groups=[0, 0, 1, 2]),
        {
            "learning_rate_init": [0.003, 0.02],
            "max_norm": [None, 1.0],
            "spatial_dropout_rate": [0.0, 0.4],
        },
        numbers,
        {"sample_weight": weights() + 0.5},
    ),
    "early stopping, adamw": (
        classifier(**STOPPING, solver="adamw"),
        {"random_state": [0, 1, 2], "input_dropout_rate": [0.0, 0.3], "alpha": [0.1]},
        sparse_classes,
        {},
    ),
}


@pytest.mark.parametrize("n_jobs", [2, pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("est", "grid", "data", "fit_params"), SETTINGS.values(), ids=SETTINGS)
def test_networks_of_a_search_are_those_of_grid_search(est, grid, data, fit_params, n_jobs):
    X, y = data()
    cv = KFold(3)
    got = fits(DropoutSearchCV, est, grid, X, y, fit_params, cv, n_jobs=n_jobs)
    expected = fits(GridSearchCV, est, grid, X, y, fit_params, cv)
    assert set(got) == set(expected)
    for key, fit in expected.items():
        assert_same_fit(got[key], fit, X)
    if est.early_stopping:
        assert len({fit.n_iter_ for fit in expected.values()}) > 2


def test_networks_that_diverge_leave_the_others_alone():
    X, y = numbers()
    est = regressor(max_iter=20, solver="sgd")
    grid = {"learning_rate_init": [0.01, 1e10, 1e20], "dropout_rate": [0.0, 0.4]}
    with (
        pytest.warns(UserWarning, match="non-finite"),
        pytest.warns(FitFailedWarning, match="16 fits failed out of a total of 24"),
    ):
        search = DropoutSearchCV(est, grid, cv=KFold(4), refit=False).fit(X, y)
    alone = DropoutSearchCV(est, grid | {"learning_rate_init": [0.01]}, cv=KFold(4), refit=False)
    scores = alone.fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"][::3], scores)


def test_networks_inside_pipelines():
    X, y = three_classes()
    model = make_pipeline(StandardScaler(), classifier())
    grid = {"dropoutmlpclassifier__dropout_rate": [0.0, 0.4]}
    got, expected = (
        fits(Search, model, grid, 5 * X, y, {}, KFold(4))
        for Search in (DropoutSearchCV, GridSearchCV)
    )
    for key, fit in expected.items():
        assert_same_fit(got[key], fit, 5 * X)


def test_networks_inside_target_transformers():
    X, y = numbers()
    pipeline = make_pipeline(StandardScaler(), regressor())
    model = TransformedTargetRegressor(pipeline, func=np.log, inverse_func=np.exp)
    grid = {"regressor__dropoutmlpregressor__dropout_rate": [0.0, 0.4]}
    got, expected = (
        fits(Search, model, grid, 5 * X, y, {}, KFold(4))
        for Search in (DropoutSearchCV, GridSearchCV)
    )
    for key, fit in expected.items():
        assert_same_fit(got[key], fit, 5 * X)


class Blocks(BaseEstimator):
    """Groups of columns, `size` in each."""

    def __init__(self, size=1):
        self.size = size

    def __call__(self, names):
        return [column // self.size for column in range(len(names))]


class RandomFactor(BaseEstimator):
    """A dropout schedule with a generator of its own."""

    def __init__(self, lowest=0.0):
        self.lowest = lowest
        self.rng = np.random.RandomState(0)

    def __call__(self, progress):
        return self.rng.uniform(self.lowest, 1)


def test_parameters_of_parameters():
    X, y = three_classes()
    X = pytest.importorskip("pandas").DataFrame(X, columns=list("abcd"))
    est = classifier(
        dropout_rate=0.5,
        dropout_schedule=RandomFactor(),
        spatial_dropout_rate=0.5,
        feature_groups=Blocks(),
    )
    grid = {"dropout_schedule__lowest": [0.0, 0.9], "feature_groups__size": [1, 2]}
    got, expected = (
        Search(est, grid, scoring=lambda fit, X, y: fit.loss_, cv=KFold(2), refit=False).fit(X, y)
        for Search in (DropoutSearchCV, GridSearchCV)
    )
    losses = expected.cv_results_["mean_test_score"]
    np.testing.assert_array_equal(got.cv_results_["mean_test_score"], losses)
    assert len(set(losses)) == 4


def test_fits_leave_the_objects_of_a_grid_alone():
    schedule = RandomFactor()
    grid = {"dropout_schedule": [schedule], "batch_size": [8, 16]}
    DropoutSearchCV(classifier(dropout_rate=0.5), grid, cv=KFold(2)).fit(*three_classes())
    assert schedule.rng.get_state()[2] == 624  # no number has been drawn


REFUSED_TOGETHER = {
    "noise on sparse rows": ({}, {"input_noise_std": [0.0, 0.5]}, sparse_classes),
    "a schedule of learned rates": (
        {"dropout_schedule": "linear"},
        {"dropout_type": ["bernoulli", "concrete"]},
        three_classes,
    ),
}


@pytest.mark.parametrize(
    ("params", "grid", "data"), REFUSED_TOGETHER.values(), ids=REFUSED_TOGETHER
)
def test_candidates_that_fit_refuses_have_no_score(params, grid, data):
    """Whatever candidate comes first."""
    X, y = data()
    for order in (slice(None), slice(None, None, -1)):
        ordered = {name: values[order] for name, values in grid.items()}
        search = DropoutSearchCV(classifier(**params), ordered, cv=KFold(2), refit=False)
        with (
            pytest.warns(FitFailedWarning, match="2 fits failed"),
            pytest.warns(UserWarning, match="non-finite"),
        ):
            search.fit(X, y)
        assert np.isnan(search.cv_results_["mean_test_score"][order]).tolist() == [False, True]


# Two values of each parameter
VALUES = {
    "hidden_layer_sizes": ((5, 4), (4, 5)),
    "activation": ("relu", "tanh"),
    "dropout_rate": (0.0, [0.5, 0.2]),
    "input_dropout_rate": (0.0, 0.3),
    "spatial_dropout_rate": (0.0, 0.3),
    "dropout_type": ("bernoulli", "gaussian"),
    "dropout_schedule": ("constant", "linear"),
    "input_noise_std": (0.0, 0.5),
    "max_norm": (None, 0.3),
    "weight_init": ("glorot_uniform", "he_normal"),
    "solver": ("adam", "sgd"),
    "alpha": (0.0, 1.0),
    "batch_size": (10, 15),
    "learning_rate": ("constant", "invscaling"),
    "learning_rate_init": (0.001, 0.05),
    "power_t": (0.5, 0.1),
    "max_iter": (3, 5),
    "shuffle": (True, False),
    "random_state": (0, 1),
    "tol": (1e-4, 2.0),
    "verbose": (False, 0),
    "warm_start": (False, True),
    "momentum": (0.9, 0.5),
    "nesterovs_momentum": (True, False),
    "early_stopping": (False, True),
    "validation_fraction": (0.1, 0.3),
    "beta_1": (0.9, 0.5),
    "beta_2": (0.999, 0.9),
    "epsilon": (1e-8, 1e-2),
    "n_iter_no_change": (10, 1),
    "scoring": (None, "accuracy"),
    "callbacks": (None, []),
    "device": ("cpu", torch.device("cpu")),
    "feature_groups": (None, 2),
    "engine": ("auto", "torch"),
    "class_weight": (None, {"low": 1, "mid": 5, "up": 2}),
    "loss": ("squared_error", "huber"),
    "quantile": (0.2, 0.8),
}
# Where a parameter acts
CONTEXT = {
    "power_t": {"solver": "sgd", "learning_rate": "invscaling"},
    "learning_rate": {"solver": "sgd"},
    "quantile": {"loss": "quantile"},
    "momentum": {"solver": "sgd"},
    "nesterovs_momentum": {"solver": "sgd"},
    "tol": {"early_stopping": True, "max_iter": 20, "n_iter_no_change": 3},
    "validation_fraction": {"early_stopping": True},
    "n_iter_no_change": {"early_stopping": True, "max_iter": 20, "tol": 2.0},
    "feature_groups": {"spatial_dropout_rate": 0.4},
}
WITHOUT_EFFECT = {"verbose", "warm_start", "callbacks", "device", "engine", "scoring"}


def test_every_parameter_has_its_two_values():
    names = {*DropoutMLPClassifier().get_params(), *DropoutMLPRegressor().get_params()}
    assert set(VALUES) == names
    assert names > CHANGEABLE


@pytest.mark.parametrize("name", VALUES)
def test_networks_that_differ_in_one_parameter(name):
    """The second is prepared like the first where that is possible, and the third always."""
    regression = name in ("loss", "quantile")
    make, data = (regressor, numbers) if regression else (classifier, three_classes)
    X, y = data()
    one, two = VALUES[name]
    est = make(**CONTEXT.get(name, {}))
    found = []

    def scoring(estimator, X, y):
        found.append(estimator)
        return 0.0

    everything = [(np.arange(N_ROWS), np.arange(N_ROWS))]
    options = {"cv": everything, "scoring": scoring, "refit": False, "error_score": "raise"}
    DropoutSearchCV(est, {name: [one, two, one]}, **options).fit(X, y)
    singles = [clone(est).set_params(**{name: value}).fit(X, y) for value in (one, two, one)]
    for ours, theirs in zip(found, singles, strict=True):
        assert_same_network(ours, theirs)
    one, two = (answers(single, X) for single in singles[:2])
    equal = np.allclose(one, two, 1e-4, 1e-6) and singles[0].n_iter_ == singles[1].n_iter_
    assert equal == (name in WITHOUT_EFFECT)


@pytest.mark.parametrize(
    ("grid", "n_drawn"),
    [
        ({"dropout_rate": [0.0, 0.1, 0.2], "alpha": [0.1, 0.2]}, 1),
        ({"dropout_rate": [0.0, 0.1], "random_state": [1, 2]}, 4),  # only the latest is kept
        ({"activation": ["relu", "tanh"], "dropout_rate": [0.0, 0.1]}, 2),
    ],
)
def test_initial_weights_are_drawn_once_for_fits_that_follow_each_other(grid, n_drawn, monkeypatch):
    pytest.importorskip("numba")
    drawn = []

    def draw(*args):
        drawn.append(args)
        return initial_parameters(*args)

    monkeypatch.setattr("sklearn_dropout.estimators.mlp.initial_parameters", draw)
    DropoutSearchCV(classifier(), grid, cv=KFold(2), refit=False).fit(*two_classes())
    assert len(drawn) == 2 * n_drawn


def test_one_order_for_all_epochs_is_that_of_several_calls(monkeypatch):
    args = DropoutSearchCV, classifier(max_iter=7), RATES, *two_classes(), {}, KFold(2)
    once = fits(*args)
    monkeypatch.setattr("sklearn_dropout.fit.training._ROWS_OF_A_CALL", 60)
    shared = fits(*args)
    monkeypatch.setattr("sklearn_dropout.fit.training._ROWS_OF_AN_ORDER", 0)
    for key, fit in fits(*args).items():
        assert_same_network(fit, once[key])
        assert_same_network(fit, shared[key])


@pytest.mark.parametrize("name", sorted(CHANGEABLE))
def test_a_later_candidate_is_refused_too(name):
    good = vars(classifier())[name]
    grid = {name: [good, "none of them"]}
    with (
        pytest.warns(UserWarning, match="non-finite"),
        pytest.warns(FitFailedWarning, match=f"{name}.*none of them"),
    ):
        search = DropoutSearchCV(classifier(), grid, cv=KFold(2), refit=False).fit(*two_classes())
    assert np.isfinite(search.cv_results_["mean_test_score"]).tolist() == [True, False]
