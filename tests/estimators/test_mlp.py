"""Perceptrons with dropout: parameters, inputs, fitted attributes and what follows from them."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from _families import answers, assert_same, differ, spread
from scipy import sparse
from scipy.special import erf, expit, softmax
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from skorch import NeuralNet

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor

ESTIMATORS = [DropoutMLPClassifier, DropoutMLPRegressor]
THEIRS = {DropoutMLPClassifier: MLPClassifier, DropoutMLPRegressor: MLPRegressor}
SMALL = {"hidden_layer_sizes": (8, 5), "max_iter": 4, "random_state": 0, "batch_size": 16}
ALL_DROPOUT = {"dropout_rate": 0.3, "input_dropout_rate": 0.2, "spatial_dropout_rate": 0.2}

_SELU = (1.0507009873554805, 1.6732632423543772)
ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "selu": lambda z: _SELU[0] * np.where(z > 0, z, _SELU[1] * np.expm1(z)),
    "gelu": lambda z: z * 0.5 * (1 + erf(z / np.sqrt(2))),
    "silu": lambda z: z * expit(z),
}
OUT_ACTIVATIONS = {
    "identity": lambda z: z,
    "exp": np.exp,
    "logistic": expit,
    "softmax": lambda z: softmax(z, axis=1),
}

# The kinds of targets, each with the estimator that learns it.
TARGETS = {
    "binary": (DropoutMLPClassifier, lambda s: s[:, 0] > 0),
    "classes": (DropoutMLPClassifier, lambda s: np.digitize(s[:, 0], [-0.5, 0.5])),
    "labels": (DropoutMLPClassifier, lambda s: (s > 0).astype(int)),
    "number": (DropoutMLPRegressor, lambda s: 3 * s[:, 0] + 7),
    "numbers": (DropoutMLPRegressor, lambda s: s * [1, 10, 0.1] + [0, 5, -1]),
    "counts": (DropoutMLPRegressor, lambda s: np.floor(np.exp(s[:, 0] + 1))),
}
all_targets = pytest.mark.parametrize("kind", TARGETS)
both = pytest.mark.parametrize("Est", ESTIMATORS)


def problem(kind, seed=0, n=50):
    """An estimator class and a little of what it can learn."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6))
    signal = np.stack([X[:, 0] + X[:, 1], X[:, 2] - X[:, 3], X[:, 4] * X[:, 5]], axis=1)
    Est, target = TARGETS[kind]
    return Est, X, target(signal + 0.1 * rng.standard_normal((n, 3)))


def data(Est, seed=0, n=50):
    """Data for either estimator."""
    return problem("classes" if is_classifier(Est()) else "number", seed, n)[1:]


def make(kind, **params):
    return TARGETS[kind][0](**SMALL | ({"loss": "poisson"} if kind == "counts" else {}) | params)


def by_hand(est, X):
    """Forward pass through the public weights."""
    for W, b in zip(est.coefs_[:-1], est.intercepts_[:-1]):
        X = ACTIVATIONS[est.activation](X @ W + b)
    return OUT_ACTIVATIONS[est.out_activation_](X @ est.coefs_[-1] + est.intercepts_[-1])


def initial(est, X, y):
    """The weights that training starts from: those after a step of no length."""
    still = {"solver": "sgd", "learning_rate_init": 1e-30, "max_iter": 1, "max_norm": None}
    est = clone(est).set_params(**still).fit(X, y)
    return est.coefs_, est.intercepts_


# Parameters


@spread(activation=ACTIVATIONS, kind=TARGETS)
def test_coefs_give_the_predictions(kind, activation):
    _, X, y = problem(kind)
    est = make(kind, activation=activation, **ALL_DROPOUT).fit(X, y)
    outputs = by_hand(est, X)
    if kind == "binary":
        outputs = np.hstack([1 - outputs, outputs])
    expected = answers(est, X)
    np.testing.assert_allclose(
        outputs.reshape(expected.shape), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
    )


@pytest.mark.parametrize("sizes", [(), [], 7, (7,), [7], np.array([7, 3]), (6, 5, 4)])
@both
def test_hidden_layer_sizes(Est, sizes):
    X, y = data(Est)
    est = Est(**SMALL | {"hidden_layer_sizes": sizes}).fit(X, y)
    widths = [6, *np.atleast_1d(np.array(sizes, dtype=int)), est.n_outputs_]
    assert [W.shape for W in est.coefs_] == list(pairwise(widths))
    assert [b.shape for b in est.intercepts_] == [(width,) for width in widths[1:]]
    assert est.n_layers_ == len(widths)
    outputs = by_hand(est, X)
    np.testing.assert_allclose(
        outputs.reshape(answers(est, X).shape), answers(est, X), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("weight_init", "std", "bound"),
    [
        ("glorot_uniform", np.sqrt(2 / 140), np.sqrt(6 / 140)),
        ("glorot_normal", np.sqrt(2 / 140), np.inf),
        ("he_uniform", np.sqrt(2 / 60), np.sqrt(6 / 60)),
        ("he_normal", np.sqrt(2 / 60), np.inf),
        ("normal", 0.05, np.inf),
        ("uniform", 0.05 / np.sqrt(3), 0.05),
    ],
)
@both
def test_initial_weights(Est, weight_init, std, bound):
    X = np.random.default_rng(0).standard_normal((20, 60))
    y = np.arange(20) % 2
    est = Est((80,), weight_init=weight_init, random_state=1)
    weight = initial(est, X, y)[0][0]
    n = weight.size
    assert np.std(weight) == pytest.approx(std, rel=5 * np.sqrt(1 / (2 * n)))
    assert abs(weight.mean()) < 5 * std / np.sqrt(n)
    assert np.abs(weight).max() <= bound * (1 + 1e-6)
    if np.isfinite(bound):
        assert np.abs(weight).max() > 0.99 * bound
    else:
        assert np.abs(weight).max() > 3 * std


