"""Predictions with dropout on: what a pass computes, and the laws of what is made of many."""

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.special import expit, softmax
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV
from sklearn_dropout.dropout.streams import Streams

SMALL = {"hidden_layer_sizes": (8, 5), "max_iter": 4, "random_state": 0, "batch_size": 16}
ALL_DROPOUT = {"dropout_rate": 0.3, "input_dropout_rate": 0.2, "spatial_dropout_rate": 0.2}
NO_DROPOUT = dict.fromkeys(ALL_DROPOUT, 0.0)
SEEDS = [0, 1, 2]

# The kinds of targets, each with the estimator that learns it and how many answers a row has.
TARGETS = {
    "binary": (DropoutMLPClassifier, lambda s: s[:, 0] > 0, 2),
    "classes": (DropoutMLPClassifier, lambda s: np.digitize(s[:, 0], [-0.5, 0.5]), 3),
    "labels": (DropoutMLPClassifier, lambda s: (s > 0).astype(int), 3),
    "number": (DropoutMLPRegressor, lambda s: 3 * s[:, 0] + 7, 1),
    "numbers": (DropoutMLPRegressor, lambda s: s * [1, 10, 0.1] + [0, 5, -1], 3),
    "counts": (DropoutMLPRegressor, lambda s: np.floor(np.exp(s[:, 0] + 1)), 1),
}
all_targets = pytest.mark.parametrize("kind", TARGETS)
regressions = pytest.mark.parametrize("kind", ["number", "numbers", "counts"])


def problem(kind, seed=0, n=50):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6))
    signal = np.stack([X[:, 0] + X[:, 1], X[:, 2] - X[:, 3], X[:, 4] * X[:, 5]], axis=1)
    return X, TARGETS[kind][1](signal + 0.1 * rng.standard_normal((n, 3)))


def fitted(kind, seed=0, n=50, **params):
    """A fitted estimator and the inputs it was fitted on."""
    X, y = problem(kind, seed, n)
    loss = {"loss": "poisson"} if kind == "counts" else {}
    return TARGETS[kind][0](**SMALL | ALL_DROPOUT | loss | params).fit(X, y), X


def answers(est, X):
    """What is predicted with dropout off, with a column for each answer."""
    y = est.predict_proba(X) if is_classifier(est) else est.predict(X)
    return y.reshape(len(y), -1)


FUNCTIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "selu": lambda z: torch.selu(torch.from_numpy(z)).numpy(),
    "tanh": np.tanh,
}


def by_hand(est, X, random_state, n_samples):
    """Each pass by itself in NumPy: masks on the activations, then scikit-learn's output."""
    n, layers = est._draw_masks(n_samples, Streams(random_state))
    assert n == n_samples
    samples = []
    for sample in range(n_samples):
        a = X
        for i, (W, b) in enumerate(zip(est.coefs_, est.intercepts_)):
            if layers[i] is not None:
                multiplier, addend = layers[i]
                a = a * multiplier[sample].numpy()
                a = a if addend is None else a + addend[sample].numpy()
            z = a @ W + b
            a = FUNCTIONS[est.activation](z)
        samples.append(z)
    z = np.array(samples)
    if est.out_activation_ == "softmax":
        return softmax(z, axis=2)
    if est.out_activation_ == "logistic":
        return expit(z if z.shape[2] > 1 else np.concatenate([-z, z], axis=2))
    return np.exp(z) if est.out_activation_ == "exp" else z


# What a pass computes


