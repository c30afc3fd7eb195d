"""The work of a search: chunks, workers, progress, interruptions, and what is left behind."""

import gc
import re
import threading
import weakref

import joblib
import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import KFold, ParameterGrid
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV
from sklearn_dropout._search_jobs import Evaluation
from sklearn_dropout._search_plan import Candidate, Task, make_chunks, split_params
from sklearn_dropout._training import Trainer

SMALL = {
    "hidden_layer_sizes": (4,),
    "max_iter": 3,
    "batch_size": 10,
    "learning_rate_init": 0.01,
    "random_state": 0,
}
RATES = {"dropout_rate": [0.0, 0.3, 0.6]}


def classifier(**params):
    return DropoutMLPClassifier(**SMALL | params)


def regressor(**params):
    return DropoutMLPRegressor(**SMALL | params)


def data(n=60, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    return X, np.where(X[:, 0] + 0.4 * rng.standard_normal(n) > 0, "yes", "no")


def scores(results):
    return {name: results[name] for name in results if re.search("_(test|train)_", name)}


def assert_same_scores(got, expected, rtol=1e-6):
    got, expected = scores(got), scores(expected)
    assert list(got) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol, 1e-6, err_msg=name)


# Chunks


def tasks_of(est, grid, n_rows=50, n_folds=5):
    splits = list(KFold(n_folds).split(np.zeros(n_rows)))
    candidates = [
        Candidate(params, clone(est).set_params(**params)) for params in ParameterGrid(grid)
    ]
    return [
        Task(place * n_folds + fold, candidate, train, test, fold)
        for place, candidate in enumerate(candidates)
        for fold, (train, test) in enumerate(splits)
    ]


def chunks_of(est, grid, n_rows=50, n_folds=5, n_features=4, n_workers=1):
    tasks = tasks_of(est, grid, n_rows, n_folds)
    chunks = make_chunks(tasks, (n_rows, n_features), n_workers)
    assert all(chunks)
    assert sorted(t.place for chunk in chunks for t in chunk) == list(range(len(tasks)))
    return chunks


def net_grid(**grid):
    return {f"net__{name}": values for name, values in grid.items()}


PIPELINE = Pipeline([("scale", StandardScaler()), ("net", classifier())])
PLANS = {
    "rates": (classifier(), RATES, {}, [15]),
    "all that stacks": (
        classifier(),
        {
            "alpha": [0.0, 1.0],
            "learning_rate_init": [0.1, 0.2],
            "max_norm": [None, 1],
            "random_state": [0, 1],
            "input_dropout_rate": [0.0, 0.1],
        },
        {},
        [160],
    ),
    "rows that differ": (classifier(), RATES, {"n_rows": 52}, [6, 9]),
    "layer sizes": (classifier(), {"hidden_layer_sizes": [(3,), (4,)], **RATES}, {}, [15, 15]),
    "activations and epochs": (
        classifier(),
        {"activation": ["relu", "tanh"], "max_iter": [2, 3]},
        {},
        [5] * 4,
    ),
    "several grids": (
        classifier(),
        [RATES, {"dropout_rate": [0.7]}, {"batch_size": [5]}],
        {},
        [20, 5],
    ),
    "pipeline": (PIPELINE, net_grid(**RATES), {}, [15]),
    "scaler": (PIPELINE, {"scale__with_std": [True, False], **net_grid(**RATES)}, {}, [15, 15]),
    "wide": (classifier(hidden_layer_sizes=(2000,)), RATES, {}, [1] * 15),
    "wide batches": (
        classifier(batch_size="auto"),
        RATES,
        {"n_rows": 2000, "n_features": 80},
        [1] * 15,
    ),
    "not ours": (LogisticRegression(), {"C": [0.1, 1.0]}, {}, [1] * 10),
    "two workers": (classifier(), RATES, {"n_workers": 2}, [7, 8]),
    "pipeline of two workers": (PIPELINE, net_grid(**RATES), {"n_workers": 2}, [6, 9]),
    "pipeline of many workers": (PIPELINE, net_grid(**RATES), {"n_workers": 8}, [2] * 7 + [1]),
    "many workers": (classifier(), RATES, {"n_workers": 100}, [1] * 15),
    "broken": (classifier(), {"hidden_layer_sizes": ["three", (4,)]}, {}, [1] * 5 + [5]),
}