@both
def test_initial_weights_are_smaller_for_the_logistic_function(Est):
    X, y = data(Est)
    wide, narrow = (
        initial(Est((30,), activation=name, random_state=0), X, y)[0][0]
        for name in ("relu", "logistic")
    )
    np.testing.assert_allclose(narrow, wide / np.sqrt(3), rtol=1e-5)


@spread(
    solver=["adam", "adamw", "sgd", torch.optim.Adam, torch.optim.RMSprop, torch.optim.NAdam],
    kind=TARGETS,
)
def test_every_solver_learns(kind, solver):
    _, X, y = problem(kind)
    est = make(kind, solver=solver, learning_rate_init=0.02, max_iter=30, dropout_rate=0).fit(X, y)
    assert est.loss_ < 0.7 * est.loss_curve_[0]
    assert len(est.loss_curve_) == est.n_iter_ == 30


@both
def test_parameters_that_must_matter_do(Est):
    X, y = data(Est)
    base = {"solver": "sgd", "learning_rate": "invscaling"} | ALL_DROPOUT
    reference = Est(**SMALL, **base).fit(X, y)
    others = {
        "activation": "tanh",
        "dropout_rate": 0.31,
        "input_dropout_rate": 0.21,
        "spatial_dropout_rate": 0.21,
        "feature_groups": 2,
        "max_norm": 0.5,
        "weight_init": "he_normal",
        "solver": "adam",
        "alpha": 0.1,
        "batch_size": 7,
        "learning_rate": "constant",
        "learning_rate_init": 0.002,
        "power_t": 0.4,
        "max_iter": 5,
        "shuffle": False,
        "random_state": 1,
        "momentum": 0.8,
        "nesterovs_momentum": False,
        "early_stopping": True,
    }
    for name, value in others.items():
        changed = Est(**SMALL | base | {name: value}).fit(X, y)
        assert differ(changed, reference), name
    adam = Est(**SMALL).fit(X, y)
    for name, value in {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2}.items():
        assert differ(Est(**SMALL, **{name: value}).fit(X, y), adam), name


@both
def test_one_rate_is_the_same_rate_in_every_layer(Est):
    X, y = data(Est)
    one = Est(**SMALL, dropout_rate=0.4).fit(X, y)
    for rates in ([0.4, 0.4], (0.4, 0.4), np.array([0.4, 0.4])):
        assert_same(one, Est(**SMALL, dropout_rate=rates).fit(X, y), X)
    assert differ(one, Est(**SMALL, dropout_rate=[0.4, 0.3]).fit(X, y))


@both
def test_each_rate_belongs_to_its_layer(Est):
    """A unit that is dropped gets no gradient: with batches of one row, some are left alone."""
    X, y = data(Est, n=12)
    params = {"hidden_layer_sizes": (40, 30), "activation": "tanh", "batch_size": 1}
    params |= {"solver": "sgd", "momentum": 0, "alpha": 0, "learning_rate_init": 1e-3}
    est = Est(**SMALL | params | {"max_iter": 1}, shuffle=False)
    for dropped in (0, 1):
        rates = [0.0, 0.0]
        rates[dropped] = 0.9
        run = clone(est).set_params(dropout_rate=rates)
        start, _ = initial(run, X, y)
        run.fit(X, y)
        moved = [
            np.mean(np.any(after != before, axis=0)) for after, before in zip(run.coefs_[:2], start)
        ]
        kept_in_some_row = 1 - 0.9**12
        assert moved[1 - dropped] == 1
        assert 0.3 < moved[dropped] <= 1
        assert moved[dropped] == pytest.approx(kept_in_some_row, abs=0.3)


