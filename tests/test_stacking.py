"""Stacks against single fits: the same networks, whatever company they train in."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, KFold, ParameterGrid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV
from sklearn_dropout._base import DropoutNetwork
from sklearn_dropout._nesting import find_network
from sklearn_dropout._preparation import FitCall, prepare
from sklearn_dropout._stacking import STACKABLE, stack_key, stack_size, train_together
from sklearn_dropout._training import Trainer

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


def fits(Search, est, grid, X, y, fit_params, cv):
    recorder = Recorder(sorted(grid))
    Search(est, grid, cv=cv, scoring=recorder, refit=False).fit(X, y, **fit_params)
    assert len(recorder.fits) == len(ParameterGrid(grid)) * cv.get_n_splits()
    return recorder.fits


@pytest.fixture
def stack_sizes(monkeypatch):
    """How many networks each training had."""
    sizes = []
    train = DropoutNetwork._train

    def recorded(self, prepared, *arguments, **options):
        sizes.append(len(prepared))
        return train(self, prepared, *arguments, **options)

    monkeypatch.setattr(DropoutNetwork, "_train", recorded)
    return sizes


def answers(estimator, X):
    return estimator.predict_proba(X) if is_classifier(estimator) else estimator.predict(X)


def assert_same_fit(ours, theirs, X, rtol=1e-5):
    expected = answers(theirs, X)
    np.testing.assert_allclose(answers(ours, X), expected, rtol, rtol * np.abs(expected).max())
    ours, theirs = (find_network(getattr(e, "regressor_", e))[0] for e in (ours, theirs))
    assert_same_network(ours, theirs, rtol)


def assert_same_network(ours, theirs, rtol=1e-5):
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    assert set(ours._curves) == set(theirs._curves)
    for name, values in theirs._curves.items():
        np.testing.assert_allclose(ours._curves[name], values, rtol, rtol, err_msg=name)
    for name in ("coefs_", "intercepts_"):
        for got, expected in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol, rtol * np.abs(expected).max())


RATES = {"dropout_rate": [0.0, 0.3, [0.6, 0.1]]}
STOPPING = {"early_stopping": True, "max_iter": 25, "n_iter_no_change": 2, "tol": 0.01}
# Estimator, grid, data, fit parameters, size of the largest stack
SETTINGS = {
    "classifier": (classifier(), RATES, three_classes, {}, 9),
    "two classes": (classifier(), RATES, two_classes, {}, 9),
    "regressor": (regressor(), RATES, numbers, {}, 9),
    "absolute error": (regressor(loss="absolute_error"), RATES, numbers, {}, 9),
    "huber": (regressor(loss="huber"), RATES, numbers, {}, 9),
    "poisson": (regressor(loss="poisson"), RATES, counts, {}, 9),
    "multilabel": (classifier(), RATES, labels, {}, 9),
    "several outputs": (regressor(), RATES, outputs, {}, 9),
    "sparse": (classifier(), RATES, sparse_classes, {}, 9),
    "equal rows merged": (classifier(batch_size=60), RATES, rounded_classes, {}, 6),
    "whole batch": (classifier(batch_size=60), RATES, three_classes, {}, 9),
    "one row rests": (classifier(batch_size=20, shuffle=False), RATES, three_classes, {}, 9),
    "sample weights": (classifier(), RATES, three_classes, {"sample_weight": weights() + 1}, 9),
    "rows left out": (classifier(), RATES, three_classes, {"sample_weight": weights()}, 3),
    "weighted regression": (
        regressor(),
        {"alpha": [0, 0.1, 10.0]},
        numbers,
        {"sample_weight": weights() + 0.5},
        9,
    ),
    "balanced": (classifier(class_weight="balanced"), RATES, three_classes, {}, 9),
    "class weights": (classifier(class_weight={0: 1, 1: 4}), RATES, two_classes, {}, 9),
    "seeds": (classifier(), {"random_state": [0, 1, 7], "alpha": [0, 1]}, three_classes, {}, 18),
    "sgd": (
        regressor(solver="sgd"),
        {"learning_rate_init": [0.001, 0.02], "alpha": [0.0, 1.0]},
        numbers,
        {},
        12,
    ),
    "adamw": (
        regressor(solver="adamw", alpha=0.5),
        {"learning_rate_init": [0.001, 0.02], **RATES},
        numbers,
        {},
        18,
    ),
    "adamw, several alphas": (
        classifier(solver="adamw"),
        {"alpha": [0.0, 0.5], "dropout_rate": [0.0, 0.4]},
        two_classes,
        {},
        6,
    ),
    "norms": (
        classifier(solver="sgd", learning_rate_init=0.3),
        {"max_norm": [None, 0.4, 1.0], "dropout_rate": [0.0, 0.4]},
        three_classes,
        {},
        18,
    ),
    "all dropout": (
        classifier(feature_groups=[0, 0, 1, 2]),
        {"spatial_dropout_rate": [0, 0.4], "input_dropout_rate": [0.0, 0.3], "max_norm": [None, 1]},
        three_classes,
        {},
        24,
    ),
    "initial weights": (
        regressor(),
        {"weight_init": ["he_uniform", "normal"], "random_state": [1, 2]},
        numbers,
        {},
        12,
    ),
    "validation set": (
        classifier(),
        RATES,
        three_classes,
        dict(zip(("X_val", "y_val"), three_classes(17, 1))),
        9,
    ),
    "weighted validation set": (
        regressor(),
        RATES,
        numbers,
        dict(zip(("X_val", "y_val"), numbers(17, 1))) | {"sample_weight_val": np.arange(17)},
        9,
    ),
    "early stopping": (classifier(**STOPPING), RATES, three_classes, {}, 9),
    "early stopping of regressors": (
        regressor(**STOPPING),
        {"random_state": [0, 1], "dropout_rate": [0.0, 0.5]},
        numbers,
        {},
        12,
    ),
    "early stopping on a set": (
        regressor(**STOPPING),
        {"learning_rate_init": [0.003, 0.1], "dropout_rate": [0.0, 0.4]},
        numbers,
        dict(zip(("X_val", "y_val"), numbers(17, 1))),
        12,
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
        24,
    ),
    "early stopping, adamw": (
        classifier(**STOPPING, solver="adamw"),
        {"random_state": [0, 1, 2], "input_dropout_rate": [0.0, 0.3], "alpha": [0.1]},
        sparse_classes,
        {},
        18,
    ),
}


@pytest.mark.parametrize(
    ("est", "grid", "data", "fit_params", "largest"), SETTINGS.values(), ids=SETTINGS
)
def test_networks_of_a_search_are_those_of_grid_search(
    est, grid, data, fit_params, largest, stack_sizes
):
    X, y = data()
    X_some, y_some = X[: N_ROWS - 1], y[: N_ROWS - 1]  # folds of one size
    some = {k: v[: N_ROWS - 1] if len(v) == N_ROWS else v for k, v in fit_params.items()}
    cv = KFold(3)
    got = fits(DropoutSearchCV, est, grid, X_some, y_some, some, cv)
    assert max(stack_sizes) == largest
    expected = fits(GridSearchCV, est, grid, X_some, y_some, some, cv)
    assert set(got) == set(expected)
    for key, fit in expected.items():
        assert_same_fit(got[key], fit, X)
    if est.early_stopping:
        assert len({fit.n_iter_ for fit in expected.values()}) > 2


@pytest.fixture
def sizes_by_epoch(monkeypatch):
    """How many networks were trained in each epoch of each stack."""
    sizes = []
    epochs = Trainer._epochs

    def recorded(self):
        sizes.append(len(self.problems))
        assert 2 * np.count_nonzero(self.stopping.active) > len(self.problems)
        epochs(self)

    monkeypatch.setattr(Trainer, "_epochs", recorded)
    return sizes


def test_networks_that_are_done_leave_the_stack(sizes_by_epoch):
    X, y = two_classes()
    est = classifier(**STOPPING | {"max_iter": 60})
    grid = {"dropout_rate": [0.0, 0.3, 0.6], "random_state": range(4)}
    DropoutSearchCV(est, grid, cv=KFold(4), refit=False).fit(X, y)
    assert sizes_by_epoch[0] == 48
    assert sizes_by_epoch == sorted(sizes_by_epoch, reverse=True)
    assert sizes_by_epoch[-1] <= 6


def test_networks_that_diverge_leave_the_stack(sizes_by_epoch):
    X, y = numbers()
    est = regressor(max_iter=20, solver="sgd")
    grid = {"learning_rate_init": [0.01, 1e10, 1e20], "dropout_rate": [0.0, 0.4]}
    with (
        pytest.warns(UserWarning, match="non-finite"),
        pytest.warns(FitFailedWarning, match="16 fits failed out of a total of 24"),
    ):
        search = DropoutSearchCV(est, grid, cv=KFold(4), refit=False).fit(X, y)
    assert sizes_by_epoch[0] == 24
    assert sizes_by_epoch[-1] == 8
    alone = DropoutSearchCV(est, grid | {"learning_rate_init": [0.01]}, cv=KFold(4), refit=False)
    scores = alone.fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"][::3], scores, rtol=1e-4)


@pytest.mark.parametrize("batch_size", [10, 60])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_folds_that_differ_by_one_row(make, batch_size, stack_sizes):
    X, y = three_classes() if make is classifier else numbers()
    est, cv = make(batch_size=batch_size), KFold(5)
    got = fits(DropoutSearchCV, est, RATES, X, y, {}, cv)
    assert sorted(stack_sizes) == [6, 9]
    expected = fits(GridSearchCV, est, RATES, X, y, {}, cv)
    for key, fit in expected.items():
        assert_same_fit(got[key], fit, X)


def test_networks_inside_pipelines(stack_sizes):
    X, y = three_classes()
    model = make_pipeline(StandardScaler(), classifier())
    grid = {"dropoutmlpclassifier__dropout_rate": [0.0, 0.4]}
    got, expected = (
        fits(Search, model, grid, 5 * X, y, {}, KFold(4))
        for Search in (DropoutSearchCV, GridSearchCV)
    )
    assert max(stack_sizes) == 8
    for key, fit in expected.items():
        assert_same_fit(got[key], fit, 5 * X)


def test_networks_inside_target_transformers(stack_sizes):
    X, y = numbers()
    pipeline = make_pipeline(StandardScaler(), regressor())
    model = TransformedTargetRegressor(pipeline, func=np.log, inverse_func=np.exp)
    grid = {"regressor__dropoutmlpregressor__dropout_rate": [0.0, 0.4]}
    got, expected = (
        fits(Search, model, grid, 5 * X, y, {}, KFold(4))
        for Search in (DropoutSearchCV, GridSearchCV)
    )
    assert max(stack_sizes) == 8
    for key, fit in expected.items():
        assert_same_fit(got[key], fit, 5 * X)


FULL = {
    "classifier": (classifier(max_iter=80), three_classes, "accuracy", 0.03),
    "regressor": (regressor(max_iter=80), numbers, "r2", 0.01),
    "early stopping": (
        classifier(early_stopping=True, max_iter=80, n_iter_no_change=30),
        two_classes,
        "neg_log_loss",
        0.02,
    ),
}


@pytest.mark.parametrize(("est", "data", "scoring", "tolerance"), FULL.values(), ids=FULL)
def test_mean_scores_of_full_training(est, data, scoring, tolerance):
    X, y = data()
    grid = {"dropout_rate": [0.0, 0.3]}
    ours, theirs = (
        Search(est, grid, cv=4, scoring=scoring, refit=False).fit(X, y).cv_results_
        for Search in (DropoutSearchCV, GridSearchCV)
    )
    np.testing.assert_allclose(ours["mean_test_score"], theirs["mean_test_score"], 0, tolerance)
    untrained = clone(est).set_params(max_iter=1).fit(X, y)
    assert theirs["mean_test_score"].min() > untrained.score(X, y) or scoring == "neg_log_loss"


# Two values of each parameter, and whether networks that have them may share a stack
VALUES = {
    "hidden_layer_sizes": ((5, 4), (4, 5), False),
    "activation": ("relu", "tanh", False),
    "dropout_rate": (0.0, [0.5, 0.2], True),
    "input_dropout_rate": (0.0, 0.3, True),
    "spatial_dropout_rate": (0.0, 0.3, True),
    "max_norm": (None, 0.3, True),
    "weight_init": ("glorot_uniform", "he_normal", True),
    "solver": ("adam", "sgd", False),
    "alpha": (0.0, 1.0, True),
    "batch_size": (10, 15, False),
    "learning_rate": ("constant", "invscaling", None),
    "learning_rate_init": (0.001, 0.05, True),
    "power_t": (0.5, 0.1, None),
    "max_iter": (3, 5, False),
    "shuffle": (True, False, False),
    "random_state": (0, 1, True),
    "tol": (1e-4, 2.0, None),
    "verbose": (False, 0, None),
    "warm_start": (False, True, None),
    "momentum": (0.9, 0.5, None),
    "nesterovs_momentum": (True, False, None),
    "early_stopping": (False, True, False),
    "validation_fraction": (0.1, 0.3, None),
    "beta_1": (0.9, 0.5, False),
    "beta_2": (0.999, 0.9, False),
    "epsilon": (1e-8, 1e-2, False),
    "n_iter_no_change": (10, 1, None),
    "scoring": (None, "accuracy", False),
    "callbacks": (None, [], None),
    "device": ("cpu", torch.device("cpu"), None),
    "feature_groups": (None, 2, False),
    "class_weight": (None, {"low": 1, "mid": 5, "up": 2}, None),
    "loss": ("squared_error", "huber", False),
}
# Where a parameter acts
CONTEXT = {
    "power_t": {"solver": "sgd", "learning_rate": "invscaling"},
    "learning_rate": {"solver": "sgd"},
    "momentum": {"solver": "sgd"},
    "nesterovs_momentum": {"solver": "sgd"},
    "tol": {"early_stopping": True, "max_iter": 20, "n_iter_no_change": 3},
    "validation_fraction": {"early_stopping": True},
    "n_iter_no_change": {"early_stopping": True, "max_iter": 20, "tol": 2.0},
    "feature_groups": {"spatial_dropout_rate": 0.4},
}
WITHOUT_EFFECT = {"verbose", "warm_start", "callbacks", "device", "scoring"}


def prepared(est, X, y):
    return prepare(est, FitCall(X, y))


def test_every_parameter_has_its_two_values():
    names = {*DropoutMLPClassifier().get_params(), *DropoutMLPRegressor().get_params()}
    assert set(VALUES) == names
    assert {name for name, (_, _, together) in VALUES.items() if together} == STACKABLE


@pytest.mark.parametrize("name", VALUES)
def test_networks_that_differ_in_one_parameter(name, stack_sizes):
    make, data = (regressor, numbers) if name == "loss" else (classifier, three_classes)
    X, y = data()
    one, two, together = VALUES[name]
    context = CONTEXT.get(name, {})
    estimators = [make(**context | {name: value}) for value in (one, two, one)]
    singles = [clone(est).fit(X, y) for est in estimators]
    stack_sizes.clear()
    runs = [prepared(est, X, y) for est in estimators]
    if together is not None:
        assert (stack_key(runs[0]) == stack_key(runs[1])) == together
    outcomes = dict(train_together(runs))
    assert sorted(outcomes) == [0, 1, 2]
    if together is not None:
        assert sorted(stack_sizes) == ([3] if together else sorted([2, 1]))
    for place, (run, single) in enumerate(zip(runs, singles)):
        run.finish(outcomes[place])
        assert run.estimator is estimators[place]
        assert_same_network(run.estimator, single)
    one, two = (est.predict_proba(X) if name != "loss" else est.predict(X) for est in singles[:2])
    equal = np.allclose(one, two, 1e-5, 0) and singles[0].n_iter_ == singles[1].n_iter_
    assert equal == (name in WITHOUT_EFFECT)


@pytest.mark.parametrize(
    "params",
    [
        {"callbacks": [Callback()]},
        {"scoring": "balanced_accuracy"},
        {"solver": torch.optim.RMSprop},
        {"solver": "sgd", "learning_rate": "adaptive"},
    ],
)
def test_fits_that_train_alone(params):
    X, y = three_classes()
    keys = {stack_key(prepared(classifier(**params), X, y)) for est in range(3)}
    assert len(keys) == 3


def test_classifiers_and_regressors_stay_apart():
    X, y = two_classes()
    runs = [prepared(est, X, y) for est in (classifier(), regressor(), classifier())]
    keys = [stack_key(run) for run in runs]
    assert keys[0] == keys[2] != keys[1]


def test_numbers_of_rows_columns_and_outputs_stay_apart():
    X, y = three_classes()
    for other in ((X[1:], y[1:]), (X[:, 1:], y), two_classes(), labels()):
        assert stack_key(prepared(classifier(), X, y)) != stack_key(prepared(classifier(), *other))


def test_stacks_are_bounded_and_every_fit_comes_back_once(stack_sizes, monkeypatch):
    X, y = three_classes()
    monkeypatch.setattr("sklearn_dropout._stacking.stack_size", lambda rows, sizes: 4)
    runs = [prepared(classifier(alpha=alpha), X, y) for alpha in np.linspace(0, 2, 10)]
    places = [place for place, _ in train_together(runs)]
    assert sorted(places) == list(range(10))
    assert sorted(stack_sizes) == [2, 4, 4]


def test_progress_counts_network_epochs():
    X, y = three_classes()
    told = []
    runs = [prepared(classifier(max_iter=n, alpha=a), X, y) for n in (3, 6) for a in (0, 0.1, 1)]
    list(train_together(runs, progress=lambda n_epochs, losses: told.append(n_epochs)))
    assert sum(told) == 3 * 3 + 3 * 6


def test_nothing_to_train():
    assert list(train_together([])) == []


def test_diverging_network_leaves_its_stack_alone(stack_sizes):
    X, y = numbers()
    singles = [regressor(learning_rate_init=rate).fit(X, y) for rate in (0.01, 0.02)]
    runs = [prepared(regressor(learning_rate_init=r), X, y) for r in (0.01, 1e30, 0.02)]
    stack_sizes.clear()
    outcomes = dict(train_together(runs))
    assert stack_sizes == [3]
    assert "training diverged" in outcomes[1].error
    with pytest.raises(ValueError, match=r"smaller learning_rate_init \(now 1e\+30\)"):
        runs[1].finish(outcomes[1])
    assert not hasattr(runs[1].estimator, "coefs_")
    for place, single in zip((0, 2), singles):
        runs[place].finish(outcomes[place])
        assert_same_network(runs[place].estimator, single)


@pytest.mark.parametrize(
    ("n_rows", "sizes"), [(1, (1, 1)), (16, (4, 16, 8, 3)), (50, (10, 100, 1))]
)
def test_stack_size_keeps_to_its_bound(n_rows, sizes):
    size = stack_size(n_rows, sizes)
    values = n_rows * sum(sizes)
    assert isinstance(size, int)
    assert size >= 1
    assert size == 1 or size * values <= 400_000
    assert stack_size(2 * n_rows, sizes) <= size


@pytest.mark.parametrize(("n_rows", "sizes"), [(200, (30, 500, 1)), (10_000, (4, 4, 1))])
def test_wide_networks_train_alone(n_rows, sizes):
    assert stack_size(n_rows, sizes) == 1