@all_targets
def test_shapes_and_precision(kind):
    est, X = fitted(kind)
    for dtype in (np.float32, np.float64):
        samples = est.sample_predictions(X.astype(dtype), n_samples=7)
        assert samples.shape == (7, 50, TARGETS[kind][2])
        assert samples.dtype == dtype
        parts = est.predict_uncertainty(X.astype(dtype), n_samples=7)
        assert {part.dtype for part in vars(parts).values()} == {np.dtype(dtype)}
        answer = est.predict_proba(X) if is_classifier(est) else est.predict(X)
        assert parts.mean.shape == answer.shape
        shape = (50,) if kind in ("binary", "classes") else answer.shape
        assert parts.total.shape == parts.aleatoric.shape == parts.epistemic.shape == shape


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"hidden_layer_sizes": (60,), "input_dropout_rate": 0, "spatial_dropout_rate": 0},
        {"hidden_layer_sizes": (60, 70, 3), "dropout_rate": [0, 0.4, 0]},
        {"hidden_layer_sizes": (9, 60, 7), "dropout_rate": [0.2, 0, 0.5], "activation": "tanh"},
        {"hidden_layer_sizes": (9, 60), "input_dropout_rate": 0, "dropout_rate": 0},
        {"hidden_layer_sizes": (9, 60), "dropout_type": "gaussian", "input_noise_std": 0.1},
        {"hidden_layer_sizes": (9, 60), "dropout_type": "alpha", "activation": "selu"},
        {"hidden_layer_sizes": (), "feature_groups": [0, 0, 1, 1, 2, 2], "dropout_rate": 0},
    ],
    ids=[
        "everywhere",
        "one product",
        "inputs and in the middle",
        "three",
        "groups",
        "gaussian",
        "alpha",
        "linear",
    ],
)
@all_targets
def test_a_pass_is_the_thinned_network(kind, params):
    est, X = fitted(kind, **params)
    X = np.concatenate([X, X + 0.1, X - 0.1])
    for n_rows in (1, 30, len(X)):
        samples = est.sample_predictions(X[:n_rows], 9, random_state=5)
        expected = by_hand(est, X[:n_rows], 5, 9)
        np.testing.assert_allclose(samples, expected, rtol=1e-4, atol=1e-4)


def test_masks_of_a_pass_are_those_of_the_rates():
    est, _ = fitted("number", dropout_rate=[0.5, 0.1], input_dropout_rate=0.25)
    est._dropout[0]["groups"][:] = 0
    _, layers = est._draw_masks(20_000, Streams(0))
    for (factor, addend), rate in zip(layers, [0.25, 0.5, 0.1]):
        assert addend is None
        assert len(factor) == 20_000
        assert (factor > 0).double().mean() == pytest.approx(1 - rate, abs=0.01)
        assert factor.max().item() == pytest.approx(1 / (1 - rate), rel=1e-4)
    pairs = torch.corrcoef(layers[1][0].T)
    assert (pairs - torch.eye(8)).abs().max() < 0.05


def two_units(**params):
    """y = 2 relu(3 x) - relu(x + 1) + 0.5, whose hidden units are 3 and 2 at x = 1."""
    est = DropoutMLPRegressor((2,), max_iter=1, random_state=0, **params)
    est.fit(np.array([[0.0], [1.0]]), [0.0, 1.0])
    est._parameters = (
        [np.array([[3.0, 1.0]]), np.array([[2.0], [-1.0]])],
        [np.array([0.0, 1.0]), np.array([0.5])],
    )
    est._target_location, est._target_scale = np.zeros(1), np.ones(1)
    est.noise_std_ = np.array([0.7])
    return est


def test_two_units_by_hand():
    """Sum of w h m / (1 - p): mean w h, variance (w h)**2 p / (1 - p), for each unit."""
    n = 20_000
    est = two_units(dropout_rate=0.25)
    mean, variance = 2 * 3 - 2 + 0.5, (6**2 + 2**2) * 0.25 / 0.75
    fourth = 3 * variance**2  # of a normal, more than of this
    for seed in SEEDS:
        parts = est.predict_uncertainty(np.ones((1, 1)), n, random_state=seed)
        assert parts.mean[0] == pytest.approx(mean, abs=4 * np.sqrt(variance / n))
        assert parts.epistemic[0] ** 2 == pytest.approx(variance, abs=4 * np.sqrt(fourth / n))
        assert parts.aleatoric[0] == 0.7
        assert parts.total[0] ** 2 == pytest.approx(0.49 + parts.epistemic[0] ** 2)
        samples = est.sample_predictions(np.ones((1, 1)), n, random_state=seed)
        values, counts = np.unique(samples.round(6), return_counts=True)
        np.testing.assert_allclose(values, [0.5 - 8 / 3, 0.5, 0.5 + 16 / 3, 8.5], atol=1e-5)
        shares = np.array([3, 1, 9, 3]) / 16
        np.testing.assert_allclose(counts / n, shares, atol=4 * np.sqrt(0.25 / n))