@pytest.mark.parametrize("rate", [0.3, 0.6])
@both
def test_rate_is_the_fraction_dropped(Est, rate):
    """One step on one kind of row tells which units took part."""
    X, y = data(Est, n=2)
    y = [0, 1]
    params = {"hidden_layer_sizes": (4000,), "activation": "logistic", "dropout_rate": rate}
    params |= {"solver": "sgd", "momentum": 0, "alpha": 0, "batch_size": 1, "shuffle": False}
    est = Est(**SMALL | params | {"learning_rate_init": 1.0, "max_iter": 1})
    (before, _), _ = initial(est, X, y)
    after = est.fit(X, y).coefs_[0]
    dropped_twice = np.mean((after == before).all(axis=0))
    sigma = np.sqrt(rate**2 * (1 - rate**2) / 4000)
    assert dropped_twice == pytest.approx(rate**2, abs=5 * sigma)


@pytest.mark.parametrize(
    ("groups", "members"),
    [
        (None, [[0], [1], [2], [3], [4], [5]]),
        (1, [[0], [1], [2], [3], [4], [5]]),
        (2, [[0, 1], [2, 3], [4, 5]]),
        (np.int64(3), [[0, 1, 2], [3, 4, 5]]),
        (6, [[0, 1, 2, 3, 4, 5]]),
        (["b", "a", "b", "c", "a", "b"], [[1, 4], [0, 2, 5], [3]]),
        (np.array([7, 7, 0, 0, 7, 0]), [[2, 3, 5], [0, 1, 4]]),
    ],
)
@both
def test_columns_of_a_group_are_dropped_together(Est, groups, members):
    X = np.random.default_rng(0).uniform(1, 2, (40, 6))
    y = np.arange(40) % 2
    params = {"spatial_dropout_rate": 0.5, "dropout_rate": 0, "feature_groups": groups}
    params |= {"solver": "sgd", "momentum": 0, "alpha": 0, "activation": "tanh", "max_iter": 1}
    patterns = set()
    for seed in range(30):  # the first row only: which columns have learned from it
        est = Est(**SMALL | params | {"batch_size": 1, "random_state": seed})
        (before, *_), _ = initial(est, X[:2], y[:2])
        partial = est.set_params(early_stopping=False, shuffle=False, learning_rate_init=0.1)
        weight = [1.0, 1e-30]
        after = partial.fit(X[:2], y[:2], sample_weight=weight).coefs_[0]
        moved = (after != before).any(axis=1)
        for group in members:
            assert len(set(moved[group])) == 1
        patterns.add(tuple(moved))
    assert len(patterns) > 1


@both
def test_groups_of_one_are_input_dropout_of_other_bits(Est):
    """Both act on the inputs; at rate zero neither does."""
    X, y = data(Est)
    none = Est(**SMALL, dropout_rate=0).fit(X, y)
    assert_same(none, Est(**SMALL, dropout_rate=0, feature_groups=3).fit(X, y), X)
    spatial = Est(**SMALL, dropout_rate=0, spatial_dropout_rate=0.5).fit(X, y)
    elements = Est(**SMALL, dropout_rate=0, input_dropout_rate=0.5).fit(X, y)
    assert differ(spatial, none)
    assert differ(elements, none)
    assert differ(spatial, elements)


@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.RMSprop])
@pytest.mark.parametrize("max_norm", [0.5, 1])
@both
def test_max_norm_is_kept(Est, max_norm, solver):
    X, y = data(Est)
    params = SMALL | {"solver": solver, "learning_rate_init": 0.02, "max_iter": 10}
    free, bound = (
        Est(**params, weight_init="he_normal", max_norm=norm).fit(X, y) for norm in (None, max_norm)
    )
    longest = max(np.linalg.norm(W, axis=0).max() for W in bound.coefs_[:-1])
    assert 0.8 * max_norm < longest <= max_norm * (1 + 1e-5)
    assert max(np.linalg.norm(W, axis=0).max() for W in free.coefs_[:-1]) > max_norm


@both
def test_max_norm_that_nothing_reaches_changes_nothing(Est):
    X, y = data(Est)
    est = Est(**SMALL, **ALL_DROPOUT, max_norm=1e6).fit(X, y)
    assert_same(est, Est(**SMALL, **ALL_DROPOUT).fit(X, y), X)


@both
def test_max_norm_leaves_the_output_layer_alone(Est):
    X, y = data(Est)
    y = y if is_classifier(Est()) else (y - y.mean()) / y.std()
    params = {"max_norm": 0.1, "learning_rate_init": 0.1, "max_iter": 30, "dropout_rate": 0}
    est = Est(**SMALL | params).fit(X, y)
    assert np.linalg.norm(est.coefs_[-1], axis=0).max() > 0.2


@pytest.mark.parametrize("place", ["dropout_rate", "input_dropout_rate", "spatial_dropout_rate"])
@both
def test_dropout_keeps_noise_from_being_learned(Est, place):
    """What dropout is for: a target of pure noise is fitted less."""
    params = SMALL | {"hidden_layer_sizes": (60,), "max_iter": 150, "learning_rate_init": 0.01}
    params |= {"dropout_rate": 0.0}
    for seed in range(3):
        X, y = data(Est, seed, n=80)
        y = np.random.default_rng(seed).permutation(y)
        free, dropped = (
            Est(**params | {place: rate, "random_state": seed}).fit(X, y) for rate in (0.0, 0.8)
        )
        assert dropped.score(X, y) < free.score(X, y) - 0.05
        assert dropped.loss_ > free.loss_


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), "auto"])
@both
def test_devices(Est, device):
    X, y = data(Est)
    est = Est(**SMALL, device=device).fit(X, y)
    assert answers(est, X).shape[0] == len(X)
    assert est.net_.predict(X.astype(np.float32)).shape[0] == len(X)
    if device != "auto":
        assert_same(est, Est(**SMALL).fit(X, y), X)


