"""The work of a search: pieces, workers, progress, interruptions, and what is left behind."""

import gc
import os
import pickle
import re
import signal
import threading
import weakref
from contextlib import nullcontext

import joblib
import numpy as np
import pytest
import torch
from _families import spread
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
from skorch.callbacks import EpochTimer

from sklearn_dropout import (
    DropoutCNNClassifier,
    DropoutMLPClassifier,
    DropoutMLPRegressor,
    DropoutSearchCV,
)
from sklearn_dropout.fit.training import Trainer
from sklearn_dropout.model_selection.jobs import Evaluation
from sklearn_dropout.model_selection.plan import Candidate, make_pieces, split_params
from sklearn_dropout.model_selection.workers import quietly
from sklearn_dropout.perceptron import why_unavailable

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


# Pieces


def candidates_of(est, grid):
    return [
        (index, Candidate(clone(est).set_params(**params), params))
        for index, params in enumerate(ParameterGrid(grid))
    ]


def pieces_of(est, grid, n_workers=1, in_threads=False, n_rows=50, n_folds=5):
    candidates = candidates_of(est, grid)
    splits = list(KFold(n_folds).split(np.zeros(n_rows)))
    pieces = make_pieces(candidates, splits, n_workers, in_threads)
    assert all(piece.fits for piece in pieces)
    indices = sorted(index for piece in pieces for index, _ in piece.fits)
    assert indices == list(range(len(candidates) * n_folds))
    for piece in pieces:
        for index, candidate in piece.fits:
            row, fold = divmod(index, n_folds)
            assert candidate is candidates[row][1]
            np.testing.assert_array_equal(piece.fold.test, splits[fold][1])
    return pieces


def net_grid(**grid):
    return {f"net__{name}": values for name, values in grid.items()}


PIPELINE = Pipeline([("scale", StandardScaler()), ("net", classifier())])
SCALERS = {"scale__with_std": [True, False], **net_grid(**RATES)}
PROCESSES, THREADS = {"n_workers": 2}, {"n_workers": 2, "in_threads": True}
PLANS = {  # how many tasks the pieces have
    "rates": (classifier(), RATES, {}, [3] * 5),
    "layer sizes": (classifier(), {"hidden_layer_sizes": [(3,), (4,)], **RATES}, {}, [6] * 5),
    "pipeline": (PIPELINE, net_grid(**RATES), {}, [3] * 5),
    "scaler": (PIPELINE, SCALERS, {}, [3] * 10),
    "not ours": (LogisticRegression(), {"C": [0.1, 1.0]}, {}, [1] * 10),
    "processes": (classifier(), RATES, PROCESSES, [1] * 15),
    "threads": (classifier(), RATES, THREADS, [1] * 15),
    "many candidates": (classifier(), {"alpha": range(40)}, THREADS, [13, 13, 13, 1] * 5),
    "pipeline of processes": (PIPELINE, net_grid(**RATES), PROCESSES, [3] * 5),
    "pipeline of threads": (PIPELINE, net_grid(**RATES), THREADS, [1] * 15),
    "pipeline of many processes": (PIPELINE, net_grid(**RATES), {"n_workers": 8}, [2, 1] * 5),
}


@pytest.mark.parametrize(("est", "grid", "options", "sizes"), PLANS.values(), ids=PLANS)
def test_pieces(est, grid, options, sizes):
    pieces = pieces_of(est, grid, **options)
    assert sorted(len(piece.fits) for piece in pieces) == sorted(sizes)
    for piece in pieces:
        scalers = {candidate.params.get("scale__with_std") for _, candidate in piece.fits}
        assert len(scalers) == 1  # a piece shares its preprocessing
        assert piece.n_epochs == sum(c.n_epochs() for _, c in piece.fits)


def test_pieces_of_a_last_step_that_is_replaced():
    networks = [classifier(), classifier(hidden_layer_sizes=(3,)), LogisticRegression()]
    for piece in pieces_of(PIPELINE, {"net": networks}):
        assert len({id(candidate.params["net"]) for _, candidate in piece.fits}) == 1


