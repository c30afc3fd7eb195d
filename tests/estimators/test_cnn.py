"""Convolutional estimators: shapes of samples, parameters, errors, what all estimators share."""

import gzip
import os
import pickle
from functools import partial
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from _families import answers, assert_same, differ
from scipy import sparse
from scipy.signal import correlate
from scipy.special import softmax
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from skorch import NeuralNet
from skorch.callbacks import Callback

from sklearn_dropout import DropoutCNNClassifier, DropoutCNNRegressor, DropoutSearchCV
from sklearn_dropout.dropout.streams import Streams
from sklearn_dropout.estimators import cnn_family

ESTIMATORS = [DropoutCNNClassifier, DropoutCNNRegressor]
SHAPES = {"signals": (2, 12), "images": (2, 6, 7), "volumes": (1, 4, 5, 4)}
SMALL = {
    "hidden_layer_sizes": (6,),
    "conv_layer_sizes": (3, 4),
    "max_iter": 3,
    "batch_size": 16,
    "random_state": 0,
}
ALL_DROPOUT = {
    "dropout_rate": 0.3,
    "input_dropout_rate": 0.1,
    "spatial_dropout_rate": [0.2, 0.1],
    "conv_dropout_rate": [0.1, 0.3],
}
DATA = Path(os.environ.get("SKLEARN_DROPOUT_DATA", "nowhere"))

both = pytest.mark.parametrize("Est", ESTIMATORS)
all_shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def data(Est, shape=SHAPES["images"], seed=0, n=40):
    """Samples whose brightness tells the target."""
    rng = np.random.default_rng(seed)
    y = rng.uniform(-1, 1, n)
    X = y.reshape(-1, *[1] * len(shape)) + 0.5 * rng.standard_normal((n, *shape))
    return X, np.digitize(y, [-0.3, 0.3]) if is_classifier(Est()) else 10 * y + 3


def first_call(est, y):
    return {"classes": np.unique(y)} if is_classifier(est) else {}


# Shapes


@all_shapes
@both
def test_samples_in_their_shape_and_flattened_give_the_same_network(Est, shape):
    X, y = data(Est, shape)
    flat = X.reshape(len(X), -1)
    est = Est(**SMALL, **ALL_DROPOUT).fit(X, y)
    twin = Est(**SMALL, **ALL_DROPOUT, input_shape=shape).fit(flat, y)
    assert_same(est, twin, X)
    np.testing.assert_array_equal(answers(est, X), answers(est, flat))
    assert est.n_features_in_ == twin.n_features_in_ == prod(shape)
    assert [w.shape[2:] for w in est.coefs_[:2]] == [(3,) * (len(shape) - 1)] * 2
    assert est.n_layers_ == 5


@both
def test_a_table_without_a_shape_is_signals_of_one_channel(Est):
    X, y = data(Est, (1, 12))
    table = Est(**SMALL).fit(X[:, 0], y)
    assert_same(table, Est(**SMALL).fit(X, y), X)


@all_shapes
@both
def test_it_learns(Est, shape):
    X, y = data(Est, shape, n=120)
    est = Est(**SMALL | {"max_iter": 40, "learning_rate_init": 0.01, "dropout_rate": 0.1})
    assert est.fit(X[:80], y[:80]).score(X[80:], y[80:]) > 0.8


@pytest.mark.parametrize("convert", ["float32", "int", "list", "torch", "fortran"])
@both
def test_kinds_of_arrays(Est, convert):
    X, y = data(Est)
    X = np.round(4 * X)
    expected = Est(**SMALL).fit(X, y)
    converted = {
        "float32": partial(np.asarray, dtype=np.float32),
        "int": partial(np.asarray, dtype=np.int64),
        "list": np.ndarray.tolist,
        "torch": torch.tensor,
        "fortran": np.asfortranarray,
    }[convert](X)
    est = Est(**SMALL).fit(converted, y)
    for ours, theirs in zip(est.coefs_, expected.coefs_):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    np.testing.assert_allclose(answers(est, converted), answers(expected, X), rtol=1e-4, atol=1e-5)