# Inputs


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, bool])
@both
def test_dtypes_and_orders_of_arrays(Est, dtype, order):
    X, y = data(Est)
    X = np.rint(np.abs(X)).astype(dtype)
    reference = Est(**SMALL, **ALL_DROPOUT).fit(X.astype(np.float64), y)
    est = Est(**SMALL, **ALL_DROPOUT).fit(np.asarray(X, order=order), y)
    assert est.loss_curve_ == reference.loss_curve_
    np.testing.assert_array_equal(est.coefs_[0], reference.coefs_[0])
    assert answers(est, X).dtype == (np.float32 if dtype == np.float32 else np.float64)
    np.testing.assert_allclose(answers(est, X), answers(reference, X), rtol=1e-5, atol=1e-6)


@both
def test_neither_data_nor_weights_are_written_to(Est):
    X, y = data(Est)
    weight = np.linspace(0, 1, len(y))
    kept = X.copy(), y.copy(), weight.copy()
    for array in (X, y, weight):
        array.flags.writeable = False
    est = Est(**SMALL, **ALL_DROPOUT).fit(X, y, weight, X_val=X, y_val=y, sample_weight_val=weight)
    answers(est, X)
    for array, before in zip((X, y, weight), kept):
        np.testing.assert_array_equal(array, before)


@both
def test_fit_does_not_write_to_parameters(Est):
    X, y = data(Est)
    rates, groups, sizes = np.array([0.1, 0.2]), ["a", "b", "a", "b", "a", "b"], [8, 5]
    est = Est(
        sizes, dropout_rate=rates, feature_groups=groups, spatial_dropout_rate=0.2, max_iter=2
    )
    params = est.get_params()
    est.fit(X, y)
    assert all(est.get_params()[name] is value for name, value in params.items())
    assert (sizes, groups) == ([8, 5], ["a", "b", "a", "b", "a", "b"])
    np.testing.assert_array_equal(rates, [0.1, 0.2])


@pytest.mark.parametrize("convert", [sparse.csr_array, sparse.csr_matrix, sparse.csc_array])
@all_targets
def test_sparse_rows_are_dense_rows(kind, convert):
    _, X, y = problem(kind)
    X = np.where(np.abs(X) > 0.7, X, 0)
    S = convert(X)
    dense, rare = (
        make(kind, **ALL_DROPOUT, early_stopping=kind == "numbers").fit(A, y) for A in (X, S)
    )
    assert_same(dense, rare, X)
    np.testing.assert_allclose(dense.predict(X), rare.predict(S), rtol=1e-12)
    np.testing.assert_allclose(answers(dense, X), answers(dense, S), rtol=1e-12)


@both
def test_sparse_float32_with_long_indices_and_stored_zeros(Est):
    X, y = data(Est)
    X = np.where(np.abs(X) > 0.7, X, 0).astype(np.float32)
    S = sparse.csr_array(X)
    S.data[::5] = 0
    X = S.toarray()
    est = Est(**SMALL).fit(S, y, X_val=S, y_val=y)
    assert_same(est, Est(**SMALL).fit(X, y, X_val=X, y_val=y), S)
    assert answers(est, S).dtype == np.float32


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("kind", ["classes", "labels", "number", "numbers"])
def test_data_frames(kind, library):
    frames = pytest.importorskip(library)
    _, X, y = problem(kind)
    names = [f"c{i}" for i in range(6)]
    frame = frames.DataFrame(dict(zip(names, X.T)))
    if y.ndim == 1:
        target = frames.Series(y)
    else:
        target = frames.DataFrame({f"y{i}": column for i, column in enumerate(y.T)})
    est = make(kind, **ALL_DROPOUT).fit(frame, target, X_val=frame, y_val=target)
    assert est.feature_names_in_.tolist() == names
    arrays = make(kind, **ALL_DROPOUT).fit(X, y, X_val=X, y_val=y)
    np.testing.assert_array_equal(est.predict(frame), arrays.predict(X))
    assert est.validation_scores_ == arrays.validation_scores_
    with pytest.raises(ValueError, match="feature names"):
        est.predict(frame[names[::-1]])


