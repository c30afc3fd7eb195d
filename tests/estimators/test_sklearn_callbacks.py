"""scikit-learn's callbacks (1.9): the epochs are the subtasks of a fit."""

import numpy as np
import pytest
from _families import ALL, problem, small
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dropout import DropoutMLPClassifier, DropoutSearchCV

callback = pytest.importorskip("sklearn.callback")


class Recorder:
    """Keeps the path of each task, and what a network that can predict says after it."""

    def __init__(self, stop_after=None):
        self.begun, self.ended, self.scores = [], [], []
        self.lifecycle = []
        self.stop_after = stop_after

    def setup(self, estimator, context):
        self.lifecycle.append("setup")

    def teardown(self, estimator, context):
        self.lifecycle.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.begun.append((context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.ended.append((context.task_name, context.task_id))
        self.scores.append(fitted_estimator.score(X, y))
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


class Bar:
    """Needs no network, as a progress bar."""

    max_propagation_depth = None

    def __init__(self):
        self.names = []

    def setup(self, estimator, context):
        pass

    teardown = setup

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.names.append((context.estimator_name, context.task_name))


@pytest.mark.parametrize("Est", ALL)
def test_events_of_a_fit(Est):
    X, y = problem(Est)
    recorder = Recorder()
    est = small(Est).set_callbacks(recorder).fit(X, y)
    epochs = [("epoch", k) for k in range(3)]
    assert recorder.begun == [("fit", 0), *epochs]
    assert recorder.ended == [*epochs, ("fit", 0)]
    assert recorder.lifecycle == ["setup", "teardown"]
    assert recorder.scores[-1] == recorder.scores[-2] == est.score(X, y)
    assert recorder.scores[0] == small(Est, max_iter=1).fit(X, y).score(X, y)
    plain = small(Est).fit(X, y)
    for a, b in zip(plain.coefs_, est.coefs_):
        np.testing.assert_array_equal(a, b)
    assert not [name for name in vars(est) if "callback_fit" in name or "teardown" in name]


@pytest.mark.parametrize("Est", ALL)
def test_a_callback_may_stop_a_fit(Est):
    X, y = problem(Est)
    est = small(Est, max_iter=50).set_callbacks(Recorder(stop_after=2)).fit(X, y)
    assert est.n_iter_ == 2


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_stop_leaves_the_network_of_that_epoch(solver):
    """Callbacks that need no network are called for many epochs at once, and may stop at any."""
    X, y = problem(DropoutMLPClassifier)

    class Stop(Bar):
        def on_fit_task_end(self, estimator, context):
            return context.task_name == "epoch" and context.task_id == 6

    params = {"solver": solver, "input_dropout_rate": 0.1}
    stopped = small(DropoutMLPClassifier, max_iter=50, **params).set_callbacks(Stop()).fit(X, y)
    plain = small(DropoutMLPClassifier, max_iter=7, **params).fit(X, y)
    assert stopped.n_iter_ == 7
    assert stopped.loss_curve_ == plain.loss_curve_
    for a, b in zip(stopped.coefs_, plain.coefs_):
        np.testing.assert_array_equal(a, b)


def test_partial_fit_is_one_epoch():
    X, y = problem(DropoutMLPClassifier)
    recorder = Recorder()
    small(DropoutMLPClassifier).set_callbacks(recorder).partial_fit(X, y, np.unique(y))
    assert recorder.ended == [("epoch", 0), ("fit", 0)]


def test_monitor_of_scores():
    X, y = problem(DropoutMLPClassifier)
    monitor = callback.ScoringMonitor(scoring="accuracy")
    small(DropoutMLPClassifier).set_callbacks(monitor).fit(X, y)
    (log,) = monitor.get_logs() if isinstance(monitor.get_logs(), list) else [monitor.get_logs()]
    assert len(log.data) >= 3


def test_teardown_after_an_error():
    X, y = problem(DropoutMLPClassifier)
    recorder = Recorder()
    est = small(DropoutMLPClassifier, dropout_rate=2.0).set_callbacks(recorder)
    with pytest.raises(ValueError, match="outside"):
        est.fit(X, y)
    assert recorder.lifecycle == ["setup", "teardown"]
    assert not hasattr(est, "classes_")


def paths(search, X, y, **params):
    """Tasks of all begins and ends of a search, in a fixed order, and its scores."""
    recorder = Tree()
    fitted = clone(search).set_params(**params).set_callbacks(recorder).fit(X, y)
    return sorted(recorder.begun), sorted(recorder.ended), fitted.cv_results_["mean_test_score"]


class Tree:
    """Keeps the names and numbers of the tasks from the root to each one."""

    max_propagation_depth = None

    def __init__(self):
        self.begun, self.ended = [], []

    def setup(self, estimator, context):
        pass

    teardown = setup

    @staticmethod
    def path(context):
        steps = []
        while context is not None:
            names = context.estimator_name, context.source_estimator_name or ""
            steps.append((context.task_name, context.task_id, context.max_subtasks, *names))
            context = context.parent
        return tuple(reversed(steps))

    def on_fit_task_begin(self, estimator, context, *, X, y):
        self.begun.append((self.path(context), () if X is None else np.shape(X)))

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        score = float(fitted_estimator.score(X, y)) if hasattr(fitted_estimator, "score") else -1
        self.ended.append((self.path(context), score))


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("around", [False, True], ids=["network", "pipeline"])
def test_the_tree_of_a_search_is_that_of_scikit_learn(around, n_jobs):
    """A bar on a search made it ten times slower, since every candidate was fitted on its own."""
    X, y = problem(DropoutMLPClassifier)
    model, name = small(DropoutMLPClassifier), "dropout_rate"
    if around:
        model, name = make_pipeline(StandardScaler(), model), f"dropoutmlpclassifier__{name}"
    grid, cv = {name: [0.0, 0.3, 0.5]}, 2
    ours = paths(DropoutSearchCV(model, grid, cv=cv), X, y, n_jobs=n_jobs)
    theirs = paths(GridSearchCV(model, grid, cv=cv), X, y)
    plain = DropoutSearchCV(model, grid, cv=cv).fit(X, y)
    names = ["DropoutSearchCV", "GridSearchCV"]
    assert str(ours[:2]).replace(*names) == str(theirs[:2])
    np.testing.assert_allclose(ours[2], plain.cv_results_["mean_test_score"])
    assert len(ours[0]) == 1 + 1 + 6 * (1 + around * 2 + 3) + 1 + around * 2 + 3


def test_callbacks_of_a_search_share_its_fits():
    """Data are checked once for each fold, as without callbacks."""
    X, y = problem(DropoutMLPClassifier)
    calls = []

    class Network(Tree):
        def on_fit_task_begin(self, estimator, context):
            calls.append(context.task_name)

        def on_fit_task_end(self, estimator, context):
            return context.task_name == "epoch" and context.task_id == 1  # enough

    search = DropoutSearchCV(
        small(DropoutMLPClassifier, max_iter=50), {"dropout_rate": [0.0, 0.1]}, cv=2
    )
    with pytest.MonkeyPatch.context() as patch:
        checks = []
        original = DropoutMLPClassifier._validate
        patch.setattr(
            DropoutMLPClassifier,
            "_validate",
            lambda self, X, y="no_validation", *, reset: (
                checks.append(reset),
                original(self, X, y, reset=reset),
            )[1],
        )
        search.set_callbacks(Network()).fit(X, y)
    assert sum(checks) == 2 + 1  # folds, and the last fit
    assert calls.count("epoch") == 5 * 2
    assert search.best_estimator_.n_iter_ == 2


def test_callbacks_of_a_network_that_is_searched():
    X, y = problem(DropoutMLPClassifier)
    counts = []
    for Search in (GridSearchCV, DropoutSearchCV):
        recorder = Recorder()
        network = small(DropoutMLPClassifier).set_callbacks(recorder)
        Search(network, {"dropout_rate": [0.0, 0.1]}, cv=2).fit(X, y)
        counts.append((len(recorder.begun), len(recorder.ended), len(recorder.lifecycle)))
    assert counts[0] == counts[1] == (5 * 4, 5 * 4, 5 * 2)