def test_few_folds_are_open_at_a_time():
    pieces = pieces_of(PIPELINE, net_grid(alpha=range(30)), **THREADS)
    opened, n_open = [], []
    for piece in pieces:
        if piece.fold not in opened:
            opened.append(piece.fold)
        piece.fold.model = "something fitted"
        piece.fold.done()
        n_open.append(sum(fold.model is not None for fold in opened))
    assert max(n_open) == 2
    assert n_open[-1] == 0


@spread(
    value=[0, -3, None, "many", 2.5, (), ("a", "b"), float("nan")],
    name=["batch_size", "hidden_layer_sizes", "max_iter", "solver"],
)
def test_bad_values_wait_for_their_fit(name, value):
    for piece in pieces_of(classifier(), {name: [value], "alpha": [0.0, 1.0]}):
        for _, candidate in piece.fits:
            assert isinstance(candidate.n_epochs(), int)
            assert isinstance(candidate.compiled(), bool)


def test_which_networks_train_in_threads():
    networks = [classifier(), classifier(engine="torch"), classifier(callbacks=[EpochTimer()])]
    others = [DropoutCNNClassifier(), LogisticRegression(), classifier(device="nowhere")]
    found = [candidate.compiled() for _, candidate in candidates_of(PIPELINE, {"net": networks})]
    assert found == [why_unavailable() is None, False, False]
    found = [candidate.compiled() for _, candidate in candidates_of(PIPELINE, {"net": others})]
    assert found == [False] * 3


