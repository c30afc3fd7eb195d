"""Ctrl-C, errors from outside, lost workers, no memory: what is left behind.

Always: generators, thread counts, default dtype, gradient mode and the treatment of denormals as
found, and an estimator that can be used or is unfitted.
"""

import inspect
import linecache
import os
import random
import signal
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from _families import ALL, answers, problem, small, spread
from _surroundings import surroundings
from joblib.externals.loky.process_executor import TerminatedWorkerError
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback

import sklearn_dropout
from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV
from sklearn_dropout.fit.training import Trainer
from sklearn_dropout.nn.settings import in_threads, torch_threads

all_estimators = pytest.mark.parametrize("Est", ALL)
PACKAGE = str(Path(sklearn_dropout.__file__).parent)


@pytest.fixture(autouse=True)
def as_found():
    """Two threads, which a fit of this size changes to one; everything is as before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    before = surroundings()
    yield
    after = surroundings()
    torch.set_num_threads(threads)
    assert after == before
    assert threads_of_a_new_thread() == threads


def threads_of_a_new_thread():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def fitted_names(est):
    return [name for name in vars(est) if name.endswith("_")]


def assert_unfitted(est):
    assert not fitted_names(est)
    with pytest.raises(NotFittedError):
        check_is_fitted(est)


class CtrlC:
    """Ctrl-C after some lines of this package, wherever they are.

    Lines of `settings.py` and those where a ``with`` block ends are left out: they put settings
    back, which an interruption in just that moment prevents in any program.
    """

    def __init__(self, n_lines):
        self.n_left = n_lines
        self.where = None

    def __call__(self, frame, event, arg):
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGE) or name.endswith("settings.py"):
            return None
        line = linecache.getline(name, frame.f_lineno).lstrip()
        if event == "line" and self.where is None and not line.startswith("with "):
            self.n_left -= 1
            if self.n_left < 0:
                self.where = f"{Path(name).name}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self

    def __enter__(self):
        self.others = sys.gettrace()  # of a measurement of coverage
        sys.settrace(self)
        return self

    def __exit__(self, *exception):
        sys.settrace(self.others)


def count_lines(work):
    ctrl_c = CtrlC(10**9)
    with ctrl_c:
        work()
    return 10**9 - ctrl_c.n_left


MODES = {
    "one run": {},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.3},
    "callbacks": {"callbacks": [Callback()]},
    "scoring": {"scoring": "neg_mean_squared_error"},
    "solver": {"solver": torch.optim.RMSprop},
}


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


some_moments = pytest.mark.parametrize("n_moments", [1, slow(25)])


def moments(n_lines, n_moments, seed=0):
    """Some of the lines, the first and the last ones among them."""
    others = random.Random(seed).sample(range(n_lines), min(n_moments, n_lines))
    return sorted({0, n_lines // 2, n_lines - 1, *others})


@some_moments
@pytest.mark.parametrize(
    "mode", ["one run", "callbacks", *(slow(m) for m in MODES if m not in ("one run", "callbacks"))]
)
@all_estimators
def test_ctrl_c_anywhere_in_fit(Est, mode, n_moments):
    X, y = problem(Est)
    if mode == "scoring":
        y = (X[:, 0] > 0).astype(int)
    params = MODES[mode]
    uninterrupted = small(Est, **params).fit(X, y)
    n_lines = count_lines(lambda: small(Est, **params).fit(X, y))
    before = surroundings()
    interrupted = 0
    for n in moments(n_lines, n_moments):
        for est in (small(Est, **params), small(Est, **params, warm_start=True).fit(X, y)):
            kept = dict(vars(est))
            ctrl_c = CtrlC(n)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Training interrupted by user")
                try:
                    with ctrl_c:
                        est.fit(X, y)
                except KeyboardInterrupt:
                    interrupted += 1
                    # A fit sets its attributes in one step, this one among them.
                    finished = vars(est).get("t_") != kept.get("t_")
                    assert finished or all(vars(est)[k] is v for k, v in kept.items()), ctrl_c.where
            assert surroundings() == before, ctrl_c.where
            if fitted_names(est):
                assert np.isfinite(answers(est, X)).all(), ctrl_c.where
                assert len(est.history_) == len(est.loss_curve_), ctrl_c.where
            else:
                assert_unfitted(est)
            # And it trains as if nothing had been.
            if n % 5 == 0 and not est.warm_start:
                np.testing.assert_array_equal(answers(est.fit(X, y), X), answers(uninterrupted, X))
    assert interrupted


# Python itself ignores an exception that a signal raises in a finalizer.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that interrupts")
@all_estimators
def test_ctrl_c_as_a_signal(Est):
    """Ctrl-C at any moment in PyTorch; again if a finalizer swallowed it."""
    X, y = problem(Est, n=200)
    small(Est).fit(X, y)  # in the first fit PyTorch imports its compiler: Ctrl-C would break that
    # A process in the background may have been started with Ctrl-C switched off.
    ctrl_c = signal.signal(signal.SIGINT, signal.default_int_handler)
    previous = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    before = surroundings()
    try:
        for milliseconds in (1, 3, 10, 30, 60):
            est = small(Est, max_iter=10**8)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Training interrupted by user")
                try:
                    signal.setitimer(signal.ITIMER_REAL, milliseconds / 1000, 0.5)
                    est.fit(X, y)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except KeyboardInterrupt:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    assert_unfitted(est)
                else:
                    assert len(est.loss_curve_) == est.n_iter_ < 10**8
                    assert np.isfinite(answers(est, X)).all()
            assert surroundings() == before
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        signal.signal(signal.SIGINT, ctrl_c)


@pytest.mark.parametrize("searched", [False, True])
def test_ctrl_c_while_errors_of_numpy_are_restored(searched, monkeypatch):
    """One in 700 interrupted fits left NumPy silent about overflow."""

    def interrupted(*args, **kwargs):
        np.seterr(over="ignore")  # as scikit-learn's checks of data do
        raise KeyboardInterrupt

    est = small(DropoutMLPClassifier)
    X, y = problem(DropoutMLPClassifier)
    monkeypatch.setattr(DropoutMLPClassifier, "_validate", interrupted)
    before = np.geterr()
    with pytest.raises(KeyboardInterrupt):
        (DropoutSearchCV(est, {"alpha": [0, 1]}) if searched else est).fit(X, y)
    assert np.geterr() == before


@some_moments
@all_estimators
def test_ctrl_c_in_a_search(Est, n_moments):
    X, y = problem(Est)
    grid = {"dropout_rate": [0.0, 0.3], "activation": ["relu", "tanh"]}

    def search():
        return DropoutSearchCV(small(Est, max_iter=2), grid, cv=2)

    n_lines = count_lines(lambda: search().fit(X, y))
    before = surroundings()
    earlier = search().fit(X, y)
    kept = dict(vars(earlier))
    for n in moments(n_lines, n_moments):
        for one in (search(), earlier):
            ctrl_c = CtrlC(n)
            try:
                with ctrl_c, warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "Training interrupted by user")
                    one.fit(X, y)
            except KeyboardInterrupt:
                same = all(vars(one).get(name) is value for name, value in kept.items())
                if one is not earlier and not fitted_names(one):
                    assert_unfitted(one)
                elif not (one is earlier and same):  # in the last line
                    assert fitted_names(one) == fitted_names(earlier)
                    one.predict(X)
            else:  # in the refit, which then ends early
                one.predict(X)
            kept = dict(vars(earlier))
            assert surroundings() == before, ctrl_c.where


def monte_carlo_calls(est, X):
    """Calls with dropout on, where the estimators have them."""
    calls = []
    for name in ("sample_predictions", "predict_uncertainty"):
        if hasattr(est, name):
            calls.append(lambda name=name: getattr(est, name)(X, n_samples=20, random_state=0))
    if "return_std" in inspect.signature(est.predict).parameters:
        calls.append(lambda: est.predict(X, return_std=True, n_samples=20, random_state=0))
    return calls


@some_moments
@all_estimators
def test_ctrl_c_in_predictions(Est, n_moments):
    X, y = problem(Est)
    est = small(Est).fit(X, y)
    kept, expected = dict(vars(est)), answers(est, X)
    before = surroundings()
    for call in [lambda: est.predict(X), *monte_carlo_calls(est, X)]:
        for n in moments(count_lines(call), n_moments):
            ctrl_c = CtrlC(n)
            with ctrl_c, pytest.raises(KeyboardInterrupt):
                call()
            assert surroundings() == before, ctrl_c.where
            assert all(vars(est)[name] is value for name, value in kept.items())
        np.testing.assert_array_equal(answers(est, X), expected)


EVENTS = [
    "on_train_begin",
    "on_epoch_begin",
    "on_batch_begin",
    "on_grad_computed",
    "on_batch_end",
    "on_epoch_end",
    "on_train_end",
]


def breaking(event, error):
    """A callback that fails at the second opportunity, or at the only one."""

    class Breaking(Callback):
        n_calls = 0

        def fail(self, net, *args, **kwargs):
            type(self).n_calls += 1
            if "train" in event or type(self).n_calls == 2:
                raise error

    setattr(Breaking, event, Breaking.fail)
    return Breaking()


@spread(event=EVENTS, Est=ALL)
def test_error_in_a_callback(Est, event):
    X, y = problem(Est)
    error = ZeroDivisionError("of the user")
    for est in (small(Est), small(Est, warm_start=True).fit(X, y)):
        est.set_params(callbacks=[breaking(event, error)])
        kept = dict(vars(est))
        with pytest.raises(ZeroDivisionError, match="of the user"):
            est.fit(X, y, X_val=X, y_val=y)
        assert vars(est).keys() == kept.keys()
        assert all(vars(est)[name] is value for name, value in kept.items())


@all_estimators
def test_error_in_a_score(Est):
    X, y = problem(Est)

    def score(est, X, y):
        raise ZeroDivisionError("of the user")

    est = small(Est, scoring=score)
    with pytest.raises(ZeroDivisionError, match="of the user"):
        est.fit(X, y)
    assert_unfitted(est)


@all_estimators
def test_error_in_a_solver(Est):
    class Broken(torch.optim.SGD):
        def step(self, closure=None):
            if self.param_groups[0]["lr"] == 0.017:  # not where the class is tried out
                raise ZeroDivisionError("of the user")

    X, y = problem(Est)
    est = small(Est, solver=Broken, learning_rate_init=0.017)
    with pytest.raises(ZeroDivisionError, match="of the user"):
        est.fit(X, y)
    assert_unfitted(est)


@spread(
    Est=ALL,
    place=["callback", "scorer", "solver"],
    text=["CUDA out of memory", "integer multiplication overflow"],
)
def test_errors_of_the_user_about_memory_are_passed_on(Est, text, place):
    """A RuntimeError of a callback became a MemoryError that blamed hidden_layer_sizes."""
    error = RuntimeError(text)

    class Broken(torch.optim.SGD):
        def step(self, closure=None):
            if self.param_groups[0]["lr"] == 0.017:  # not where the class is tried out
                raise error

    def score(est, X, y):
        raise error

    X, y = problem(Est)
    params = {
        "callback": {"callbacks": [breaking("on_epoch_end", error)]},
        "scorer": {"scoring": score},
        "solver": {"solver": Broken, "learning_rate_init": 0.017},
    }[place]
    with pytest.raises(RuntimeError, match=text):
        small(Est, **params).fit(X, y)


class MemoryHungry:
    """Training that finds no memory where the network has a large penalty."""

    def __init__(self, monkeypatch):
        run = Trainer.run

        def hungry(trainer):
            if trainer.recipe.alpha == 0.5:
                raise MemoryError("Unable to allocate 7.00 TiB")
            return run(trainer)

        monkeypatch.setattr(Trainer, "run", hungry)


@all_estimators
def test_no_memory_for_one_candidate(Est, monkeypatch):
    X, y = problem(Est)
    MemoryHungry(monkeypatch)
    grid = {"alpha": [0.1, 0.5], "activation": ["relu", "tanh"]}
    search = DropoutSearchCV(small(Est), grid, cv=2, error_score=-77.0)
    with pytest.warns(FitFailedWarning, match="fits failed"):
        search.fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    failed = [params["alpha"] == 0.5 for params in search.cv_results_["params"]]
    assert ((scores == -77.0) == failed).all()
    assert search.best_params_["alpha"] == 0.1
    search = DropoutSearchCV(small(Est), grid, cv=2, error_score="raise")
    with pytest.raises(MemoryError, match="Unable to allocate"):
        search.fit(X, y)
    assert_unfitted(search)


@pytest.mark.parametrize("sizes", [(10**7, 10**7), (10**15,), (10**18, 10**18)])
def test_a_network_beyond_all_memory(sizes):
    X, y = problem(DropoutMLPClassifier)
    est = small(DropoutMLPClassifier, hidden_layer_sizes=sizes)
    with pytest.raises(MemoryError, match="smaller hidden_layer_sizes or batch_size"):
        est.fit(X, y)
    assert_unfitted(est)
    grid = {"hidden_layer_sizes": [sizes, (3,)]}
    search = DropoutSearchCV(small(DropoutMLPClassifier), grid, cv=2)
    with (
        pytest.warns(FitFailedWarning, match="fits failed"),
        pytest.warns(UserWarning, match="scores are non-finite"),
    ):
        search.fit(X, y)
    assert search.best_params_ == {"hidden_layer_sizes": (3,)}


@pytest.mark.slow  # the workers' start
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that kills")
@pytest.mark.filterwarnings("ignore:A worker stopped while some jobs were given:UserWarning")
@pytest.mark.slow
def test_killed_worker():
    """The search says so and stays unfitted; the next one has new workers."""
    X, y = problem(DropoutMLPClassifier)
    grid = {"activation": ["relu", "tanh"], "dropout_rate": [0.0, 0.5]}
    search = DropoutSearchCV(small(DropoutMLPClassifier), grid, cv=2, n_jobs=2)
    expected = DropoutSearchCV(small(DropoutMLPClassifier), grid, cv=2).fit(X, y)
    parent = os.getpid()

    def scorer(est, X, y):  # as the system ends a process where memory runs out
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.0

    search.set_params(scoring=scorer)
    with joblib.parallel_config("loky"), pytest.raises(TerminatedWorkerError, match="terminated"):
        search.fit(X, y)
    assert_unfitted(search)
    with joblib.parallel_config("loky"):
        search.set_params(scoring=None).fit(X, y)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )


# Threads


def in_two_threads(*works):
    """Results of works that start at the same moment, each in a new thread."""
    barrier = threading.Barrier(len(works))

    def run(work):
        before = torch.get_num_threads(), surroundings()["denormals"]
        barrier.wait()
        result = work()
        assert (torch.get_num_threads(), surroundings()["denormals"]) == before
        return result

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


@pytest.mark.parametrize("n_threads", [2, slow(1), slow(3)])
@all_estimators
def test_fits_in_threads_give_what_they_give_one_after_another(Est, n_threads):
    X, y = problem(Est)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)

    def work(seed):
        est = small(Est, random_state=seed, max_iter=10)
        return answers(est.fit(X, y), X), np.concatenate([c.ravel() for c in est.coefs_])

    works = [lambda seed=seed: work(seed) for seed in range(4)]
    expected = [work() for work in works]
    try:
        for _ in range(2):
            for got, alone in zip(in_two_threads(*works), expected, strict=True):
                np.testing.assert_array_equal(got[0], alone[0])
                np.testing.assert_array_equal(got[1], alone[1])
            assert torch.get_num_threads() == n_threads
            assert threads_of_a_new_thread() == n_threads
    finally:
        torch.set_num_threads(before)


@all_estimators
def test_searches_and_predictions_in_threads(Est):
    X, y = problem(Est)
    est = small(Est).fit(X, y)

    def search():
        grid = {"dropout_rate": [0.0, 0.4], "activation": ["relu", "tanh"]}
        return DropoutSearchCV(small(Est), grid, cv=2).fit(X, y).cv_results_["mean_test_score"]

    def predict():
        return np.stack([answers(est, X) for _ in range(20)])

    works = [search, predict, search, predict]
    expected = [work() for work in works]
    for got, alone in zip(in_two_threads(*works), expected, strict=True):
        np.testing.assert_array_equal(got, alone)


def test_the_same_estimator_predicts_in_many_threads():
    X, y = problem(DropoutMLPRegressor, n=3_000)
    est = small(DropoutMLPRegressor, hidden_layer_sizes=(512,), max_iter=1).fit(X, y)
    expected = est.predict(X)
    for got in in_two_threads(*[lambda: est.predict(X)] * 4):
        np.testing.assert_array_equal(got, expected)


def test_threads_have_their_own_number_of_threads():
    """Inside, others keep theirs, and new threads start with what they would have had."""
    inside, outside = threading.Event(), threading.Event()

    def within():
        with torch_threads(1):
            inside.set()
            outside.wait()
            return torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(within)
        inside.wait()
        try:
            assert torch.get_num_threads() == 2
            assert threads_of_a_new_thread() == 2
            torch.set_num_threads(3)  # of this thread, and of new ones
        finally:
            outside.set()
        assert future.result() == 1
        assert threads_of_a_new_thread() == 3
        assert pool.submit(torch.get_num_threads).result() == 2
    torch.set_num_threads(2)


def test_results_do_not_depend_on_the_number_of_threads():
    def product(rows):
        rng = torch.Generator().manual_seed(rows.start)
        return torch.randn(64, 300, generator=rng) @ torch.randn(300, 90, generator=rng)

    results = []
    for n_threads in (1, 2, 3, 1):
        with torch_threads(n_threads):
            results.append(torch.cat(in_threads(product, 7, 1)))
            assert torch.get_num_threads() == n_threads
    assert all(torch.equal(result, results[0]) for result in results)


def test_threads_for_rows_compute_with_one_thread_each():
    assert threads_of_a_new_thread() == 2
    with torch_threads(2):
        assert in_threads(lambda rows: torch.get_num_threads(), 4, 1) == [1, 1, 1, 1]


def test_no_thread_to_be_had(monkeypatch):
    """Where the system gives no more threads the work is done all the same."""

    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with torch_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_workers_of_pytorch_do_not_inherit_the_flush_of_denormals():
    """Threads begin with the settings of the one that starts them."""

    def work():
        torch.set_num_threads(2)
        X, y = problem(DropoutMLPRegressor, n=400)
        est = DropoutMLPRegressor((300, 300), batch_size=400, max_iter=1, random_state=0)
        est.fit(X, y)  # large enough for two threads, the first work of this one
        tiny = torch.full((1 << 20,), 1e-30, dtype=torch.float32)
        return int((tiny * 1e-10 == 0).sum())

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result() == 0
