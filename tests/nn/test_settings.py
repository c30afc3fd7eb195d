"""Settings of PyTorch, and processes that are forks of one that has computed with threads.

The threads of OpenMP do not survive a fork. A child that waits for them hangs, as happened to users
of joblib's multiprocessing backend and of web servers that load the model before they fork.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_dropout import DropoutMLPClassifier

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")

_BEFORE = """
import os, sys, time, warnings
import numpy as np
import torch
from sklearn_dropout import *

torch.set_num_threads(2)
big = torch.rand(400, 400)
(big @ big) + big  # starts the threads of OpenMP
rng = np.random.default_rng(0)
X = rng.standard_normal((300, 256)).astype(np.float32)
y = X[:, 0] > 0
"""

_IN_CHILD = {
    "wide": "DropoutMLPClassifier((300, 300), batch_size=300, max_iter=1).fit(X, y).predict(X)",
    "pytorch": "DropoutMLPClassifier((300, 300), batch_size=300, max_iter=1, engine='torch')"
    ".fit(X, y).predict_proba(X)",
    "cnn": "DropoutCNNClassifier((40,), input_shape=(1, 16, 16), max_iter=1).fit(X, y).predict(X)",
    "rnn": "DropoutRNNClassifier((40,), input_shape=(16, 16), max_iter=1, "
    "recurrent_dropout_rate=0.2).fit(X, y).predict(X)",
    "probabilities": "model.predict_proba(many)",
    "logarithms": "model.predict_log_proba(many)",
    "hidden": "model.hidden_features(many)",
    "samples": "model.predict_uncertainty(X)",
    "passes": "model.predict_uncertainty(X[:3], n_samples=3000)",
}

_FORK = """
model = DropoutMLPClassifier((300, 300), batch_size=300, max_iter=1).fit(X, np.arange(300) % 16)
many = np.tile(X, (10, 1))
for name, work in {works}.items():
    child = os.fork()
    if child == 0:
        status = 1
        try:
            exec(work)
            status = 0
        finally:
            os._exit(status)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        sys.exit(name + " hangs")
    if os.waitstatus_to_exitcode(status):
        sys.exit(name + " fails")
"""

_SEARCH = """
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV
model = DropoutMLPClassifier((300, 300), batch_size=300, max_iter=1, random_state=0).fit(X, y)
grid = {"dropout_rate": [0.0, 0.5]}
with parallel_config("multiprocessing"):
    theirs = GridSearchCV(model, grid, cv=2, n_jobs=2).fit(X, y)
    ours = DropoutSearchCV(model, grid, cv=2, n_jobs=2).fit(X, y)
for name in ("mean_test_score", "std_test_score"):
    np.testing.assert_allclose(ours.cv_results_[name], theirs.cv_results_[name], atol=0.02)
"""


@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_autocast_changes_nothing(engine):
    """Probabilities came in bfloat16, which NumPy does not have."""
    X = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
    y = np.arange(40) % 3
    est = DropoutMLPClassifier((6,), max_iter=3, random_state=0, engine=engine)
    plain = clone(est).fit(X, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = clone(est).fit(X, y)
        probabilities = cast.predict_proba(X)
        logarithms = cast.predict_log_proba(X)
        features = cast.hidden_features(X)
        samples = cast.sample_predictions(X, n_samples=3, random_state=0)
    np.testing.assert_array_equal(probabilities, plain.predict_proba(X))
    np.testing.assert_array_equal(logarithms, plain.predict_log_proba(X))
    np.testing.assert_array_equal(features, plain.hidden_features(X))
    np.testing.assert_array_equal(samples, plain.sample_predictions(X, 3, random_state=0))


@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_strict_floating_point_errors_change_nothing(engine):
    X = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
    est = DropoutMLPClassifier((6,), max_iter=3, random_state=0, engine=engine)
    plain = clone(est).fit(X, X[:, 0] > 0)
    with np.errstate(all="raise"):
        strict = clone(est).fit(X, X[:, 0] > 0)
    np.testing.assert_array_equal(strict.coefs_[0], plain.coefs_[0])


def run(code):
    """Run code in a new process, for at most two minutes."""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@forks
def test_forked_children_do_not_hang():
    run(_BEFORE + _FORK.format(works=_IN_CHILD))


@pytest.mark.slow
@forks
def test_searches_in_forked_workers_do_not_hang():
    run(_BEFORE + _SEARCH)