@both
def test_sparse_rows_are_dense_rows(Est):
    X, y = data(Est)
    X = (X * (X > 0.5)).reshape(len(X), -1)
    params = SMALL | {"input_shape": SHAPES["images"]}
    dense, est = Est(**params).fit(X, y), Est(**params).fit(sparse.csr_array(X), y)
    assert_same(est, dense, X)
    np.testing.assert_array_equal(answers(est, sparse.csr_array(X)), answers(dense, X))


@both
def test_data_frames(Est):
    pandas = pytest.importorskip("pandas")
    X, y = data(Est)
    flat = X.reshape(len(X), -1)
    frame = pandas.DataFrame(flat, columns=[f"pixel{i}" for i in range(flat.shape[1])])
    params = SMALL | {"input_shape": SHAPES["images"]}
    est = Est(**params).fit(frame, y)
    assert list(est.feature_names_in_) == list(frame.columns)
    np.testing.assert_array_equal(answers(est, frame), answers(Est(**params).fit(X, y), X))


@both
def test_pipeline_with_a_scaler_on_flattened_images(Est):
    X, y = data(Est)
    flat = X.reshape(len(X), -1)
    model = make_pipeline(MinMaxScaler(), Est(**SMALL, input_shape=SHAPES["images"])).fit(flat, y)
    direct = Est(**SMALL).fit(MinMaxScaler().fit_transform(flat).reshape(X.shape), y)
    assert_same(model[-1], direct, X)


@all_shapes
@both
def test_a_rows_answer_does_not_depend_on_its_neighbours(Est, shape, monkeypatch):
    X, y = data(Est, shape)
    est = Est(**SMALL).fit(X, y)
    together = answers(est, X)
    alone = np.concatenate([answers(est, x[None]) for x in X])
    np.testing.assert_allclose(alone, together, rtol=1e-12)
    monkeypatch.setattr(cnn_family, "_CHUNK_VALUES", 7 * est._layout.widest)
    np.testing.assert_allclose(answers(est, X), together, rtol=1e-12)


# Networks


@both
def test_coefs_give_the_predictions(Est):
    """By SciPy: correlation, ReLU, the largest of each window, products."""
    X, y = data(Est)
    params = SMALL | {"conv_layer_sizes": (3,), "pool_size": (2, 3)}
    est = Est(**params, **ALL_DROPOUT | {"spatial_dropout_rate": 0.2, "conv_dropout_rate": 0.1})
    est.fit(X, y)
    (kernels, hidden, out), (b_conv, b_hidden, b_out) = est.coefs_, est.intercepts_
    maps = np.array(
        [[sum(correlate(c, k, "same") for c, k in zip(x, kernel)) for kernel in kernels] for x in X]
    )
    maps = np.maximum(maps + b_conv[:, None, None], 0)[:, :, :6, :6]
    pooled = maps.reshape(len(X), 3, 3, 2, 2, 3).max(axis=(3, 5))
    h = np.maximum(pooled.reshape(len(X), -1) @ hidden + b_hidden, 0)
    z = h @ out + b_out
    expected = softmax(z, axis=1) if is_classifier(est) else z[:, 0]
    np.testing.assert_allclose(answers(est, X), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "params",
    [
        {},
        ALL_DROPOUT,
        {"kernel_size": 2, "convs_per_block": 2, "activation": "gelu"},
        {"padding": "valid", "kernel_size": 2, "pool_size": 1, "hidden_layer_sizes": ()},
    ],
    ids=["defaults", "all dropout", "even kernel", "valid"],
)
@all_shapes
@both
def test_module_gives_the_predictions(Est, shape, params):
    X, y = data(Est, shape)
    X = X.astype(np.float32)
    est = Est(**SMALL | params).fit(X, y)
    module, expected = est.module_, answers(est, X)
    assert not module.training
    with torch.no_grad():
        for x in (X, X.reshape(len(X), -1)):
            outputs = module(torch.from_numpy(x)).numpy()
            assert outputs.shape == (len(X), est.n_outputs_)
            outputs = outputs.reshape(expected.shape)
            np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