@pytest.mark.parametrize("kind", ["binary", "classes", "labels", "number", "numbers"])
def test_torch_tensors(kind):
    _, X, y = problem(kind)
    tensor = torch.tensor(X, dtype=torch.float32, requires_grad=True)
    weight = np.linspace(0.5, 1, len(y))
    X = X.astype(np.float32)
    arrays = make(kind).fit(X, y, weight, X_val=X, y_val=y)
    est = make(kind).fit(
        tensor, torch.tensor(y), torch.tensor(weight), X_val=tensor, y_val=torch.tensor(y)
    )
    assert_same(est, arrays, tensor)
    assert isinstance(est.predict(tensor), np.ndarray)
    assert est.score(tensor, torch.tensor(y)) == pytest.approx(arrays.score(X, y), abs=1e-6)


@pytest.mark.parametrize("Est", ESTIMATORS)
def test_lists(Est):
    X, y = data(Est)
    est = Est(**SMALL).fit(X.tolist(), y.tolist(), np.ones(len(y)).tolist())
    assert_same(est, Est(**SMALL).fit(X, y, np.ones(len(y))), X.tolist())


@all_targets
def test_a_rows_answer_does_not_depend_on_its_neighbours(kind):
    _, X, y = problem(kind)
    est = make(kind, **ALL_DROPOUT).fit(X, y)
    together = answers(est, X)
    alone = np.concatenate([answers(est, row[None]) for row in X])
    np.testing.assert_allclose(alone, together, rtol=1e-10, atol=1e-12)
    # Matrix products may round by the place of a row, which differs between processors.
    reverse = answers(est, X[::-1])[::-1]
    np.testing.assert_allclose(reverse, together, rtol=1e-12, atol=1e-14)


@both
def test_many_rows_are_predicted_like_few(Est):
    X, y = data(Est)
    est = Est((300,), max_iter=1, random_state=0).fit(X, y)
    many = np.repeat(X, 60, axis=0)
    np.testing.assert_allclose(
        answers(est, many), np.repeat(answers(est, X), 60, axis=0), rtol=1e-10
    )


# Fitted attributes