@pytest.mark.parametrize(("est", "grid", "options", "sizes"), PLANS.values(), ids=PLANS)
def test_chunks(est, grid, options, sizes):
    chunks = chunks_of(est, grid, **options)
    assert sorted(map(len, chunks)) == sorted(sizes)
    for chunk in chunks:
        assert len({len(task.train) for task in chunk}) == 1
        shared = [
            {
                n: v
                for n, v in split_params(t.candidate.params, "net__")[0].items()
                if n != "dropout_rate"
            }
            for t in chunk
        ]
        if isinstance(est, Pipeline):
            assert all(params == shared[0] for params in shared)
            assert len({t.candidate.params.get("scale__with_std") for t in chunk}) == 1


@pytest.mark.parametrize("name", ["batch_size", "hidden_layer_sizes", "max_iter", "activation"])
@pytest.mark.parametrize("value", [0, -3, None, "many", 2.5, (), ("a", "b"), float("nan")])
def test_bad_values_wait_for_their_fit(name, value):
    tasks = tasks_of(classifier(), {name: [value], "alpha": [0.0, 1.0]})
    chunks = make_chunks(tasks, (50, 4), 1)
    assert sum(map(len, chunks)) == len(tasks)
    assert all(isinstance(task.candidate.n_epochs(), int) for task in tasks)


def test_chunks_are_bounded_whatever_the_size_of_the_grid():
    est = classifier(hidden_layer_sizes=(16, 8), batch_size=16)
    few, many = (
        chunks_of(est, {"alpha": np.linspace(0, 1, n).tolist()}, n_folds=10) for n in (100, 400)
    )
    assert max(map(len, few)) == max(map(len, many)) < 1000
    assert len(few) < len(many) <= 4 * len(few)


def test_chunks_hold_few_folds_where_data_are_large(monkeypatch):
    monkeypatch.setattr("sklearn_dropout._search_plan._CHUNK_VALUES", 3 * 50 * 4)
    chunks = chunks_of(classifier(), {"alpha": [0.0, 0.1, 1.0]}, n_folds=10)
    assert [len({task.fold for task in chunk}) for chunk in chunks] == [3, 3, 3, 1]
    monkeypatch.setattr("sklearn_dropout._search_plan._CHUNK_VALUES", 1)
    chunks = chunks_of(classifier(), {"alpha": [0.0, 0.1, 1.0]}, n_folds=10)
    assert [len(chunk) for chunk in chunks] == [3] * 10
    assert all(len({task.fold for task in chunk}) == 1 for chunk in chunks)


def test_chunks_of_a_last_step_that_is_replaced():
    networks = [classifier(), classifier(hidden_layer_sizes=(3,)), LogisticRegression()]
    chunks = chunks_of(PIPELINE, {"net": networks})
    assert all(len({id(task.candidate.params["net"]) for task in chunk}) == 1 for chunk in chunks)


@pytest.mark.parametrize(
    ("prefix", "inner", "outer"),
    [
        ("", {"alpha": 1, "dropout_rate": 0.1}, {}),
        ("net__", {"alpha": 1}, {"net": "other", "scale__with_std": True, "nets__alpha": 2}),
        ("net__", {}, {"net__estimator__alpha": 1, "alpha": 3}),
        ("regressor__net__", {"alpha": 1}, {"regressor__scale": None, "net__alpha": 2}),
    ],
)
def test_split_params(prefix, inner, outer):
    params = {f"{prefix}{name}": value for name, value in inner.items()} | outer
    assert split_params(params, prefix) == (inner, outer)


# An evaluation


def evaluation(X, y, **options):
    settings = {
        "scorer": get_scorer("neg_log_loss"),
        "fit_params": {},
        "score_params": {},
        "return_train_score": False,
        "error_score": np.nan,
    }
    return Evaluation(X, y, **settings | options)


def test_evaluation_of_a_chunk():
    X, y = data(50)
    tasks = tasks_of(classifier(), RATES)[::-1]
    results = dict(evaluation(X, y, return_train_score=True).run(tasks))
    assert sorted(results) == list(range(15))
    for task in tasks:
        direct = classifier(**task.candidate.params).fit(X[task.train], y[task.train])
        result = results[task.place]
        assert result["fit_error"] is None
        assert result["n_test_samples"] == 10
        for part, rows in (("test", task.test), ("train", task.train)):
            expected = get_scorer("neg_log_loss")(direct, X[rows], y[rows])
            assert result[f"{part}_scores"] == pytest.approx(expected, rel=1e-5)


