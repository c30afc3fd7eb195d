"""Scores without a scorer against the scores of scikit-learn."""

import numpy as np
import pytest
from _families import ALL, problem, small, spread
from scipy import sparse
from sklearn import config_context
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import accuracy_score, check_scoring, get_scorer, make_scorer, r2_score
from sklearn.model_selection import GridSearchCV, KFold, PredefinedSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV
from sklearn_dropout.model_selection import jobs as search_jobs
from sklearn_dropout.model_selection.scores import asks_for_own_score, checked_rows, own_score

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 8, "learning_rate_init": 0.03, "batch_size": 20}


def data(kind, n=60, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    signal = X @ rng.standard_normal((4, 3)) + rng.standard_normal((n, 3))
    targets = {
        "two classes": np.where(signal[:, 0] > 0, "yes", "no"),
        "three classes": np.array(["a", "b", "c"])[signal.argmax(1)],
        "labels": (signal > 0).astype(int),
        "sparse labels": sparse.csr_matrix((signal > 0).astype(int)),
        "number": 100 + 30 * signal[:, 0],
        "numbers": signal * [1, 10, 100],
        "one constant": np.column_stack([signal[:, 0], np.full(n, 7.0)]),
        "counts": np.abs(signal[:, 0]).round(),
    }
    return X, targets[kind]


KINDS = {
    "two classes": DropoutMLPClassifier,
    "three classes": DropoutMLPClassifier,
    "labels": DropoutMLPClassifier,
    "sparse labels": DropoutMLPClassifier,
    "number": DropoutMLPRegressor,
    "numbers": DropoutMLPRegressor,
    "one constant": DropoutMLPRegressor,
    "counts": DropoutMLPRegressor,
}


def estimator(kind, **params):
    if kind == "counts":
        params["loss"] = "poisson"
    return KINDS[kind](**SMALL | params)


@pytest.mark.parametrize("kind", KINDS)
@spread(dtype=[np.float32, np.float64], activation=["relu", "gelu"])
def test_score_is_that_of_the_estimator(kind, dtype, activation):
    X, y = data(kind)
    X_new, y_new = data(kind, n=900, seed=1)
    X_new = X_new.astype(dtype)
    expected = []
    for seed in range(3):
        est = estimator(kind, random_state=seed, activation=activation).fit(X, y)
        got = own_score(est, *checked_rows(est, X_new, y_new))
        assert isinstance(got, float)
        expected.append(est.score(X_new, y_new))
        assert got == pytest.approx(expected[-1], rel=1e-5 if dtype == np.float32 else 1e-12)
    assert len(set(expected)) > 1


def test_score_in_parts_of_the_rows(monkeypatch):
    X, y = data("three classes")
    est = estimator("three classes", random_state=0).fit(X, y)
    monkeypatch.setattr("sklearn_dropout.estimators.mlp._CHUNK_VALUES", 7 * 6)
    assert own_score(est, *checked_rows(est, X, y)) == est.score(X, y)


@pytest.mark.parametrize("Est", ALL, ids=lambda Est: Est.__name__)
def test_score_of_every_family(Est):
    X, y = problem(Est)
    est = small(Est).fit(X, y)
    assert own_score(est, *checked_rows(est, X, y)) == pytest.approx(est.score(X, y), rel=1e-6)


CLF, REG = DropoutMLPClassifier(), DropoutMLPRegressor()
ASKS = {
    "own score": (CLF, check_scoring(CLF), True),
    "own score of a regressor": (REG, check_scoring(REG), True),
    "accuracy": (CLF, get_scorer("accuracy"), True),
    "r2": (REG, get_scorer("r2"), True),
    "pipeline": (make_pipeline(StandardScaler(), CLF), get_scorer("accuracy"), True),
    "pipelines": (Pipeline([("all", make_pipeline(PCA(), REG))]), get_scorer("r2"), True),
    "r2 of a classifier": (CLF, get_scorer("r2"), False),
    "accuracy of a regressor": (REG, get_scorer("accuracy"), False),
    "log loss": (CLF, get_scorer("neg_log_loss"), False),
    "number of right rows": (CLF, make_scorer(accuracy_score, normalize=False), False),
    "less is better": (REG, make_scorer(r2_score, greater_is_better=False), False),
    "function": (CLF, lambda est, X, y: 0.5, False),
    "targets": (TransformedTargetRegressor(REG), get_scorer("r2"), False),
    "targets in a pipeline": (
        make_pipeline(StandardScaler(), TransformedTargetRegressor(REG)),
        get_scorer("r2"),
        False,
    ),
}


@pytest.mark.parametrize(("whole", "scorer", "expected"), ASKS.values(), ids=ASKS)
def test_which_scorers_ask_for_the_own_score(whole, scorer, expected):
    assert asks_for_own_score(scorer, whole) is expected
    with config_context(enable_metadata_routing=True):
        assert not asks_for_own_score(scorer, whole)


def two_searches(est, grid, X, y, **options):
    options = {"cv": 3, "return_train_score": True, "refit": False} | options
    return [
        Search(est, grid, **options).fit(X, y).cv_results_
        for Search in (DropoutSearchCV, GridSearchCV)
    ]


def assert_same_scores(ours, theirs):
    names = [name for name in theirs if name.startswith(("split", "mean_t", "std_t"))]
    assert len(names) > 4
    for name in names:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_scores_without_the_scorer(kind, monkeypatch):
    X, y = data(kind)
    grid = {"dropout_rate": [0.0, 0.4], "activation": ["relu", "tanh"]}
    est = estimator(kind, random_state=0, max_iter=3)
    _, theirs = two_searches(est, grid, X, y)
    monkeypatch.setattr(search_jobs, "_score", None)
    ours = DropoutSearchCV(est, grid, cv=3, return_train_score=True, refit=False).fit(X, y)
    assert_same_scores(ours.cv_results_, theirs)


def test_preprocessing_of_each_candidate(monkeypatch):
    X, y = data("three classes")
    model = make_pipeline(
        FunctionTransformer(), PCA(random_state=0), estimator("three classes", random_state=0)
    )
    grid = {
        "pca__n_components": [1, 3],
        "dropoutmlpclassifier__dropout_rate": [0.0, 0.4],
        "functiontransformer": ["passthrough", StandardScaler()],
    }
    _, theirs = two_searches(model, grid, X, y)
    monkeypatch.setattr(search_jobs, "_score", None)
    ours = DropoutSearchCV(model, grid, cv=3, return_train_score=True, refit=False).fit(X, y)
    assert_same_scores(ours.cv_results_, theirs)


def test_a_class_that_is_in_the_test_fold_only():
    X, y = data("three classes")
    y[:5] = "rare"
    fold = PredefinedSplit(np.where(np.arange(60) < 20, 0, -1))
    ours, theirs = two_searches(
        estimator("three classes", random_state=0), {"alpha": [0.0, 1.0]}, X, y, cv=fold
    )
    assert_same_scores(ours, theirs)


@pytest.mark.filterwarnings("ignore:One or more of the:UserWarning")
def test_r2_of_one_row_is_not_defined():
    X, y = data("number", n=12)
    with pytest.warns(UndefinedMetricWarning, match="less than two samples"):
        ours, theirs = two_searches(
            estimator("number", random_state=0), {"alpha": [0.0, 1.0]}, X, y, cv=KFold(12)
        )
    assert np.isnan(ours["mean_test_score"]).all()
    assert_same_scores(ours, theirs)


@pytest.mark.filterwarnings("ignore:One or more of the:UserWarning")
@pytest.mark.filterwarnings("ignore:Scoring failed:UserWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
def test_test_rows_that_cannot_be_predicted():
    X, y = data("number")
    X[0, 0] = np.nan
    ours, theirs = two_searches(
        estimator("number", random_state=0), {"alpha": [0.0, 1.0]}, X, y, return_train_score=False
    )
    assert np.isnan(ours["split0_test_score"]).all()
    assert_same_scores(ours, theirs)


def test_rows_held_out_by_different_seeds_stay_apart():
    """Each seed stops on rows of its own and has its own scale of the targets."""
    X, y = data("number", n=120)
    est = estimator("number", early_stopping=True, max_iter=15)
    grid = {"random_state": [0, 1, np.random.RandomState(3)], "dropout_rate": [0.0, 0.3]}
    ours, theirs = two_searches(est, grid, X, y)
    assert len(set(theirs["mean_test_score"].round(6))) == 6
    assert_same_scores(ours, theirs)
