"""Saved and loaded estimators answer bit for bit as before; nothing else is in the file."""

import copy
import io
import os
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch
from _families import ALL, ONE_OF_EACH_FAMILY, answers, problem, small, spread
from sklearn.base import is_classifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dropout import (
    DropoutMLPClassifier,
    DropoutMLPRegressor,
    DropoutSearchCV,
)

all_estimators = pytest.mark.parametrize("Est", ALL)


def through_pickle(est):
    return pickle.loads(pickle.dumps(est))


def through_joblib(est):
    file = io.BytesIO()
    joblib.dump(est, file)
    file.seek(0)
    return joblib.load(file)


def through_cloudpickle(est):
    cloudpickle = pytest.importorskip("cloudpickle")
    return pickle.loads(cloudpickle.dumps(est))


def through_skops(est, trusted=None):
    skops = pytest.importorskip("skops.io")
    if trusted is None:
        trusted = trusted_types(est)
    return skops.loads(skops.dumps(est), trusted=trusted)


# What stands for scoring=None in a search, the latter two before scikit-learn 1.8 only.
SCORER_OF_SCIKIT_LEARN = [
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
]


def trusted_types(est):
    """What the documentation says is to be trusted: the classes by name, nothing else of ours."""
    network, types = est, []
    if isinstance(est, DropoutSearchCV):
        types += ["sklearn_dropout.model_selection.search.DropoutSearchCV", *SCORER_OF_SCIKIT_LEARN]
        network = est.estimator
    if hasattr(network, "steps"):
        network = network[-1]
    return [*types, f"{type(network).__module__}.{type(network).__name__}"]


WAYS = [through_pickle, through_joblib, through_cloudpickle, through_skops, copy.deepcopy]
one_of_each_family = pytest.mark.parametrize("Est", ONE_OF_EACH_FAMILY)
all_ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


def assert_same(got, expected, X):
    np.testing.assert_array_equal(got.predict(X), expected.predict(X))
    np.testing.assert_array_equal(answers(got, X), answers(expected, X))
    assert answers(got, X).dtype == answers(expected, X).dtype
    if hasattr(expected, "sample_predictions"):
        options = {"n_samples": 5, "random_state": 1}
        np.testing.assert_array_equal(
            got.sample_predictions(X, **options), expected.sample_predictions(X, **options)
        )


@all_ways
@spread(Est=ALL, dtype=[np.float32, np.float64])
def test_round_trip(Est, way, dtype):
    X, y = problem(Est)
    est = small(Est, early_stopping=True, validation_fraction=0.25).fit(X.astype(dtype), y)
    loaded = way(est)
    assert_same(loaded, est, X.astype(dtype))
    assert loaded.history_.to_list() == est.history_.to_list()
    assert loaded.loss_curve_ == est.loss_curve_
    assert loaded.get_params() == est.get_params()
    assert vars(loaded).keys() == vars(est).keys()
    with torch.inference_mode():
        outputs = [one.module_(torch.tensor(X, dtype=torch.float32)) for one in (loaded, est)]
    assert torch.equal(*outputs)


@all_ways
@one_of_each_family
def test_round_trip_between_calls_of_partial_fit(Est, way):
    """Training continues from where it was saved, masks and optimiser included."""
    X, y = problem(Est)
    classes = {"classes": np.unique(y)} if is_classifier(Est()) else {}
    params = {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 1.0}
    for est in (small(Est), small(Est, **params)):
        est.partial_fit(X, y, **classes).partial_fit(X, y)
        loaded = way(est)
        for _ in range(2):
            assert_same(loaded.partial_fit(X, y), est.partial_fit(X, y), X)


@all_ways
@one_of_each_family
def test_round_trip_of_an_unfitted_estimator(Est, way):
    X, y = problem(Est)
    est = small(Est)
    loaded = way(est)
    assert not loaded.__sklearn_is_fitted__()
    assert_same(loaded.fit(X, y), est.fit(X, y), X)


@all_ways
@one_of_each_family
def test_round_trip_of_a_pipeline_and_a_search(Est, way):
    X, y = problem(Est)
    model = make_pipeline(StandardScaler(), small(Est))
    assert_same(way(model.fit(X, y)), model, X)
    name = model.steps[-1][0]
    search = DropoutSearchCV(model, {f"{name}__dropout_rate": [0.0, 0.2]}, cv=2).fit(X, y)
    loaded = way(search)
    assert_same(loaded, search, X)
    assert loaded.best_params_ == search.best_params_
    assert loaded.score(X, y) == search.score(X, y)