def test_evaluation_gives_every_task_its_share_of_the_time():
    X, y = data(50)
    results = dict(evaluation(X, y).run(tasks_of(classifier(), RATES)))
    times = np.array([result["fit_time"] for result in results.values()])
    assert (times > 0).all()
    assert times.min() > times.sum() / len(times) / 10


def n_threads_of_scorer(estimator, X, y):
    return torch.get_num_threads()


def test_workers_use_one_thread_each():
    X, y = data()
    search = DropoutSearchCV(classifier(), RATES, cv=3, scoring=n_threads_of_scorer, refit=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for n_jobs, backend, expected in ((None, "loky", 2), (2, "loky", 1), (2, "threading", 1)):
            with joblib.parallel_config(backend):
                search.set_params(n_jobs=n_jobs).fit(X, y)
            assert search.cv_results_["mean_test_score"].tolist() == [expected] * 3
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# Workers

CASES = {
    "rates": (classifier(), {**RATES, "hidden_layer_sizes": [(3,), (4, 2)]}, {}),
    "failures": (
        classifier(),
        {"dropout_rate": [0.1, 1.0], "learning_rate_init": [0.01, 1e30]},
        {},
    ),
    "pipeline": (
        make_pipeline(StandardScaler(), classifier(early_stopping=True, max_iter=8)),
        {
            "dropoutmlpclassifier__dropout_rate": [0.0, 0.4],
            "standardscaler__with_std": [True, False],
        },
        {},
    ),
    "not ours": (LogisticRegression(), {"C": [0.1, 1.0]}, {}),
    "all at once": (classifier(), {"max_iter": [1, 2, 3]}, {"pre_dispatch": "all"}),
    "one at a time": (classifier(), {"max_iter": [1, 2, 3]}, {"pre_dispatch": 1}),
    "several scores": (
        classifier(),
        RATES,
        {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"},
    ),
}


def two_searches(est, grid, options, **fit_params):
    X, y = data()
    options = {"cv": 4, "scoring": "neg_log_loss", "return_train_score": True} | options
    return [
        DropoutSearchCV(est, grid, n_jobs=n_jobs, **options).fit(X, y, **fit_params)
        for n_jobs in (None, 2)
    ]


@pytest.mark.filterwarnings("ignore:One or more of the:UserWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.parametrize(("est", "grid", "options"), CASES.values(), ids=CASES)
def test_two_workers_give_the_same_scores(est, grid, options):
    one, two = two_searches(est, grid, options)
    assert_same_scores(two.cv_results_, one.cv_results_)
    assert two.best_params_ == one.best_params_
    X, _ = data()
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_know_the_configuration(backend):
    """Metadata routing and the containers of transformers are set per thread."""
    weight = np.random.default_rng(0).integers(0, 3, 60).astype(float)
    with config_context(enable_metadata_routing=True, transform_output="pandas"):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        columns = ColumnTransformer([("all", scaler, [0, 1, 2, 3])])
        est = (
            classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        )
        model = make_pipeline(columns, est)
        grid = {"dropoutmlpclassifier__dropout_rate": [0.0, 0.4]}

        def names(estimator, X, y):
            return len(estimator[-1].feature_names_in_)

        with joblib.parallel_config(backend):
            one, two = two_searches(
                model, grid, {"scoring": names, "error_score": "raise"}, sample_weight=weight
            )
    assert_same_scores(two.cv_results_, one.cv_results_)


def test_threads_give_the_same_scores():
    with joblib.parallel_config("threading"):
        one, two = two_searches(classifier(), {**RATES, "activation": ["relu", "tanh"]}, {})
    assert_same_scores(two.cv_results_, one.cv_results_)


def test_number_of_workers_from_the_context():
    X, y = data()
    search = DropoutSearchCV(classifier(), RATES, cv=3, scoring=threads_of_scorer)
    with joblib.parallel_config("threading", n_jobs=2):
        search.fit(X, y)
    assert set(np.ravel([search.cv_results_[f"split{k}_test_score"] for k in range(3)])) == {0.0}
    search.fit(X, y)
    assert search.cv_results_["mean_test_score"].tolist() == [1.0] * 3


def threads_of_scorer(estimator, X, y):
    """Whether this is the main thread."""
    return float(threading.current_thread() is threading.main_thread())


def test_large_data_reach_workers_as_maps_that_cannot_be_written():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 100)).astype(np.float32)  # more than joblib copies
    y = (X[:, 0] > 0).astype(int)
    one, two = (
        DropoutSearchCV(
            classifier(max_iter=1, batch_size=500),
            {"dropout_rate": [0.0, 0.4]},
            cv=2,
            scoring="neg_log_loss",
            n_jobs=n_jobs,
            refit=False,
            error_score="raise",
        ).fit(X, y)
        for n_jobs in (None, 2)
    )
    assert_same_scores(two.cv_results_, one.cv_results_)


def test_error_in_a_worker():
    X, y = data()
    search = DropoutSearchCV(
        classifier(),
        {"learning_rate_init": [0.01, 1e30]},
        cv=3,
        n_jobs=2,
        error_score="raise",
    )
    with pytest.raises(ValueError, match="training diverged"):
        search.fit(X, y)
    with pytest.raises(NotFittedError):
        check_is_fitted(search)


# What is left behind


def state():
    """What is global; whoever compares has to begin with denormal numbers as they are."""
    numpy_state = np.random.get_state()  # noqa: NPY002
    return [
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        float(torch.tensor(1e-30) * 1e-10),  # denormal, unless they are flushed
        torch.get_rng_state().tolist(),
        numpy_state[1].tolist(),
        numpy_state[2:],
        np.geterr(),
    ]


@pytest.mark.parametrize("error_score", [np.nan, "raise"])
@pytest.mark.parametrize("backend", [None, "threading"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_global_state_is_left_as_it_was(error_score, backend, n_threads):
    X, y = data()
    grid = {"learning_rate_init": [0.01, 1e30], "random_state": [0, None]}
    search = DropoutSearchCV(classifier(), grid, cv=3, error_score=error_score, n_jobs=2)
    if backend is None:
        search.set_params(n_jobs=None)
    n_threads_before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    torch.set_flush_denormal(False)
    try:
        before = state()
        with joblib.parallel_config("threading"):
            if error_score == "raise":
                with pytest.raises(ValueError, match="training diverged"):
                    search.fit(X, y)
            else:
                with (
                    pytest.warns(FitFailedWarning, match="6 fits failed out of a total of 12"),
                    pytest.warns(UserWarning, match="One or more of the test scores"),
                ):
                    search.fit(X, y)
        assert state() == before
    finally:
        torch.set_num_threads(n_threads_before)


def test_default_dtype_of_the_user_does_not_matter():
    X, y = data()
    search = DropoutSearchCV(classifier(), RATES, cv=3, scoring="neg_log_loss")
    expected = search.fit(X, y).cv_results_
    torch.set_default_dtype(torch.float64)
    try:
        got = clone(search).fit(X, y).cv_results_
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same_scores(got, expected)


class Interrupting:
    """Ctrl-C at some moment of the training."""

    def __init__(self, monkeypatch, n_epochs):
        epochs = Trainer._epochs
        self.n_left = n_epochs

        def interrupted(trainer):
            self.n_left -= 1
            if self.n_left < 0:
                raise KeyboardInterrupt
            epochs(trainer)

        monkeypatch.setattr(Trainer, "_epochs", interrupted)


@pytest.mark.parametrize("n_epochs", [0, 1, 4])
@pytest.mark.parametrize("error_score", [np.nan, "raise"])
def test_interrupt_leaves_the_search_unfitted(n_epochs, error_score, monkeypatch):
    X, y = data()
    Interrupting(monkeypatch, n_epochs)
    grid = {"dropout_rate": [0.0, 0.3], "activation": ["relu", "tanh"]}
    est = classifier(early_stopping=True)  # one epoch at a time
    search = DropoutSearchCV(est, grid, cv=3, error_score=error_score)
    torch.set_flush_denormal(False)
    before = state()
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, y)
    assert state() == before
    assert not [name for name in vars(search) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        check_is_fitted(search)


@pytest.mark.parametrize(
    "params",
    [{"callbacks": []}, {"solver": torch.optim.RMSprop}, {"scoring": "balanced_accuracy"}],
    ids=str,
)
def test_interrupt_of_a_network_that_trains_alone(params, monkeypatch):
    X, y = data()
    Interrupting(monkeypatch, 2)
    search = DropoutSearchCV(classifier(**params, early_stopping=True), RATES, cv=3)
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, y)
    with pytest.raises(NotFittedError):
        check_is_fitted(search)


# Progress


def final_count(text):
    """Done and planned network-epochs, as the last state of the bar has them."""
    done, total = re.findall(r"(\d+)/(\d+) \[", text)[-1]
    return int(done), int(total)


PROGRESS = {
    "rates": (classifier(), RATES, 3 * 3 * 3),
    "epochs": (classifier(), {"max_iter": [2, 5], "alpha": [0.0, 1.0]}, 3 * 2 * 7),
    "pipeline": (PIPELINE, net_grid(max_iter=[2, 4]), 3 * 6),
    "target": (TransformedTargetRegressor(regressor()), {"regressor__max_iter": [2, 4]}, 3 * 6),
    "early stopping": (
        classifier(early_stopping=True, n_iter_no_change=1, tol=1.0, max_iter=50),
        RATES,
        3 * 3 * 50,
    ),
    "not ours": (LogisticRegression(), {"C": [0.1, 1.0]}, 6),
    "talkative": (classifier(verbose=True), RATES, 3 * 3 * 3),
    "last step": (
        Pipeline([("net", LogisticRegression())]),
        {"net": [classifier(), classifier(max_iter=5), LogisticRegression()]},
        3 * (3 + 5 + 1),
    ),
}


def targets(est, y):
    return (y == "yes") * 1.0 if isinstance(est, TransformedTargetRegressor) else y


@pytest.mark.parametrize(("est", "grid", "total"), PROGRESS.values(), ids=PROGRESS)
def test_one_bar_over_network_epochs(est, grid, total, capsys):
    X, y = data()
    search = DropoutSearchCV(est, grid, cv=3, verbose=1, refit=False)
    search.fit(X, targets(est, y))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert set(re.findall(r"(\w+): +\d+%", err)) == {"search"}
    assert "100%" in err
    assert "epoch/s" in err or "s/epoch" in err
    assert final_count(err) == (total, total)


@pytest.mark.parametrize(("est", "grid", "total"), PROGRESS.values(), ids=PROGRESS)
def test_no_bar_where_nothing_is_to_be_said(est, grid, total, capsys):
    X, y = data()
    DropoutSearchCV(est, grid, cv=3, refit=False).fit(X, targets(est, y))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("talkative", [False, True])
def test_bar_of_two_workers(talkative, capsys):
    X, y = data()
    est = classifier(verbose=talkative)
    with joblib.parallel_config("threading"):
        search = DropoutSearchCV(est, RATES, cv=3, verbose=1, n_jobs=2, refit=False)
        search.fit(X, y)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert final_count(err) == (27, 27)


def test_bar_is_closed_after_an_error(capsys):
    X, y = data()
    search = DropoutSearchCV(
        classifier(), {"learning_rate_init": [1e30]}, cv=3, verbose=1, error_score="raise"
    )
    with pytest.raises(ValueError, match="training diverged"):
        search.fit(X, y)
    assert capsys.readouterr().err.endswith("\n")


# Memory


@pytest.mark.parametrize("n_candidates", [10, 30])
@pytest.mark.parametrize("est", [classifier(), PIPELINE], ids=["alone", "pipeline"])
def test_few_networks_are_alive_whatever_the_size_of_the_grid(est, n_candidates, monkeypatch):
    X, y = data()
    for module in ("_search_plan", "_stacking"):
        monkeypatch.setattr(f"sklearn_dropout.{module}.stack_size", lambda rows, sizes: 4)
    seen = weakref.WeakSet()
    alive = []

    def scoring(estimator, X, y):
        seen.add(estimator[-1] if isinstance(estimator, Pipeline) else estimator)
        gc.collect()
        alive.append(len(seen))
        return 0.0

    name = "net__alpha" if est is PIPELINE else "alpha"
    grid = {name: np.linspace(0, 1, n_candidates).tolist()}
    gc.freeze()  # what there is needs no looking at
    try:
        DropoutSearchCV(est, grid, cv=2, refit=False, scoring=scoring).fit(X, y)
    finally:
        gc.unfreeze()
    assert len(alive) == 2 * n_candidates
    assert 2 <= max(alive) <= 8