@pytest.mark.filterwarnings(f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning")
@pytest.mark.parametrize("early_stopping", [False, True])
@all_targets
def test_attributes_are_those_of_scikit_learn(kind, early_stopping):
    Est, X, y = problem(kind)
    est = make(kind, early_stopping=early_stopping, n_iter_no_change=100).fit(X, y)
    params = {k: v for k, v in est.get_params().items() if k in THEIRS[Est]().get_params()}
    theirs = THEIRS[Est](**params).fit(X, y)
    for name in ("n_features_in_", "n_outputs_", "n_iter_", "t_", "n_layers_", "out_activation_"):
        assert getattr(est, name) == getattr(theirs, name), name
        assert type(getattr(est, name)) is type(getattr(theirs, name)), name
    for name in ("coefs_", "intercepts_"):
        ours = getattr(est, name)
        assert [a.shape for a in ours] == [a.shape for a in getattr(theirs, name)]
        assert {a.dtype for a in ours} == {a.dtype for a in getattr(theirs, name)}
    assert len(est.loss_curve_) == len(theirs.loss_curve_)
    assert est.loss_ == est.loss_curve_[-1]
    for name in ("validation_scores_", "best_validation_score_", "best_loss_"):
        assert (getattr(est, name) is None) == (getattr(theirs, name) is None), name
    if early_stopping:
        assert len(est.validation_scores_) == est.n_iter_
        assert est.best_validation_score_ == max(est.validation_scores_)
    else:
        assert est.best_loss_ == min(est.loss_curve_)
    if is_classifier(est):
        np.testing.assert_array_equal(est.classes_, theirs.classes_)
        assert est.classes_.dtype == theirs.classes_.dtype


@both
def test_t_counts_training_rows(Est):
    X, y = data(Est, n=50)
    assert Est(**SMALL).fit(X, y).t_ == 50 * SMALL["max_iter"]
    est = Est(**SMALL, early_stopping=True, validation_fraction=0.2).fit(X, y)
    assert est.t_ == 40 * est.n_iter_
    est = Est(**SMALL | {"warm_start": True}).fit(X, y).fit(X, y)
    assert (est.n_iter_, est.t_) == (4, 50 * 8)


@both
def test_attributes_are_copies(Est):
    """What the user writes to one fit's weights does not reach another's."""
    X, y = data(Est)
    est = Est(**SMALL, warm_start=True).fit(X, y)
    before = [W.copy() for W in est.coefs_]
    kept = est.coefs_, est.loss_curve_
    est.fit(X, y)
    for ours, copied in zip(kept[0], before):
        np.testing.assert_array_equal(ours, copied)
    assert len(kept[1]) == 4
    assert len(est.loss_curve_) == 8


@both
def test_parameters_set_after_the_fit_do_not_change_the_network(Est):
    X, y = data(Est)
    X = X.astype(np.float32)
    est = Est(**SMALL, **ALL_DROPOUT).fit(X, y)
    before, through = answers(est, X), est.net_.predict_proba(X)
    others = {"activation": "tanh", "hidden_layer_sizes": (3,), "dropout_rate": [0.5]}
    others |= {"feature_groups": 2, "early_stopping": True, "spatial_dropout_rate": 0.5}
    est.set_params(**others)
    np.testing.assert_array_equal(answers(est, X), before)
    np.testing.assert_array_equal(est.net_.predict_proba(X), through)
    rates = [layer.p for layer in est.module_ if isinstance(layer, torch.nn.Dropout)]
    assert rates == [0.2, 0.3, 0.3]


@all_targets
def test_history(kind):
    _, X, y = problem(kind)
    est = make(kind).fit(X, y)
    assert len(est.history_) == 4
    assert est.history_[:, "train_loss"] == est.loss_curve_
    assert set(est.history_[0]) - {"batches"} == {"epoch", "train_loss"}
    est.fit(X, y, X_val=X[:9], y_val=y[:9])
    columns = {"epoch", "train_loss", "valid_loss", "train_score", "valid_score"}
    assert set(est.history_[-1]) - {"batches"} == columns
    assert est.history_[:, "epoch"] == [1, 2, 3, 4]
    assert est.history_[:, "valid_score"] == est.validation_scores_
    assert est.history_[-1, "valid_score"] == pytest.approx(est.score(X[:9], y[:9]), abs=1e-5)
    assert est.history_[-1, "train_score"] == pytest.approx(est.score(X, y), abs=1e-5)
    assert est.history_.to_list() == est.history_.to_list()


@both
def test_history_of_warm_starts_stays_in_step(Est):
    """Curves that some calls record and others do not keep their epochs."""
    X, y = data(Est)
    est = Est(**SMALL | {"max_iter": 2}, warm_start=True).fit(X, y)
    est.fit(X, y, X_val=X, y_val=y)
    losses = est.history_[:, "train_loss"]
    assert losses == est.loss_curve_
    assert ["valid_loss" in row for row in est.history_] == [False, False, True, True]
    est.fit(X, y)
    assert ["valid_loss" in row for row in est.history_] == [False, False, True, True, False, False]


@pytest.mark.parametrize("rates", [{}, ALL_DROPOUT, {"dropout_rate": [0.0, 0.5]}])
@all_targets
def test_module_gives_the_predictions(kind, rates):
    _, X, y = problem(kind)
    X = X.astype(np.float32)
    est = make(kind, **{"dropout_rate": 0} | rates).fit(X, y)
    module = est.module_
    assert isinstance(module, torch.nn.Module)
    assert not module.training
    with torch.no_grad():
        outputs = module(torch.from_numpy(X)).numpy()
    assert outputs.shape == (len(X), est.n_outputs_)
    if kind == "binary":
        outputs = np.hstack([1 - outputs, outputs])
    expected = answers(est, X)
    np.testing.assert_allclose(
        outputs.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
    )


@both
def test_module_has_its_dropout_layers_in_place(Est):
    X, y = data(Est)
    params = {"input_dropout_rate": 0.1, "spatial_dropout_rate": 0.2, "dropout_rate": [0.3, 0.0]}
    module = Est(**SMALL, **params, feature_groups=3).fit(X, y).module_
    names = [type(layer).__name__ for layer in module]
    assert names[:4] == ["FeatureGroupDropout", "Dropout", "Linear", "ReLU"]
    assert names[4:8] == ["Dropout", "Linear", "ReLU", "Linear"]
    rates = [layer.rate if hasattr(layer, "rate") else layer.p for layer in (module[0], module[1])]
    assert rates == [0.2, 0.1]
    x = torch.from_numpy(X.astype(np.float32))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module.train()
        assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))


@both
def test_module_can_be_operated_on_without_touching_the_estimator(Est):
    X, y = data(Est)
    est = Est(**SMALL).fit(X, y)
    before = answers(est, X)
    module = est.module_
    loss = module(torch.from_numpy(X.astype(np.float32))).square().sum()
    loss.backward()
    assert all(p.grad is not None for p in module.parameters())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(answers(est, X), before)
    fresh = est.module_
    fresh.load_state_dict(module.state_dict())
    assert not any(p.any() for p in fresh.parameters())