@all_ways
def test_round_trip_of_other_kinds_of_targets(way):
    X, _ = problem(DropoutMLPRegressor)
    several = X[:, :2] + 0.1
    for est, y in [
        (small(DropoutMLPClassifier), (several > 0).astype(int)),
        (small(DropoutMLPClassifier), X[:, 0] > 0),
        (small(DropoutMLPRegressor), several),
        (small(DropoutMLPRegressor, loss="poisson"), np.exp(several)),
        (small(DropoutMLPRegressor, feature_groups=[0, 0, 1, 1, 2, 2]), X[:, 0]),
        (small(DropoutMLPRegressor, random_state=np.random.RandomState(0)), X[:, 0]),
        (small(DropoutMLPRegressor, hidden_layer_sizes=np.array([3, 2])), X[:, 0]),
    ]:
        est.fit(X, y)
        loaded = way(est)
        np.testing.assert_array_equal(loaded.predict(X), est.predict(X))
        np.testing.assert_array_equal(loaded.predict(X[:1]), est.predict(X[:1]))


@all_estimators
def test_types_that_skops_has_to_trust(Est):
    """A single class, with any record and any state for the next call of partial_fit."""
    skops = pytest.importorskip("skops.io")
    X, y = problem(Est)
    classes = {"classes": np.unique(y)} if is_classifier(Est()) else {}
    fitted = [
        small(Est).fit(X, y, X_val=X, y_val=y),
        small(Est, random_state=np.random.RandomState(3), callbacks=[]).fit(X, y),
        small(Est, solver=torch.optim.NAdam).fit(X, y),
        small(Est).partial_fit(X, y, **classes).partial_fit(X, y),
        make_pipeline(StandardScaler(), small(Est)).fit(X, y),
        DropoutSearchCV(small(Est), {"dropout_rate": [0.0, 0.2]}, cv=2).fit(X, y),
    ]
    for est in fitted:
        extra = (
            ["torch.optim.nadam.NAdam"] if getattr(est, "solver", 0) is torch.optim.NAdam else []
        )
        types = skops.get_untrusted_types(data=skops.dumps(est))
        expected = {*trusted_types(est), *extra}
        assert expected - {*SCORER_OF_SCIKIT_LEARN} <= {*types} <= expected
        loaded = through_skops(est, trusted=types)
        assert_same(loaded, est, X)


def test_what_callbacks_recorded_is_saved_in_plain_values():
    from skorch.callbacks import EpochTimer

    skops = pytest.importorskip("skops.io")
    X, y = problem(DropoutMLPClassifier)
    est = small(DropoutMLPClassifier, callbacks=[EpochTimer()]).fit(X, y)
    assert len(est.history_[:, "dur"]) == 3
    types = skops.get_untrusted_types(data=skops.dumps(est))
    assert set(types) - set(trusted_types(est)) == {"skorch.callbacks.logging.EpochTimer"}
    assert through_skops(est, types).history_.to_list() == est.history_.to_list()
    assert through_pickle(est).history_.to_list() == est.history_.to_list()


def values_of(est):
    return sum(array.size for part in est._parameters for array in part)


@all_estimators
def test_size_is_that_of_the_parameters(Est):
    """Neither training data nor masks nor optimiser state, which would be two copies more."""
    for units in (6, 100):
        est = small(Est, hidden_layer_sizes=(units,), spatial_dropout_rate=0.2)
        X, y = problem(Est, n=600)
        est.fit(X.astype(np.float32), y, X_val=X, y_val=y)
        # A regressor has its last layer once more, in the units of y.
        last = est.coefs_[-1].size + est.intercepts_[-1].size
        assert len(pickle.dumps(est)) <= 4 * (values_of(est) + last) + 6_000


@all_estimators
def test_size_does_not_depend_on_the_number_of_rows(Est):
    sizes = []
    for n in (60, 6_000):
        X, y = problem(Est, n=n)
        est = small(Est, batch_size=n, early_stopping=True, max_iter=2).fit(X, y)
        sizes.append(len(pickle.dumps(est)))
    assert abs(sizes[0] - sizes[1]) < 200