@all_shapes
def test_module_has_its_dropout_layers_in_place(shape):
    X, y = data(DropoutCNNClassifier, shape)
    params = ALL_DROPOUT | {"spatial_dropout_rate": [0.0, 0.1], "convs_per_block": 2}
    module = DropoutCNNClassifier(**SMALL, **params).fit(X, y).module_
    d = max(2, len(shape) - 1)  # signals are images of height one
    # Pooling comes before activations that never decrease, and before the dropout of maps.
    block = [f"Conv{d}d", "ReLU", f"Conv{d}d", f"MaxPool{d}d", "ReLU"]
    assert [type(layer).__name__ for layer in module] == [
        *["Samples", "Dropout", *block, "Dropout"],
        *[*block, f"SpatialDropout{d}d", "Dropout"],
        *["Flatten", "Linear", "ReLU", "Dropout", "Linear", "Softmax"],
    ]
    rates = [m.rate for m in module if "Dropout" in str(type(m))]
    assert rates == [0.1, 0.1, 0.1, 0.3, 0.3]


@pytest.mark.parametrize(
    ("activation", "dropout_type"),
    [*product(["selu", "silu"], ["bernoulli", "gaussian"]), ("selu", "alpha")],
)
def test_a_block_computes_what_its_documented_order_does(activation, dropout_type):
    """Activation, dropout of maps, pooling; Gaussian factors may be negative."""
    X, y = data(DropoutCNNRegressor)
    options = SMALL | {"conv_layer_sizes": (3,), "dropout_rate": 0, "spatial_dropout_rate": 0.5}
    kinds = {"activation": activation, "dropout_type": dropout_type}
    module = DropoutCNNRegressor(**options, **kinds).fit(X, y).module_.train()
    layers = dict(module.named_children())
    names = ["conv_1_1", "conv_activation_1_1", "spatial_dropout_1", "pooling_1"]
    block = [layers.pop(name) for name in names]
    found, expected = [], []
    for seed in range(5):
        x = torch.from_numpy(X).float()
        torch.manual_seed(seed)
        found.append(module(x))
        torch.manual_seed(seed)
        for layer in [layers["samples"], *block, *[v for k, v in layers.items() if k != "samples"]]:
            x = layer(x)
        expected.append(x)
    torch.testing.assert_close(found, expected)
    assert not torch.equal(found[0], found[1])


@both
def test_net_is_a_skorch_net_that_predicts(Est):
    X, y = data(Est)
    X = X.astype(np.float32)
    est = Est(**SMALL).fit(X, y)
    assert isinstance(est.net_, NeuralNet)
    expected = est.predict(X)
    np.testing.assert_allclose(
        est.net_.predict(X).reshape(expected.shape), expected, rtol=1e-4, atol=1e-4
    )


# Parameters


@both
def test_parameters_that_must_matter_do(Est):
    X, y = data(Est)
    base = SMALL | {"conv_layer_sizes": (3,)}
    plain = Est(**base).fit(X, y)
    for change in [
        {"conv_layer_sizes": (4,)},
        {"convs_per_block": 2},
        {"kernel_size": (1, 3)},
        {"pool_size": 3},
        {"padding": "valid"},
        {"hidden_layer_sizes": ()},
        {"activation": "silu"},
        {"weight_init": "he_normal"},
        {"max_norm": 0.3},
        {"alpha": 10},
        {"input_dropout_rate": 0.5},
        {"spatial_dropout_rate": 0.5},
        {"conv_dropout_rate": 0.5},
        {"dropout_rate": 0.5},
    ]:
        assert differ(plain, Est(**base | change).fit(X, y)), change


@pytest.mark.parametrize(
    ("name", "rates"),
    [("spatial_dropout_rate", 0.4), ("conv_dropout_rate", 0.4), ("dropout_rate", 0.4)],
)
@both
def test_one_rate_is_the_same_rate_everywhere(Est, name, rates):
    X, y = data(Est)
    params = SMALL | {"hidden_layer_sizes": (6, 5)}
    one = Est(**params, **{name: rates}).fit(X, y)
    assert_same(one, Est(**params, **{name: [rates, rates]}).fit(X, y), X)
    assert differ(one, Est(**params, **{name: [rates, 0.0]}).fit(X, y))


KINDS = {
    "input_dropout_rate": "input",
    "spatial_dropout_rate": "maps",
    "conv_dropout_rate": "elements",
    "dropout_rate": "hidden",
}