@all_targets
def test_net_is_a_skorch_net_that_predicts(kind):
    _, X, y = problem(kind)
    X = X.astype(np.float32)
    est = make(kind).fit(X, y, X_val=X, y_val=y)
    net = est.net_
    assert isinstance(net, NeuralNet)
    assert net.history[:, "valid_loss"] == est.history_[:, "valid_loss"]
    with torch.no_grad():
        outputs = est.module_(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(net.predict_proba(X), outputs, rtol=1e-6)
    predicted = net.predict(X)
    if is_classifier(est):
        codes = np.searchsorted(est.classes_, est.predict(X)) if y.ndim == 1 else est.predict(X)
        np.testing.assert_array_equal(predicted, codes)
    else:
        expected = est.predict(X)
        np.testing.assert_allclose(
            predicted.reshape(expected.shape),
            expected,
            rtol=1e-4,
            atol=1e-5 * np.abs(expected).max(),
        )


@both
def test_net_saves_its_parameters(Est, tmp_path):
    X, y = data(Est)
    X = X.astype(np.float32)
    net = Est(**SMALL).fit(X, y).net_
    net.save_params(f_params=tmp_path / "network.pt")
    other = Est(**SMALL | {"random_state": 1}).fit(X, y).net_
    assert not np.allclose(other.predict_proba(X), net.predict_proba(X))
    other.load_params(f_params=tmp_path / "network.pt")
    np.testing.assert_array_equal(other.predict_proba(X), net.predict_proba(X))


# Calls that continue


@both
def test_warm_start_goes_on_from_the_last_weights(Est):
    X, y = data(Est)
    params = SMALL | {"solver": "sgd", "momentum": 0, "dropout_rate": 0, "shuffle": False}
    uninterrupted = Est(**params | {"max_iter": 8}).fit(X, y)
    halves = Est(**params, warm_start=True).fit(X, y).fit(X, y)
    for one, other in zip(uninterrupted.coefs_, halves.coefs_):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)
    assert halves.loss_curve_ == pytest.approx(uninterrupted.loss_curve_, rel=1e-6)
    assert (halves.n_iter_, len(halves.history_)) == (4, 8)


@both
def test_warm_start_draws_new_masks_and_orders(Est):
    X, y = data(Est)
    still = {"learning_rate_init": 1e-30, "max_iter": 1, "dropout_rate": 0.5, "warm_start": True}
    est = Est(**SMALL | still, solver="sgd")
    losses = [est.fit(X, y).loss_ for _ in range(4)]
    assert len(set(losses)) == 4


@both
def test_without_warm_start_fits_start_anew(Est):
    X, y = data(Est)
    est = Est(**SMALL)
    for seed in (3, 4):
        est.fit(*data(Est, seed))
    assert_same(est.fit(X, y), Est(**SMALL).fit(X, y), X)


def first_call(est, y):
    return {"classes": np.unique(y)} if is_classifier(est) else {}


@both
def test_partial_fit_is_one_epoch(Est):
    X, y = data(Est)
    once = Est(**SMALL, **ALL_DROPOUT).partial_fit(X, y, **first_call(Est(), y))
    assert_same(once, Est(**SMALL | {"max_iter": 1}, **ALL_DROPOUT).fit(X, y), X)
    assert (once.n_iter_, once.t_, len(once.loss_curve_)) == (1, len(y), 1)


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd", torch.optim.Adam, torch.optim.RMSprop])
@both
def test_partial_fit_keeps_the_state_of_the_solver(Est, solver):
    """In order and without dropout, calls of one epoch are the epochs of one fit."""
    X, y = data(Est)
    params = SMALL | {"solver": solver, "shuffle": False, "dropout_rate": 0, "alpha": 0.01}
    uninterrupted = Est(**params | {"max_iter": 5}).fit(X, y)
    est, restarted = Est(**params), Est(**params | {"warm_start": True, "max_iter": 1})
    for _ in range(5):
        est.partial_fit(X, y, **first_call(est, y))
        restarted.fit(X, y)
    for one, other in zip(
        uninterrupted.coefs_ + uninterrupted.intercepts_, est.coefs_ + est.intercepts_
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    assert est.loss_curve_ == pytest.approx(uninterrupted.loss_curve_, rel=1e-5)
    assert est.t_ == uninterrupted.t_
    assert max(np.abs(a - b).max() for a, b in zip(restarted.coefs_, uninterrupted.coefs_)) > 1e-4


@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"solver": "sgd", "learning_rate": "invscaling"},
        {"solver": "adamw", "batch_size": 50},
        {"solver": torch.optim.Adam},
        {"max_norm": 1.0, "shuffle": False},
    ],
    ids=["adam", "sgd", "full batch", "torch", "max-norm"],
)
@both
def test_calls_of_partial_fit_are_the_epochs_of_a_fit(Est, variant):
    """Bit for bit: orders, masks and the state of the solver go on."""
    X, y = data(Est)
    for seed in range(3):
        params = SMALL | ALL_DROPOUT | variant | {"random_state": seed}
        est = Est(**params)
        for _ in range(SMALL["max_iter"]):
            est.partial_fit(X, y, **first_call(est, y))
        uninterrupted = Est(**params).fit(X, y)
        assert_same(est, uninterrupted, X)
        assert est.t_ == uninterrupted.t_


@both
def test_partial_fit_improves(Est):
    X, y = data(Est)
    est = Est(**SMALL | {"learning_rate_init": 0.01})
    scores = []
    for _ in range(40):
        scores.append(est.partial_fit(X, y, **first_call(est, y)).score(X, y))
    assert scores[-1] > scores[0] + 0.2
    assert est.loss_curve_[-1] < est.loss_curve_[0]
    assert len(est.loss_curve_) == 40