def test_two_units_with_input_dropout_by_hand():
    """A dropped input leaves y(0) = -0.5; a kept one is doubled: y(2) = 12 - 3 + 0.5."""
    n = 20_000
    est = two_units(dropout_rate=0.0, input_dropout_rate=0.5)
    for seed in SEEDS:
        parts = est.predict_uncertainty(np.ones((1, 1)), n, random_state=seed)
        assert parts.mean[0] == pytest.approx(4.5, abs=4 * 5 / np.sqrt(n))
        assert parts.epistemic[0] == pytest.approx(5, abs=0.05)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_marginals_are_those_of_the_module_in_training_mode(kind):
    est, X = fitted(kind, max_iter=30, hidden_layer_sizes=(20,))
    n = 4_000
    samples = est.sample_predictions(X[:5], n, random_state=0)
    torch.manual_seed(0)
    module, rows = est.module_.train(), torch.from_numpy(X[:5]).float()
    with torch.no_grad():
        theirs = torch.stack([module(rows) for _ in range(n)]).numpy()
    error = theirs.std(axis=0) * np.sqrt(2 / n)
    assert (np.abs(samples.mean(axis=0) - theirs.mean(axis=0)) < 5 * error + 1e-6).all()
    np.testing.assert_allclose(samples.std(axis=0), theirs.std(axis=0), rtol=0.15)


# Laws


@all_targets
def test_without_dropout_every_sample_is_the_prediction(kind):
    for seed in SEEDS:
        est, X = fitted(kind, seed, **NO_DROPOUT)
        samples = est.sample_predictions(X, 3)
        np.testing.assert_allclose(samples[0], samples[2], rtol=1e-12)
        np.testing.assert_allclose(samples[1], answers(est, X), rtol=1e-6, atol=1e-12)
        parts = est.predict_uncertainty(X, 3)
        np.testing.assert_allclose(parts.epistemic, 0, atol=1e-12)
        np.testing.assert_allclose(parts.total, parts.aleatoric, rtol=1e-12)
        if kind in ("number", "numbers"):
            assert (parts.epistemic == 0).all()
            std = est.predict(X, return_std=True, n_samples=3)[1].reshape(50, -1)
            np.testing.assert_allclose(std, np.tile(est.noise_std_, (50, 1)))


@all_targets
def test_a_vanishing_rate_leaves_the_prediction_and_no_spread(kind):
    for seed in SEEDS:
        distances, spreads = [], []
        for rate in (0.5, 0.05, 0.005):
            est, X = fitted(kind, seed, **NO_DROPOUT, max_iter=1)
            rates, *others = est._dropout
            est._dropout = ({name: r * 0 + rate for name, r in rates.items()}, *others)
            samples = est.sample_predictions(X, 2_000, random_state=seed)
            scale = answers(est, X).std()
            distances.append(np.abs(samples.mean(axis=0) - answers(est, X)).mean() / scale)
            spreads.append(samples.std(axis=0).mean() / scale)
        assert distances[2] < 0.03
        assert distances[2] < distances[0]
        assert spreads[2] < 0.4 * spreads[1] < 0.4 * 0.5 * spreads[0]


@pytest.mark.parametrize("kind", ["binary", "classes", "labels"])
def test_laws_of_classifiers(kind):
    for seed in SEEDS:
        est, X = fitted(kind, seed, max_iter=30)
        samples = est.sample_predictions(X, 40, random_state=seed)
        assert (samples >= 0).all()
        assert (samples <= 1).all()
        parts = est.predict_uncertainty(X, 40, random_state=seed)
        np.testing.assert_allclose(parts.mean, samples.mean(axis=0))
        np.testing.assert_allclose(parts.total, parts.aleatoric + parts.epistemic)
        assert (parts.epistemic >= 0).all()
        assert parts.epistemic.mean() > 1e-4
        n_classes = 2 if kind == "labels" else samples.shape[2]
        assert (parts.total <= np.log(n_classes) + 1e-12).all()
        if kind != "labels":
            np.testing.assert_allclose(samples.sum(axis=2), 1)
            np.testing.assert_allclose(parts.mean.sum(axis=1), 1)