@both
def test_what_is_dropped_in_one_place_changes_nothing_in_another(Est):
    X, y = data(Est, n=16)
    rates = dict.fromkeys(ALL_DROPOUT, 0.5)
    _, everything = Est(**SMALL, **rates).fit(X, y)._draw_masks(3, Streams(0))
    assert sorted(everything) == sorted(KINDS.values())
    for name in rates:
        est = Est(**SMALL, **dict.fromkeys(rates, 0.0) | {name: 0.5}).fit(X, y)
        _, lanes = est._draw_masks(3, Streams(0))
        assert list(lanes) == [KINDS[name]]
        for ours, theirs in zip(lanes[KINDS[name]], everything[KINDS[name]], strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.RMSprop])
@both
def test_max_norm_is_kept(Est, solver):
    X, y = data(Est)
    est = Est(**SMALL, max_norm=0.4, solver=solver, learning_rate_init=0.01).fit(X, y)
    filters = [np.sqrt((w.astype(float) ** 2).sum(axis=(1, 2, 3))) for w in est.coefs_[:2]]
    for norms in [*filters, np.linalg.norm(est.coefs_[2], axis=0)]:
        assert 0.2 < norms.max() <= 0.4 * (1 + 1e-5)
        assert norms.max() == pytest.approx(0.4, rel=1e-5) or norms is not filters[0]


@pytest.mark.parametrize("weight_init", ["glorot_uniform", "he_uniform"])
@both
def test_initial_weights_count_the_positions_of_a_kernel(Est, weight_init):
    """Glorot & Bengio 2010: a unit of a map has 9 weights for each map below it, and above."""
    X, y = data(Est)
    still = {"solver": "sgd", "learning_rate_init": 1e-30, "max_iter": 1}
    est = Est(**SMALL | still | {"conv_layer_sizes": (50, 60)}, weight_init=weight_init).fit(X, y)
    n_in, n_out = 9 * 50, 9 * 60
    bound = (6 / n_in) ** 0.5 if weight_init == "he_uniform" else (6 / (n_in + n_out)) ** 0.5
    largest = np.abs(est.coefs_[1]).max()
    assert 0.99 * bound < largest <= bound * (1 + 1e-6)
    assert np.abs(est.intercepts_[1]).max() <= (6 / (n_in + n_out)) ** 0.5 * (1 + 1e-6)


@both
def test_parameters_set_after_the_fit_do_not_change_the_network(Est):
    X, y = data(Est)
    est = Est(**SMALL, **ALL_DROPOUT).fit(X, y)
    before, module = answers(est, X), str(est.module_)
    est.set_params(conv_layer_sizes=(9,), pool_size=1, padding="valid", hidden_layer_sizes=(2,))
    est.set_params(spatial_dropout_rate=0.0, activation="tanh", kernel_size=5, input_shape=(1, 84))
    np.testing.assert_array_equal(answers(est, X), before)
    assert str(est.module_) == module
    assert len(est._draw_masks(2, Streams(0))) == 2


# Bad input