@all_estimators
def test_partial_fit_keeps_the_state_of_the_optimiser_and_fit_forgets_it(Est):
    X, y = problem(Est)
    classes = {"classes": np.unique(y)} if is_classifier(Est()) else {}
    est = small(Est, hidden_layer_sizes=(300,)).partial_fit(X, y, **classes)
    one_copy = 4 * values_of(est)
    n_rows = [len(pickle.dumps(est.partial_fit(X[:n], y[:n]))) for n in (10, 48)]
    assert abs(n_rows[0] - n_rows[1]) < 200
    with_state = n_rows[-1]
    without = len(pickle.dumps(est.fit(X, y)))
    assert one_copy < with_state - without < 2 * one_copy + 6_000


SCRIPT = """
import sys, pickle, numpy as np, torch
torch.set_num_threads(int(sys.argv[1]))
with open(sys.argv[2], "rb") as file:
    estimators, X, expected = pickle.load(file)
for est, answer in zip(estimators, expected, strict=True):
    got = est.predict_proba(X) if hasattr(est, "predict_proba") else est.predict(X)
    assert got.tobytes() == answer.tobytes(), type(est)
    assert torch.get_num_threads() == int(sys.argv[1])
print("same bits", len(estimators))
"""


@pytest.mark.parametrize("n_threads", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_another_process_with_another_number_of_threads(n_threads, tmp_path):
    estimators, expected = [], []
    for Est in ALL:
        X, y = problem(Est, n=700)
        est = small(Est, hidden_layer_sizes=(40,), max_iter=1).fit(X, y)
        estimators.append(est)
        expected.append(answers(est, X))
    with (tmp_path / "model.pkl").open("wb") as file:
        pickle.dump((estimators, X, expected), file)
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(n_threads), str(tmp_path / "model.pkl")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert out.stdout.split() == ["same", "bits", str(len(ALL))], out.stderr


@all_estimators
def test_a_model_of_an_absent_accelerator_predicts_on_the_cpu(Est):
    if torch.accelerator.is_available():
        pytest.skip("there is an accelerator")
    X, y = problem(Est)
    est = small(Est).fit(X, y)
    expected = answers(est, X)
    loaded = through_pickle(est.set_params(device="cuda:0"))
    np.testing.assert_array_equal(answers(loaded, X), expected)
    loaded.module_(torch.tensor(X, dtype=torch.float32))
    with pytest.raises(ValueError, match=r"device='cuda:0' cannot be used here"):
        loaded.fit(X, y)
    np.testing.assert_array_equal(answers(loaded, X), expected)


@all_estimators
def test_training_goes_on_here_after_an_accelerator(Est):
    """Streams of masks belong to a kind of device: on another one they are new."""
    X, y = problem(Est)
    classes = {"classes": np.unique(y)} if is_classifier(Est()) else {}
    est = small(Est).partial_fit(X, y, **classes)
    states = est._partial_state[1]["states"]
    for name in set(states) - {"ORDER"}:
        states[name] = torch.Generator().get_state().numpy()
    loaded = through_pickle(est).partial_fit(X, y)
    assert np.isfinite(loaded.loss_)
    for state in loaded._partial_state[1]["states"].values():
        assert state["bit_generator"] == "SFC64"


class FullDisk(io.RawIOBase):
    """A file on a disk that is full after some bytes."""

    def __init__(self, n_bytes):
        self.left = n_bytes

    def writable(self):
        return True

    def write(self, data):
        self.left -= len(data)
        if self.left < 0:
            raise OSError(28, "No space left on device")
        return len(data)


@spread(Est=ALL, dump=[pickle.dump, joblib.dump], n_bytes=[0, 300, 3_000])
def test_full_disk(Est, dump, n_bytes):
    X, y = problem(Est)
    est = small(Est, hidden_layer_sizes=(200,)).fit(X, y)
    before, names = answers(est, X), list(vars(est))
    with pytest.raises(OSError, match="No space left"):
        dump(est, FullDisk(n_bytes))
    assert list(vars(est)) == names
    np.testing.assert_array_equal(answers(est, X), before)
    assert_same(through_pickle(est), est, X)