@pytest.mark.parametrize(
    ("prefix", "inner", "outer"),
    [
        ("", {"alpha": 1, "dropout_rate": 0.1}, {}),
        ("net__", {"alpha": 1}, {"net": "other", "scale__with_std": True, "nets__alpha": 2}),
        ("net__", {"schedule__k": 1}, {"alpha": 3, "other__net__alpha": 2}),
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


def test_evaluation_of_a_piece():
    X, y = data(50)
    for piece in pieces_of(classifier(), RATES):
        fold = piece.fold
        results = dict(evaluation(X, y, return_train_score=True).run(piece, quietly))
        assert sorted(results) == sorted(index for index, _ in piece.fits)
        for index, candidate in piece.fits:
            direct = classifier(**candidate.params).fit(X[fold.train], y[fold.train])
            result = results[index]
            assert result["fit_error"] is None
            assert result["n_test_samples"] == 10
            assert result["fit_time"] > 0
            assert result["score_time"] > 0
            for part, rows in (("test", fold.test), ("train", fold.train)):
                expected = get_scorer("neg_log_loss")(direct, X[rows], y[rows])
                assert result[f"{part}_scores"] == pytest.approx(expected, rel=1e-5)
        assert fold.model is None  # the data of the fold are let go of


def test_pieces_reach_other_processes_without_what_threads_share():
    X, y = data(50)
    (piece, *_) = pieces_of(PIPELINE, net_grid(**RATES), **THREADS)
    expected = evaluation(X, y).run(piece, quietly)
    assert piece.fold.model is not None
    twin = pickle.loads(pickle.dumps(piece))
    assert twin.fold.model is None
    ((_, got),) = evaluation(X, y).run(twin, quietly)
    assert got["test_scores"] == expected[0][1]["test_scores"]


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
        search.set_params(n_jobs=2).fit(X, y)
        assert search.cv_results_["mean_test_score"].tolist() == [1] * 3
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


@pytest.mark.parametrize("backend", ["loky", "threading", None])
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

        with joblib.parallel_config(backend) if backend else nullcontext():
            one, two = two_searches(
                model, grid, {"scoring": names, "error_score": "raise"}, sample_weight=weight
            )
    assert_same_scores(two.cv_results_, one.cv_results_)


BACKENDS = ["loky", "threading", "multiprocessing", "sequential"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_gives_the_same_scores(backend):
    with joblib.parallel_config(backend):
        one, two = two_searches(classifier(), {**RATES, "activation": ["relu", "tanh"]}, {})
    assert_same_scores(two.cv_results_, one.cv_results_)


def process_of_scorer(estimator, X, y):
    return float(os.getpid())


def processes_and_threads(est, grid, **options):
    """Whether a search worked in this process only, and whether in its main thread."""
    X, y = data()
    options = {"cv": 3, "refit": False, "error_score": "raise"} | options
    found = []
    for scoring in (process_of_scorer, threads_of_scorer):
        search = DropoutSearchCV(est, grid, scoring=scoring, **options).fit(X, y)
        found.append(set(search.cv_results_["mean_test_score"]))
    return found[0] == {os.getpid()}, found[1] == {1.0}


@pytest.mark.skipif(why_unavailable() is not None, reason="needs Numba")
def test_compiled_networks_train_in_threads_unless_a_backend_is_named():
    assert processes_and_threads(classifier(), RATES, n_jobs=2) == (True, False)
    assert processes_and_threads(PIPELINE, net_grid(**RATES), n_jobs=2) == (True, False)
    with joblib.parallel_config(n_jobs=2):
        assert processes_and_threads(classifier(), RATES) == (True, False)
    with joblib.parallel_config("loky"):
        here, _ = processes_and_threads(classifier(), RATES, n_jobs=2)
    assert not here


@pytest.mark.slow
def test_other_networks_train_where_joblib_says():
    est = classifier(engine="torch")
    assert not processes_and_threads(est, RATES, n_jobs=2)[0]
    with joblib.parallel_config(prefer="threads"):
        assert processes_and_threads(est, RATES, n_jobs=2) == (True, False)
    with joblib.parallel_config(require="sharedmem"):
        assert processes_and_threads(est, RATES, n_jobs=2) == (True, False)
    assert processes_and_threads(est, RATES) == (True, True)


def test_networks_of_both_kinds_in_one_grid():
    one, two = two_searches(classifier(), {"engine": ["auto", "torch"], **RATES}, {})
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
@pytest.mark.parametrize("backend", [None, "threading", "own threads"])
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
        with joblib.parallel_config("threading") if backend == "threading" else nullcontext():
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
    [{"engine": "torch"}, {"solver": torch.optim.RMSprop}, {"scoring": "balanced_accuracy"}],
    ids=str,
)
def test_interrupt_of_networks_of_other_kinds(params, monkeypatch):
    X, y = data()
    Interrupting(monkeypatch, 2)
    search = DropoutSearchCV(classifier(**params, early_stopping=True), RATES, cv=3)
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, y)
    with pytest.raises(NotFittedError):
        check_is_fitted(search)


@pytest.mark.skipif(why_unavailable() is not None, reason="needs Numba")
def test_interrupt_of_threads_ends_them():
    """Ctrl-C reaches the main thread, which waits; the others stop within an epoch or so."""
    X, y = data()
    est = classifier(max_iter=10**7)
    search = DropoutSearchCV(est, RATES, cv=3, n_jobs=2)
    before = threading.active_count()
    # Background jobs of a shell ignore it.
    ctrl_c = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            search.fit(X, y)
        timer.join()
    finally:
        signal.signal(signal.SIGINT, ctrl_c)
    assert threading.active_count() <= before
    with pytest.raises(NotFittedError):
        check_is_fitted(search)


@pytest.mark.skipif(why_unavailable() is not None, reason="needs Numba")
def test_error_in_a_thread_ends_the_others():
    X, y = data()
    grid = [{"max_iter": [10**7]}, {"learning_rate_init": [1e30]}]
    fold = [(np.arange(40), np.arange(40, 60))]
    search = DropoutSearchCV(classifier(), grid, cv=fold, n_jobs=2, error_score="raise")
    before = threading.active_count()
    with pytest.raises(ValueError, match="training diverged"):
        search.fit(X, y)
    assert threading.active_count() <= before


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
    assert re.fullmatch(r"Fitting 3 folds for each of \d candidates, totalling \d+ fits\n", out)
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


@pytest.mark.parametrize("backend", ["threading", "multiprocessing", None])
@pytest.mark.parametrize("talkative", [False, True])
def test_bar_of_two_workers(talkative, backend, capsys):
    X, y = data()
    est = classifier(verbose=talkative)
    with joblib.parallel_config(backend) if backend else nullcontext():
        search = DropoutSearchCV(est, RATES, cv=3, verbose=1, n_jobs=2, refit=False)
        search.fit(X, y)
    out, err = capsys.readouterr()
    assert out == "Fitting 3 folds for each of 3 candidates, totalling 9 fits\n"
    assert err.count("\n") == 1
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
def test_few_networks_are_alive_whatever_the_size_of_the_grid(est, n_candidates):
    X, y = data()
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
    assert max(alive) <= 2