def fitted(Est):
    return Est(**SMALL).fit(*data(Est))


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"pool_size": 7}, ValueError, r"shape \(2, 6, 7\) .*84\) are too small: pool_size=\(7, 7"),
        ({"padding": "valid", "kernel_size": 7}, ValueError, r"kernel_size=\(7, 7\).*'valid'"),
        ({"conv_layer_sizes": (3,) * 4}, ValueError, "block 3 of 4. Use fewer conv_layer_sizes"),
        (
            {"kernel_size": (3, 3, 3)},
            ValueError,
            r"kernel_size=\(3, 3, 3\) has 3 numbers for the 2",
        ),
        ({"pool_size": [2]}, ValueError, r"pool_size=\[2\] has 1 numbers for the 2"),
        ({"kernel_size": (3, 0)}, ValueError, r"kernel_size=\(3, 0\) must be a whole number > 0"),
        ({"kernel_size": (3, 1.5)}, ValueError, r"kernel_size=\(3, 1.5\) must be a whole number"),
        ({"kernel_size": 0}, ValueError, "'kernel_size' parameter"),
        ({"padding": "full"}, ValueError, "'padding' parameter"),
        ({"padding": 1}, ValueError, "'padding' parameter"),
        ({"conv_layer_sizes": ()}, ValueError, r"conv_layer_sizes=\(\) has no block"),
        ({"conv_layer_sizes": (3, -1)}, ValueError, "conv_layer_sizes must be > 0"),
        ({"conv_layer_sizes": (3, 2.5)}, ValueError, "conv_layer_sizes must be > 0, a whole"),
        ({"convs_per_block": 0}, ValueError, "'convs_per_block' parameter"),
        ({"spatial_dropout_rate": [0.1] * 3}, ValueError, "3 rates for 2 blocks of conv_layer"),
        ({"conv_dropout_rate": [0.1]}, ValueError, r"conv_dropout_rate=\[0.1\] has 1 rates for 2"),
        ({"dropout_rate": [0.1, 0.2]}, ValueError, "2 rates for 1 hidden layers"),
        ({"conv_dropout_rate": 1.0}, ValueError, r"conv_dropout_rate=1.0 is outside \[0, 1\)"),
        ({"spatial_dropout_rate": "all"}, ValueError, "'spatial_dropout_rate' parameter"),
        ({"input_shape": (1, 6, 7)}, ValueError, r"shape \(2, 6, 7\).*input_shape=\(1, 6, 7\)"),
        ({"input_shape": (84,)}, ValueError, r"input_shape=\(84,\) must be \(channels, length\)"),
        ({"input_shape": (2, 6.5, 7)}, ValueError, r"input_shape=\(2, 6.5, 7\) must be"),
        ({"input_shape": (2, -6, -7)}, ValueError, r"input_shape=\(2, -6, -7\) must be"),
    ],
)
@both
def test_bad_parameters(Est, params, error, message):
    X, y = data(Est)
    est = Est(**SMALL | params)
    with pytest.raises(error, match=message):
        est.fit(X, y)
    assert not [name for name in vars(est) if name.endswith("_")]
    assert not est.__sklearn_is_fitted__()


@both
def test_an_input_shape_that_does_not_multiply_to_the_number_of_features(Est):
    X, y = data(Est)
    est = Est(**SMALL, input_shape=(3, 6, 7))
    with pytest.raises(ValueError, match=r"input_shape=\(3, 6, 7\) has 126 values, .* has 84"):
        est.fit(X.reshape(len(X), -1), y)


@pytest.mark.parametrize("shape", [(1, 6, 7), (3, 6, 7), (2, 7, 6), (2, 42), (2, 6, 7, 1)])
@both
def test_samples_of_another_shape_than_in_fit(Est, shape):
    """Also where the number of values is the same."""
    est = fitted(Est)
    X, y = data(Est, shape, n=5)
    message = rf"\({', '.join(map(str, shape))}\).* was fitted on samples of shape \(2, 6, 7\)"
    before = [w.copy() for w in est.coefs_]
    with pytest.raises(ValueError, match=message):
        est.predict(X)
    with pytest.raises(ValueError, match=message):
        est.partial_fit(X, y)
    with pytest.raises(ValueError, match=f"X_val, y_val: .*{message}"):
        Est(**SMALL).fit(*data(Est), X_val=X, y_val=y)
    for ours, theirs in zip(est.coefs_, before):
        np.testing.assert_array_equal(ours, theirs)


