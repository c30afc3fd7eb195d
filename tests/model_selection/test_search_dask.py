"""A search on a cluster of real worker processes."""

import logging
import os
import signal
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dropout import DropoutMLPClassifier, DropoutSearchCV

distributed = pytest.importorskip("distributed")

GRID = {
    "dropout_rate": [0.0, 0.2, 0.4],
    "hidden_layer_sizes": [(4,), (5, 3)],
    "activation": ["relu", "tanh"],
}


def classifier(**params):
    params = {"max_iter": 3, "batch_size": 10, "random_state": 0} | params
    return DropoutMLPClassifier(**params)


def data(n=60):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 4))
    return X, (X[:, 0] + 0.4 * rng.standard_normal(n) > 0).astype(int)


def search(est, grid, **options):
    options = {"cv": 3, "scoring": "neg_log_loss", "error_score": "raise"} | options
    return DropoutSearchCV(est, grid, return_train_score=True, **options)


def assert_same_scores(got, expected):
    names = [name for name in expected if name.startswith(("split", "mean_t", "std_t"))]
    assert list(got) == list(expected)
    for name in names:
        np.testing.assert_allclose(got[name], expected[name], 1e-6, 1e-6, err_msg=name)


@pytest.fixture(scope="module")
def cluster():
    """A client of a cluster of two worker processes with one thread each, on loopback."""
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,  # the death of a worker, which is meant, is reported
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(2)
        yield client


def worker_of_scorer(estimator, X, y):
    """Number of the process, which is no score but tells who did the work."""
    return float(os.getpid())


def test_same_scores_on_a_cluster(cluster):
    X, y = data()
    expected = search(classifier(), GRID).fit(X, y)
    with joblib.parallel_config("dask"):
        got = search(classifier(), GRID).fit(X, y)
    assert_same_scores(got.cv_results_, expected.cv_results_)
    assert got.best_params_ == expected.best_params_
    np.testing.assert_array_equal(got.predict_proba(X), expected.predict_proba(X))


def test_same_scores_of_a_pipeline_with_weights(cluster):
    X, y = data()
    model = make_pipeline(StandardScaler(), classifier(early_stopping=True, max_iter=10))
    grid = {f"dropoutmlpclassifier__{name}": values for name, values in GRID.items()}
    weight = {"dropoutmlpclassifier__sample_weight": np.linspace(0.5, 2, len(y))}
    expected = search(model, grid).fit(X, y, **weight)
    with joblib.parallel_config("dask"):
        got = search(model, grid).fit(X, y, **weight)
    assert_same_scores(got.cv_results_, expected.cv_results_)


def test_work_is_done_by_the_workers(cluster):
    X, y = data()
    pids = set(cluster.run(os.getpid).values())
    with joblib.parallel_config("dask"):
        fitted = search(classifier(), GRID, scoring=worker_of_scorer, refit=False).fit(X, y)
    results = fitted.cv_results_
    seen = {pid for k in range(3) for pid in results[f"split{k}_test_score"]}
    assert seen <= pids
    assert os.getpid() not in pids


def test_error_in_a_worker_of_the_cluster(cluster):
    X, y = data()
    grid = {"learning_rate_init": [0.01, 1e30]}
    with joblib.parallel_config("dask"), pytest.raises(ValueError, match="training diverged"):
        search(classifier(), grid).fit(X, y)
    # The cluster goes on working.
    assert sorted(cluster.gather(cluster.map(abs, [-1, 2]))) == [1, 2]


def test_bar_of_a_cluster(cluster, capsys):
    X, y = data()
    with joblib.parallel_config("dask"):
        search(classifier(), GRID, verbose=1, refit=False).fit(X, y)
    err = capsys.readouterr().err
    assert "108/108" in err


def test_data_are_not_sent_with_every_chunk(cluster):
    """Dask warns of tasks that hold more than 10 MiB."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 460))
    y = (X[:, 0] > 0).astype(int)
    est = classifier(max_iter=1, batch_size=1500)
    grid = {"hidden_layer_sizes": [(2,), (3,), (4,)]}
    expected = search(est, grid, refit=False, cv=2).fit(X, y)
    with warnings.catch_warnings(record=True) as caught, joblib.parallel_config("dask"):
        warnings.simplefilter("always")  # an error in Dask's own thread would go unseen
        got = search(est, grid, refit=False, cv=2).fit(X, y)
    assert [str(warning.message) for warning in caught] == []
    assert_same_scores(got.cv_results_, expected.cv_results_)


class DeadlyScorer:
    """Kills its own worker process, once in a search."""

    def __init__(self, marker, pid):
        self.marker = str(marker)
        self.pid = pid  # of the main process, which has to live

    def __call__(self, estimator, X, y):
        if os.getpid() != self.pid:
            try:
                os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return estimator.predict_proba(X)[:, 1].sum()


def test_worker_that_dies_of_its_task(cluster, tmp_path):
    X, y = data()
    marker = tmp_path / "killed"
    scorer = DeadlyScorer(marker, os.getpid())
    expected = search(classifier(), GRID, scoring=scorer).fit(X, y)
    assert not marker.exists()
    with joblib.parallel_config("dask"):
        got = search(classifier(), GRID, scoring=scorer).fit(X, y)
    assert marker.exists()
    assert_same_scores(got.cv_results_, expected.cv_results_)


class WaitingScorer:
    """Leaves a file when a worker has begun, and waits until one has been killed."""

    def __init__(self, folder, pid):
        self.folder = str(folder)
        self.pid = pid

    def __call__(self, estimator, X, y):
        if os.getpid() != self.pid:
            killed = os.path.join(self.folder, "killed")
            open(os.path.join(self.folder, f"begun {os.getpid()}"), "w").close()
            end = time.monotonic() + 60
            while not os.path.exists(killed) and time.monotonic() < end:
                time.sleep(0.02)
        return estimator.predict_proba(X)[:, 1].sum()


def test_worker_that_is_killed_in_mid_search(cluster, tmp_path):
    X, y = data()
    cluster.wait_for_workers(2)
    scorer = WaitingScorer(tmp_path, os.getpid())
    expected = search(classifier(), GRID, scoring=scorer).fit(X, y)
    victims = []

    def kill():
        while not victims and not finished.wait(0.02):
            begun = list(tmp_path.glob("begun *"))
            if begun:
                victims.append(int(begun[0].name.split()[1]))
                os.kill(victims[0], signal.SIGKILL)
        (tmp_path / "killed").touch()

    finished = threading.Event()
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with joblib.parallel_config("dask"):
            got = search(classifier(), GRID, scoring=scorer).fit(X, y)
    finally:
        finished.set()
        killer.join()
    assert len(victims) == 1
    assert_same_scores(got.cv_results_, expected.cv_results_)
    cluster.wait_for_workers(2)
    assert victims[0] not in cluster.run(os.getpid).values()