@regressions
def test_laws_of_regressors(kind):
    for seed in SEEDS:
        est, X = fitted(kind, seed)
        samples = est.sample_predictions(X, 40, random_state=seed)
        parts = est.predict_uncertainty(X, 40, random_state=seed)
        shape = parts.mean.shape
        np.testing.assert_allclose(parts.mean, samples.mean(axis=0).reshape(shape))
        np.testing.assert_allclose(parts.epistemic, samples.std(axis=0).reshape(shape))
        np.testing.assert_allclose(parts.total**2, parts.aleatoric**2 + parts.epistemic**2)
        root = np.sqrt(parts.mean) if kind == "counts" else 1
        np.testing.assert_allclose(parts.aleatoric, root * np.ones(shape) * est.noise_std_)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_same_seed_same_samples(kind):
    est, X = fitted(kind)
    for seed in SEEDS:
        first = est.sample_predictions(X, 5, random_state=seed)
        np.random.default_rng().random(3)
        torch.rand(3)
        np.testing.assert_array_equal(est.sample_predictions(X, 5, random_state=seed), first)
        assert not np.array_equal(est.sample_predictions(X, 5, random_state=seed + 9), first)
    rng = np.random.RandomState(3)
    one, two = (est.sample_predictions(X, 5, random_state=rng) for _ in range(2))
    again = est.sample_predictions(X, 5, random_state=np.random.RandomState(3))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, two)
    one, two = (est.sample_predictions(X, 5) for _ in range(2))
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("kind", ["classes", "number"])
def test_more_passes_add_to_the_first_ones(kind):
    est, X = fitted(kind)
    many = est.sample_predictions(X, 30, random_state=1)
    np.testing.assert_allclose(est.sample_predictions(X, 7, random_state=1), many[:7], rtol=1e-10)