@both
def test_partial_fit_goes_on_after_fit(Est):
    X, y = data(Est)
    est = Est(**SMALL).fit(X, y)
    before = [W.copy() for W in est.coefs_]
    est.partial_fit(X[:10], y[:10])
    assert est.t_ == len(y) * SMALL["max_iter"] + 10
    assert len(est.loss_curve_) == SMALL["max_iter"] + 1
    change = max(np.abs(a - b).max() for a, b in zip(est.coefs_, before))
    assert 0 < change < 0.1 * max(np.abs(W).max() for W in before)


@pytest.mark.parametrize("name", ["alpha", "learning_rate_init", "dropout_rate", "max_norm"])
@both
def test_numbers_may_change_between_calls_of_partial_fit(Est, name):
    X, y = data(Est)
    params = {"hidden_layer_sizes": (200, 160), "batch_size": 16, "random_state": 0}
    est = Est(**params).partial_fit(X, y, **first_call(Est(), y))
    twin = Est(**params).partial_fit(X, y, **first_call(Est(), y)).partial_fit(X, y)
    est.set_params(**{name: 0.0 if name == "alpha" else 0.5}).partial_fit(X, y)
    assert differ(est, twin)
    assert est.n_iter_ == 1


@pytest.mark.parametrize("solvers", [("adam", "sgd"), ("sgd", "adam"), ("adam", torch.optim.Adam)])
@both
def test_another_solver_between_calls_of_partial_fit(Est, solvers):
    """It starts with a state of its own."""
    X, y = data(Est)
    est = Est(**SMALL, solver=solvers[0]).partial_fit(X, y, **first_call(Est(), y))
    loss = est.loss_
    est.set_params(solver=solvers[1]).partial_fit(X, y)
    assert est.loss_curve_[0] == loss
    assert np.isfinite(est.loss_)


# Validation sets


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@all_targets
def test_a_validation_set_alone_changes_nothing(kind, solver):
    _, X, y = problem(kind)
    _, X_val, y_val = problem(kind, seed=1)
    without = make(kind, solver=solver, **ALL_DROPOUT).fit(X, y)
    weight = np.linspace(0, 1, len(y_val))
    est = make(kind, solver=solver, **ALL_DROPOUT)
    est.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    assert_same(est, without, X)
    assert est.n_iter_ == without.n_iter_ == 4
    assert est.score(X_val, y_val, weight) == pytest.approx(est.validation_scores_[-1], abs=1e-5)


@all_targets
def test_early_stopping_restores_the_best_epoch(kind):
    _, X, y = problem(kind)
    _, X_val, y_val = problem(kind, seed=1, n=30)
    params = {"learning_rate_init": 0.05, "early_stopping": True, "max_iter": 40}
    for seed in range(3):
        est = make(kind, **params, n_iter_no_change=3, random_state=seed)
        est.fit(X, y, X_val=X_val, y_val=y_val)
        score = est.score(X_val, y_val)
        assert score == pytest.approx(est.best_validation_score_, abs=1e-5)
        best = int(np.argmax(est.validation_scores_)) + 1
        again = make(kind, **params | {"max_iter": best, "early_stopping": False})
        again.set_params(random_state=seed).fit(X, y)
        np.testing.assert_array_equal(est.predict(X), again.predict(X))
        for one, other in zip(est.coefs_, again.coefs_):
            np.testing.assert_array_equal(one, other)


@both
def test_the_held_out_rows_take_no_part(Est):
    """Whatever they are: their targets do not reach the weights."""
    X, y = data(Est, n=60)
    est = Est(**SMALL, early_stopping=True, validation_fraction=0.25, n_iter_no_change=np.inf)
    est.fit(X, y)
    assert est.t_ == 45 * 4
    assert len(est.validation_scores_) == 4


@both
def test_a_given_validation_set_replaces_the_split(Est):
    X, y = data(Est, n=60)
    X_val, y_val = data(Est, seed=1)
    est = Est(**SMALL, early_stopping=True, n_iter_no_change=np.inf)
    est.fit(X, y, X_val=X_val, y_val=y_val)
    assert est.t_ == 60 * 4
    plain = Est(**SMALL | {"max_iter": int(np.argmax(est.validation_scores_)) + 1}).fit(X, y)
    np.testing.assert_array_equal(est.coefs_[0], plain.coefs_[0])


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pieces_of_a_large_table_do_not_overwrite_each_other(monkeypatch, activation, dtype):
    """Hidden layers share memory between pieces, outputs do not."""
    X = np.random.default_rng(0).standard_normal((50, 4)).astype(dtype)
    est = DropoutMLPRegressor((9, 3, 7), activation=activation, max_iter=1, random_state=0)
    est.fit(X, X[:, :2])
    expected = est.predict(X)
    monkeypatch.setattr("sklearn_dropout.estimators.mlp._CHUNK_VALUES", 9 * 8)  # eight rows
    np.testing.assert_allclose(
        est.predict(X), expected, rtol=1e-5 if dtype == np.float32 else 1e-12
    )
    np.testing.assert_allclose(est.predict(sparse.csr_array(X)), expected, rtol=1e-4)