@both
def test_a_table_of_another_width_than_in_fit(Est):
    with pytest.raises(ValueError, match=r"83 features, but .* is expecting 84"):
        fitted(Est).predict(np.zeros((2, 83)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@both
def test_values_that_are_not_finite(Est, bad):
    X, y = data(Est)
    X[3, 1, 2, 2] = bad
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        Est(**SMALL).fit(X, y)


@pytest.mark.parametrize("shape", [(), (7,), (4, 1, 2, 2, 2, 2)])
@both
def test_wrong_numbers_of_axes(Est, shape):
    with pytest.raises(ValueError, match=r"Expected 2D array|three dimensions besides channels"):
        Est(**SMALL).fit(np.zeros(shape), np.arange(4))


@both
def test_no_samples(Est):
    with pytest.raises(ValueError, match="0 sample"):
        Est(**SMALL).fit(np.zeros((0, 2, 6, 7)), np.zeros(0))


@both
def test_warm_start_with_another_architecture(Est):
    X, y = data(Est)
    est = Est(**SMALL, warm_start=True).fit(X, y)
    est.set_params(conv_layer_sizes=(3, 5))
    with pytest.raises(ValueError, match=r"\(5, 3, 3, 3\).* call fit with warm_start=False"):
        est.fit(X, y)


# What the estimators share


@both
def test_equal_rows_and_weights(Est):
    """Where a batch holds everything, weight k and k copies are the same, bit for bit."""
    X, y = data(Est, n=20)
    weight = np.arange(20) % 3
    params = SMALL | ALL_DROPOUT | {"batch_size": 200}
    weighted = Est(**params).fit(X, y, sample_weight=weight)
    copies = Est(**params).fit(X.repeat(weight, axis=0), y.repeat(weight))
    assert_same(weighted, copies, X)


@pytest.mark.parametrize("variant", [{}, {"solver": "sgd"}, {"max_norm": 1.0, "shuffle": False}])
@both
def test_calls_of_partial_fit_are_the_epochs_of_a_fit(Est, variant):
    X, y = data(Est)
    est = Est(**SMALL | ALL_DROPOUT | variant)
    for _ in range(SMALL["max_iter"]):
        est.partial_fit(X, y, **first_call(est, y))
    assert_same(est, Est(**SMALL | ALL_DROPOUT | variant).fit(X, y), X)


@both
def test_warm_start_goes_on_from_the_last_weights(Est):
    X, y = data(Est)
    params = SMALL | {"solver": "sgd", "momentum": 0, "dropout_rate": 0, "shuffle": False}
    uninterrupted = Est(**params | {"max_iter": 6}).fit(X, y)
    halves = Est(**params, warm_start=True).fit(X, y).fit(X.reshape(len(X), -1), y)
    for one, other in zip(uninterrupted.coefs_, halves.coefs_):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@both
def test_early_stopping_restores_the_best_epoch(Est):
    X, y = data(Est)
    X_val, y_val = data(Est, seed=1)
    params = SMALL | ALL_DROPOUT | {"learning_rate_init": 0.03, "max_iter": 25}
    est = Est(**params, early_stopping=True, n_iter_no_change=3)
    est.fit(X, y, X_val=X_val, y_val=y_val)
    assert est.score(X_val, y_val) == pytest.approx(est.best_validation_score_, abs=1e-5)
    best = int(np.argmax(est.validation_scores_)) + 1
    again = Est(**params | {"max_iter": best}).fit(X, y)
    for one, other in zip(est.coefs_, again.coefs_):
        np.testing.assert_array_equal(one, other)
    assert Est(**params, early_stopping=True).fit(X, y).n_iter_ <= 25


@both
def test_scorers_see_rows_of_a_table(Est):
    X, y = data(Est)
    scoring = "neg_log_loss" if is_classifier(Est()) else "neg_mean_absolute_error"
    est = Est(**SMALL, scoring=scoring).fit(X, y, X_val=X, y_val=y)
    assert len(est.validation_scores_) == SMALL["max_iter"]
    assert est.history_[-1, "train_score"] == pytest.approx(est.validation_scores_[-1])


class Zeroing(Callback):
    """Writes to the first filter and counts its calls."""

    def __init__(self):
        self.events = []

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.events.append({name: p.grad.abs().sum().item() for name, p in named_parameters})

    def on_batch_end(self, net, **kwargs):
        with torch.no_grad():
            net.module_.conv_1_1.weight[0].zero_()


@both
def test_callbacks_see_and_change_the_network_in_training(Est):
    X, y = data(Est)
    watcher = Zeroing()
    est = Est(**SMALL, **ALL_DROPOUT, callbacks=[watcher]).fit(X, y, X_val=X, y_val=y)
    assert len(watcher.events) == SMALL["max_iter"] * 3
    assert all(value > 0 for value in watcher.events[0].values())
    assert not est.coefs_[0][0].any()
    assert est.coefs_[0][1].any()


@both
def test_callbacks_that_do_nothing_change_nothing(Est):
    X, y = data(Est)
    params = SMALL | ALL_DROPOUT
    watched = Est(**params, callbacks=[Callback()]).fit(X, y)
    assert_same(watched, Est(**params).fit(X, y), X)


@both
def test_copies_and_pickles(Est):
    X, y = data(Est)
    est = Est(**SMALL, **ALL_DROPOUT).partial_fit(X, y, **first_call(Est(), y))
    twin = pickle.loads(pickle.dumps(est))
    assert_same(twin.partial_fit(X, y), est.partial_fit(X, y), X)
    assert_same(clone(est).fit(X, y), Est(**SMALL, **ALL_DROPOUT).fit(X, y), X)
    large = Est(**SMALL, **ALL_DROPOUT).fit(*data(Est, n=300))
    assert abs(len(pickle.dumps(large)) - len(pickle.dumps(clone(est).fit(X, y)))) < 100


# Search


@pytest.mark.parametrize(
    ("Est", "n_jobs"),
    [
        (DropoutCNNClassifier, None),
        pytest.param(DropoutCNNRegressor, 2, marks=pytest.mark.slow),
    ],
)
def test_search_gives_the_scores_of_grid_search(Est, n_jobs):
    X, y = data(Est)
    grid = {
        "spatial_dropout_rate": [0.0, [0.5, 0.2]],
        "conv_dropout_rate": [0.0, [0.0, 0.4]],
        "conv_layer_sizes": [(3, 4)],
    }
    est, options = Est(**SMALL, learning_rate_init=0.02), {"cv": 2, "return_train_score": True}
    ours = DropoutSearchCV(est, grid, n_jobs=n_jobs, **options).fit(X, y)
    theirs = GridSearchCV(est, grid, **options).fit(X, y)
    for part in ("test", "train"):
        for split in range(2):
            key = f"split{split}_{part}_score"
            np.testing.assert_allclose(ours.cv_results_[key], theirs.cv_results_[key], rtol=1e-5)
    assert len(set(ours.cv_results_["mean_train_score"])) > 1
    assert_same(ours.best_estimator_, theirs.best_estimator_, X)


@both
def test_search_over_shapes_in_a_pipeline(Est):
    X, y = data(Est)
    flat = X.reshape(len(X), -1)
    model = make_pipeline(StandardScaler(), Est(**SMALL))
    name = Est.__name__.lower()
    grid = {
        f"{name}__input_shape": [None, (2, 6, 7), (1, 12, 7)],
        f"{name}__spatial_dropout_rate": [0.0, 0.3],
    }
    ours = DropoutSearchCV(model, grid, cv=2).fit(flat, y)
    theirs = GridSearchCV(model, grid, cv=2).fit(flat, y)
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=1e-5
    )


# Monte Carlo dropout


class Multiply(torch.nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def thinned(est, lanes, number):
    """The plain module with its dropout layers replaced by the factors of one pass."""
    module, layout, rank = est.module_.double(), est._layout, max(2, len(est._layout.kernel_size))
    names = {"input_dropout": ("input", 0), "dropout_1": ("hidden", 0)}
    for block in (0, 1):
        names[f"spatial_dropout_{block + 1}"] = ("maps", block)
        names[f"conv_dropout_{block + 1}"] = ("elements", block)
    for name, (kind, site) in names.items():
        rate = est.dropout_rates_[kind][site]
        levels = round(rate * 65536)
        kept = lanes[kind][site][number] >= levels - 32768
        factor = kept.double() * (65536 / (65536 - levels))
        if kind == "maps":
            factor = factor.view(-1, *[1] * rank)
        elif kind != "hidden":
            channels, *positions = [layout.input_shape, *layout.output_shapes][
                site + (kind == "elements")
            ]
            positions = positions if len(positions) > 1 else [1, *positions]
            factor = factor.view(*positions, channels).movedim(-1, 0)
        assert name in dict(module.named_children())
        setattr(module, name, Multiply(factor))
    return module[:-1]


@all_shapes
def test_samples_are_those_of_thinned_networks(shape):
    X, y = data(DropoutCNNClassifier, shape)
    est = DropoutCNNClassifier(**SMALL, **ALL_DROPOUT).fit(X, y)
    rows = torch.from_numpy(X.reshape(len(X), -1))
    masks = est._draw_masks(5, Streams(3))
    samples = est._sample_outputs(rows, masks)
    assert samples.shape == (5, len(X), 3)
    for number, sample in enumerate(samples):
        with torch.no_grad():
            expected = thinned(est, masks[1], number)(rows)
        torch.testing.assert_close(sample, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "rates",
    [
        ALL_DROPOUT,
        {"dropout_rate": 0.4},
        {"dropout_rate": 0, "spatial_dropout_rate": [0, 0.4]},
        {"dropout_rate": 0, "conv_dropout_rate": [0.4, 0]},
        {"dropout_rate": 0, "input_dropout_rate": 0.4},
    ],
    ids=["everywhere", "dense", "maps", "elements", "inputs"],
)
@both
def test_samples_of_a_row_do_not_depend_on_the_rows_around(Est, rates, monkeypatch):
    X, y = data(Est)
    est = Est(**SMALL | rates).fit(X, y)
    rows = torch.from_numpy(X.reshape(len(X), -1))
    masks = est._draw_masks(4, Streams(1))
    uninterrupted = est._sample_outputs(rows, masks)
    alone = torch.cat([est._sample_outputs(row[None], masks) for row in rows], dim=1)
    torch.testing.assert_close(alone, uninterrupted, rtol=1e-10, atol=1e-12)
    monkeypatch.setattr(cnn_family, "_CHUNK_VALUES", 5 * est._layout.widest)
    torch.testing.assert_close(
        est._sample_outputs(rows, masks), uninterrupted, rtol=1e-10, atol=1e-12
    )
    dense = est.sample_predictions(rows.numpy(), 4, 1)
    sparse_rows = est.sample_predictions(sparse.csr_array(rows.numpy()), 4, 1)
    np.testing.assert_allclose(sparse_rows, dense, rtol=1e-10, atol=1e-12)
    assert (uninterrupted.std(0) > 0).any()
    more = est._sample_outputs(rows, est._draw_masks(6, Streams(1)))
    torch.testing.assert_close(more[:4], uninterrupted, rtol=1e-12, atol=1e-13)
    assert not torch.equal(est._sample_outputs(rows, est._draw_masks(4, Streams(2))), uninterrupted)


@both
def test_samples_without_dropout_are_the_outputs(Est):
    X, y = data(Est)
    est = Est(**SMALL | {"dropout_rate": 0}).fit(X, y)
    samples = est._sample_outputs(
        torch.from_numpy(X.reshape(len(X), -1)), est._draw_masks(3, Streams(0))
    )
    for sample in samples.detach().numpy():
        np.testing.assert_allclose(sample, est._outputs(X), rtol=1e-12, atol=1e-13)


@both
def test_the_mean_of_samples_of_a_linear_head_is_the_output(Est):
    """Within 5 standard errors of 4,000 passes, maps and elements dropped before a linear layer."""
    X, y = data(Est, n=10)
    rates = {"spatial_dropout_rate": [0, 0.3], "conv_dropout_rate": [0, 0.4]}
    est = Est(**SMALL | {"hidden_layer_sizes": ()} | rates).fit(X, y)
    samples = est._sample_outputs(
        torch.from_numpy(X.reshape(len(X), -1)), est._draw_masks(4000, Streams(0))
    )
    samples = samples.detach().numpy()
    error = samples.std(0) / len(samples) ** 0.5
    assert (error > 0).all()
    assert (np.abs(samples.mean(0) - est._outputs(X)) < 5 * error).all()


# Pictures


def mnist():
    """10,000 images of shape (28, 28) with values in [0, 1], and what they show."""
    folder = DATA / "mnist"
    if not folder.exists():
        pytest.skip("no MNIST in SKLEARN_DROPOUT_DATA")

    def read(name, offset):
        content = gzip.decompress((folder / name).read_bytes())
        return np.frombuffer(content, np.uint8, offset=offset)

    images = read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    return images.astype(np.float32) / 255, read("t10k-labels-idx1-ubyte.gz", 8)


@pytest.mark.slow
def test_digits_are_read():
    """2,000 digits to learn from, 2,000 others to read: at least 96% right."""
    X, y = mnist()
    train, test = np.random.default_rng(0).permutation(len(y))[:4000].reshape(2, -1)
    clf = DropoutCNNClassifier(
        (100,),
        conv_layer_sizes=(16, 32),
        kernel_size=5,
        dropout_rate=0.5,
        spatial_dropout_rate=0.1,
        conv_dropout_rate=[0, 0.2],
        batch_size=32,
        learning_rate_init=0.002,
        max_iter=15,
        random_state=0,
    ).fit(X[train], y[train])
    assert clf.score(X[test], y[test]) >= 0.96