@all_targets
def test_samples_of_a_row_do_not_depend_on_the_rows_around_it(kind):
    est, X = fitted(kind, n=300)
    for seed in SEEDS:
        samples = est.sample_predictions(X, 6, random_state=seed)
        order = np.random.default_rng(seed).permutation(len(X))
        for rows in (order, order[:40], order[:2], order[:1], slice(100, 180)):
            part = est.sample_predictions(X[rows], 6, random_state=seed)
            np.testing.assert_allclose(part, samples[:, rows], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_blocks_and_threads_change_nothing(kind, monkeypatch):
    est, X = fitted(kind, n=300)
    one_call = est.sample_predictions(X, 20, random_state=0)
    parts = est.predict_uncertainty(X, 20, random_state=0)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        np.testing.assert_array_equal(est.sample_predictions(X, 20, random_state=0), one_call)
        for name, part in vars(est.predict_uncertainty(X, 20, random_state=0)).items():
            np.testing.assert_array_equal(part, getattr(parts, name))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    for values in (1, 30, 1000):
        monkeypatch.setattr("sklearn_dropout.estimators.monte_carlo._CHUNK_VALUES", values)
        monkeypatch.setattr("sklearn_dropout.nn.mlp_sampling._BLOCK_VALUES", 7 * values)
        again = est.sample_predictions(X[:40], 20, random_state=0)
        np.testing.assert_allclose(again, one_call[:, :40], rtol=1e-10, atol=1e-13)
        mean = est.predict_uncertainty(X[:40], 20, random_state=0).mean
        np.testing.assert_allclose(mean, parts.mean[:40], rtol=1e-10)


@pytest.mark.parametrize("kind", ["classes", "number"])
def test_memory_is_bounded(kind, monkeypatch):
    """No block has more values than a chunk, however many rows and passes there are."""
    est, X = fitted(kind)
    sizes, answer = [], est._answers
    monkeypatch.setattr(est, "_answers", lambda z: sizes.append(z.numel()) or answer(z))
    X = np.tile(X, (100, 1))
    est.predict_uncertainty(X, 500)
    assert sum(sizes) == 500 * len(X) * est.n_outputs_
    assert max(sizes) <= 1 << 20
    assert len(sizes) >= 3


@all_targets
def test_nothing_else_changes(kind):
    est, X = fitted(kind)
    before, state = pickle.dumps(est), {k: v.clone() for k, v in est.module_.state_dict().items()}
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    for call in (est.sample_predictions, est.predict_uncertainty):
        for random_state in (None, 3):
            call(X, 3, random_state)
    assert pickle.dumps(est) == before
    for name, value in est.module_.state_dict().items():
        assert torch.equal(value, state[name])
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert torch.get_default_dtype() == torch.float32


def test_an_error_in_a_thread_leaves_the_settings(monkeypatch):
    est, X = fitted("number", n=300)

    def fail(z):
        raise KeyboardInterrupt

    monkeypatch.setattr(est, "_answers", fail)
    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        est.predict_uncertainty(X)
    assert torch.get_num_threads() == before
    assert torch.is_grad_enabled()


# Inputs


@pytest.mark.parametrize("kind", ["classes", "number"])
def test_kinds_of_inputs(kind):
    pandas = pytest.importorskip("pandas")
    est, X = fitted(kind)
    X[X < 0.5] = 0
    expected = est.sample_predictions(X, 5, random_state=0)
    for other in (sparse.csr_array(X), torch.from_numpy(X), X.tolist()):
        np.testing.assert_allclose(est.sample_predictions(other, 5, random_state=0), expected)
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    named = clone(est).fit(frame, problem(kind)[1])
    assert named.sample_predictions(frame, 5).shape == expected.shape
    with pytest.raises(ValueError, match="feature names should match"):
        named.sample_predictions(frame[list("bacdef")], 5)


@pytest.mark.parametrize("call", ["sample_predictions", "predict_uncertainty"])
@pytest.mark.parametrize("kind", ["classes", "number"])
def test_arguments_are_checked(kind, call):
    est, X = fitted(kind)
    call = getattr(est, call)
    for n_samples in (0, -3):
        with pytest.raises(ValueError, match=f"n_samples={n_samples} must be at least 1"):
            call(X, n_samples)
    for n_samples in (1.0, "many", None, True):
        with pytest.raises(TypeError, match=f"n_samples={n_samples!r} must be an int"):
            call(X, n_samples)
    assert call(X, np.int64(2)) is not None
    for random_state in ("seed", -1, 1.5):
        with pytest.raises((TypeError, ValueError), match=f"random_state={random_state!r}"):
            call(X, 2, random_state)
    with pytest.raises(ValueError, match="has 5 features"):
        call(X[:, :5])
    with pytest.raises(ValueError, match="NaN"):
        call(np.full_like(X, np.nan))
    with pytest.raises(NotFittedError):
        getattr(clone(est), call.__name__)(X)


def test_rates_in_force_are_those_of_the_fit():
    est, X = fitted("number")
    before = est.sample_predictions(X, 5, random_state=0)
    est.set_params(dropout_rate=0.9)
    np.testing.assert_array_equal(est.sample_predictions(X, 5, random_state=0), before)


# As scikit-learn's Gaussian process


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_return_std_is_like_that_of_a_gaussian_process(n_outputs):
    est, X = fitted("number" if n_outputs == 1 else "numbers")
    y = problem("number" if n_outputs == 1 else "numbers")[1]
    process = GaussianProcessRegressor(RBF(), optimizer=None, alpha=0.1).fit(X, y)
    ours, theirs = (model.predict(X, return_std=True) for model in (est, process))
    assert isinstance(ours, tuple)
    assert [part.shape for part in ours] == [part.shape for part in theirs]
    for model in (est, process):
        assert model.predict(X, return_std=False).shape == ours[0].shape


@regressions
def test_return_std_gives_mean_and_total(kind):
    est, X = fitted(kind)
    mean, std = est.predict(X, return_std=True, n_samples=20, random_state=1)
    parts = est.predict_uncertainty(X, 20, random_state=1)
    np.testing.assert_array_equal(mean, parts.mean)
    np.testing.assert_array_equal(std, parts.total)
    np.testing.assert_array_equal(est.predict(X, n_samples=20), est.predict(X))


def test_through_a_pipeline():
    X, y = problem("number")
    model = make_pipeline(StandardScaler(), DropoutMLPRegressor(**SMALL)).fit(X, y)
    mean, std = model.predict(X, return_std=True, n_samples=20, random_state=1)
    direct = model[-1].predict(model[:-1].transform(X), True, 20, 1)
    np.testing.assert_array_equal(mean, direct[0])
    np.testing.assert_array_equal(std, direct[1])
    with config_context(enable_metadata_routing=True):
        network = DropoutMLPRegressor(**SMALL)
        network.set_predict_request(return_std=True, n_samples=True, random_state=True)
        routed = make_pipeline(StandardScaler(), network).fit(X, y)
        theirs = routed.predict(X, return_std=True, n_samples=20, random_state=1)
    np.testing.assert_array_equal(theirs[1], std)


def test_through_a_transformed_target_as_a_gaussian_process():
    """Arguments arrive; a pair of answers is more than it can transform back."""
    X, y = problem("number")
    for regressor in (DropoutMLPRegressor(**SMALL), GaussianProcessRegressor()):
        model = TransformedTargetRegressor(regressor, transformer=StandardScaler()).fit(X, y)
        assert model.predict(X, return_std=False).shape == y.shape
        with pytest.raises(AttributeError, match="'tuple' object has no attribute 'ndim'"):
            model.predict(X, return_std=True)
        mean, std = model.regressor_.predict(X, return_std=True)
        assert mean.shape == std.shape == y.shape


def test_classifiers_have_no_standard_deviation():
    est, X = fitted("classes")
    with pytest.raises(TypeError, match="return_std"):
        est.predict(X, return_std=True)


# Noise


@pytest.mark.parametrize("early_stopping", [False, True])
@regressions
def test_noise_is_the_residual_of_the_validation_rows(kind, early_stopping):
    for seed in SEEDS:
        X, y = problem(kind, seed)
        X_val, y_val = problem(kind, seed + 10, n=30)
        weight = np.random.default_rng(seed).uniform(0.5, 2, 30)
        loss = {"loss": "poisson"} if kind == "counts" else {}
        est = DropoutMLPRegressor(**SMALL | loss, early_stopping=early_stopping)
        est.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
        mean = answers(est, X_val)
        squares = np.average((y_val.reshape(30, -1) - mean) ** 2, axis=0, weights=weight)
        if kind == "counts":
            squares = squares / np.average(mean, axis=0, weights=weight)
        np.testing.assert_allclose(est.noise_std_, np.sqrt(squares), rtol=1e-4)
        assert est.noise_std_.shape == (est.n_outputs_,)


class LastEpoch(Callback):
    """Keeps targets and outputs of the batches of the latest epoch."""

    def on_epoch_begin(self, net, **kwargs):
        self.batches_ = []

    def on_batch_end(self, net, batch, training, y_pred, **kwargs):
        if training:
            self.batches_.append([batch[1].reshape(y_pred.shape).clone(), y_pred.clone()])


@regressions
def test_noise_without_validation_rows_is_the_residual_of_the_last_epoch(kind):
    """With dropout on, each batch before its update."""
    for seed in SEEDS:
        seen = LastEpoch()
        est, X = fitted(kind, seed, callbacks=[seen])
        y, mean = (torch.cat(part).double().numpy() for part in zip(*seen.batches_))
        assert len(y) == len(X)
        noise = ((y - mean) ** 2).mean(axis=0)
        scale = est._target_scale
        noise = noise / mean.mean(axis=0) * scale if kind == "counts" else noise * scale**2
        np.testing.assert_allclose(est.noise_std_, np.sqrt(noise), rtol=1e-4)
        silent = clone(est).set_params(callbacks=None).fit(X, problem(kind, seed)[1])
        np.testing.assert_allclose(silent.noise_std_, est.noise_std_, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [16, 200])
def test_noise_of_weighted_rows(batch_size):
    """Weights count like copies; here each batch is one that holds all rows, or there are four."""
    X, y = problem("number", n=64)
    weight = np.random.default_rng(0).integers(1, 4, 64).astype(float)
    params = SMALL | {"batch_size": batch_size, "max_iter": 6}
    weighted = DropoutMLPRegressor(**params, dropout_rate=0).fit(X, y, sample_weight=weight)
    before = DropoutMLPRegressor(**params | {"max_iter": 5}, dropout_rate=0)
    before.fit(X, y, sample_weight=weight)
    residual = np.average((y - before.predict(X)) ** 2, weights=weight)
    rtol = 1e-4 if batch_size == 200 else 0.1  # several updates in an epoch
    np.testing.assert_allclose(weighted.noise_std_**2, residual, rtol=rtol)


def test_noise_is_in_the_units_of_the_targets():
    X, y = problem("numbers")
    est = DropoutMLPRegressor(**SMALL).fit(X, y)
    scaled = DropoutMLPRegressor(**SMALL).fit(X, 1024 * y)
    np.testing.assert_array_equal(scaled.noise_std_, 1024 * est.noise_std_)


def test_noise_of_partial_fit_is_that_of_fit():
    X, y = problem("number")
    est = DropoutMLPRegressor(**SMALL).fit(X, y)
    parts = DropoutMLPRegressor(**SMALL)
    for _ in range(SMALL["max_iter"]):
        parts.partial_fit(X, y)
    np.testing.assert_allclose(parts.noise_std_, est.noise_std_, rtol=1e-6)


def noise_score(est, X, y):
    return est.noise_std_[0]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_noise_in_a_search_is_that_of_single_fits(early_stopping):
    X, y = problem("number", n=60)
    grid = {"dropout_rate": [0.0, 0.2, 0.5], "random_state": [0, 1]}
    est = DropoutMLPRegressor(**SMALL | {"early_stopping": early_stopping})
    shared, single = (
        Search(est, grid, scoring=noise_score, cv=3).fit(X, y).cv_results_
        for Search in (DropoutSearchCV, GridSearchCV)
    )
    for split in range(3):
        name = f"split{split}_test_score"
        np.testing.assert_allclose(shared[name], single[name], rtol=1e-4)


def linear_problem(seed, n, sigma):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 5))
    return X, X @ [1, 0.5, -0.5, 0.2, 0] + sigma * rng.standard_normal(n)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
def test_known_noise_is_found(loss):
    for seed in SEEDS:
        X, y = linear_problem(seed, 1000, sigma=0.5)
        params = {"loss": loss, "dropout_rate": 0.02, "learning_rate_init": 0.01, "max_iter": 60}
        est = DropoutMLPRegressor(**SMALL | params).fit(X, 10 * y)
        assert est.noise_std_[0] == pytest.approx(5, rel=0.15)


def test_counts_of_a_poisson_distribution_have_a_dispersion_of_one():
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((1000, 2))
        rate = np.exp(1 + 0.7 * X[:, 0])
        params = {"loss": "poisson", "dropout_rate": 0.05, "learning_rate_init": 0.01}
        est = DropoutMLPRegressor(**SMALL | params | {"max_iter": 30}).fit(X, rng.poisson(rate))
        assert est.noise_std_[0] == pytest.approx(1, rel=0.15)
        parts = est.predict_uncertainty(X)
        np.testing.assert_allclose(parts.aleatoric, est.noise_std_ * np.sqrt(parts.mean))


@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize(
    ("n", "hidden", "rate"), [(500, (50,), 0.05), (300, (50,), 0.2), (600, (100, 50), 0.2)]
)
def test_intervals_cover(n, hidden, rate, validation):
    """95% intervals hold 90 to 99% of new targets."""
    for seed in SEEDS:
        X, y = linear_problem(seed, n, sigma=0.5)
        params = {"dropout_rate": rate, "batch_size": 32, "max_iter": 60, "random_state": seed}
        est = DropoutMLPRegressor(hidden, **params)
        if validation:
            n_train = n * 3 // 4
            est.fit(X[:n_train], y[:n_train], X_val=X[n_train:], y_val=y[n_train:])
        else:
            est.fit(X, y)
        X_new, y_new = linear_problem(seed + 100, 3000, sigma=0.5)
        mean, std = est.predict(X_new, return_std=True, random_state=0)
        covered = np.mean(np.abs(y_new - mean) < 1.96 * std)
        assert 0.90 <= covered <= 0.99
