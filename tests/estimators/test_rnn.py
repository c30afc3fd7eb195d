"""The recurrent estimators: what goes in, what comes out, and what they refuse."""

import pickle

import numpy as np
import pytest
import torch
from _families import answers, spread
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_dropout import DropoutRNNClassifier, DropoutRNNRegressor, DropoutSearchCV
from sklearn_dropout.dropout.streams import Streams
from sklearn_dropout.nn import VariationalDropout
from sklearn_dropout.nn.activations import ACTIVATIONS

ESTIMATORS = [DropoutRNNClassifier, DropoutRNNRegressor]
CELLS = ["lstm", "gru", "rnn"]
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 4, "batch_size": 16, "random_state": 0}
ALL_RATES = {
    "dropout_rate": 0.3,
    "input_dropout_rate": 0.2,
    "spatial_dropout_rate": 0.1,
    "recurrent_dropout_rate": 0.25,
}
N_TOKENS = 12

both = pytest.mark.parametrize("Est", ESTIMATORS)
cells = pytest.mark.parametrize("cell", CELLS)


def numbers(Est, n=40, n_steps=5, n_channels=3, seed=0):
    """Sequences whose sum over the steps of the first channel is what is to be learned."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n_steps, n_channels))
    y = X[:, :, 0].sum(axis=1)
    return X, np.where(y > 0, "up", "down") if is_classifier(Est()) else 10 * y + 3


def tokens(Est, n=40, n_steps=7, seed=0):
    """Padding in front, at the end and in between; whether token 3 occurs is to be learned."""
    rng = np.random.default_rng(seed)
    X = rng.integers(1, N_TOKENS, (n, n_steps))
    X[rng.random(X.shape) < 0.3] = 0
    X[:, 2] = rng.integers(1, N_TOKENS, n)
    y = (X == 3).any(axis=1)
    return X, np.where(y, "yes", "no") if is_classifier(Est()) else y.astype(float)


def outputs_of_module(est, X):
    """What `module_` says, in the form of `answers`."""
    with torch.no_grad():
        out = est.module_(torch.as_tensor(np.asarray(X), dtype=torch.float32)).numpy()
    if not is_classifier(est):
        return out[:, 0] if out.shape[1] == 1 else out
    return np.hstack([1 - out, out]) if out.shape[1] == 1 else out


# What goes in


@both
def test_three_dimensions_and_two_are_the_same(Est):
    X, y = numbers(Est)
    flat = X.reshape(len(X), -1)
    three = Est(**SMALL).fit(X, y)
    two = Est(**SMALL, input_shape=(5, 3)).fit(flat, y)
    assert three.n_features_in_ == two.n_features_in_ == 15
    np.testing.assert_array_equal(answers(three, X), answers(two, flat))
    np.testing.assert_array_equal(answers(three, flat), answers(three, X))
    np.testing.assert_array_equal(answers(two, X), answers(two, flat))


@both
def test_a_column_is_a_step_by_default(Est):
    X, y = numbers(Est, n_channels=1)
    two = Est(**SMALL).fit(X[:, :, 0], y)
    three = Est(**SMALL).fit(X, y)
    assert two.coefs_[0].shape == (24, 1)
    np.testing.assert_array_equal(answers(two, X[:, :, 0]), answers(three, X))
    with pytest.raises(ValueError, match=r"X has 4 features, but .* is expecting 5"):
        two.predict(X[:, :4, 0])


@both
@pytest.mark.parametrize("n_steps", [1, 3, 9])
def test_sequences_may_have_another_length_in_predict(Est, n_steps):
    X, y = numbers(Est)
    est = Est(**SMALL).fit(X, y)
    other, _ = numbers(Est, n_steps=n_steps, seed=1)
    np.testing.assert_allclose(answers(est, other), outputs_of_module(est, other), atol=1e-4)
    T, y = tokens(Est)
    est = Est(**SMALL, n_tokens=N_TOKENS).fit(T, y)
    other = np.random.default_rng(0).integers(1, N_TOKENS, (10, n_steps))
    np.testing.assert_allclose(answers(est, other), outputs_of_module(est, other), atol=1e-4)


@both
@pytest.mark.parametrize("bidirectional", [False, True])
@cells
def test_padding_changes_nothing_wherever_it_stands(Est, cell, bidirectional):
    X, y = tokens(Est)
    est = Est(**SMALL, n_tokens=N_TOKENS, cell=cell, bidirectional=bidirectional).fit(X, y)
    expected = answers(est, X)
    zeros = np.zeros((len(X), 3), dtype=int)
    for padded in (np.hstack([zeros, X]), np.hstack([X, zeros]), np.insert(X, 2, 0, axis=1)):
        np.testing.assert_array_equal(answers(est, padded), expected)
    left = np.array([np.r_[row[row != 0], row[row == 0]] for row in X])
    np.testing.assert_array_equal(answers(est, left), expected)
    np.testing.assert_array_equal(answers(est.fit(left, y), X), expected)


@both
def test_without_mask_zero_token_zero_is_a_token(Est):
    X, y = tokens(Est)
    est = Est(**SMALL, n_tokens=N_TOKENS, mask_zero=False).fit(X, y)
    padded = np.hstack([X, np.zeros((len(X), 3), dtype=int)])
    assert not np.allclose(answers(est, padded), answers(est, X))
    est.predict(np.zeros((2, 4)))


@both
@pytest.mark.parametrize("mask_zero", [False, True])
def test_tokens_of_any_kind(Est, mask_zero):
    X, y = tokens(Est)
    params = SMALL | {"n_tokens": N_TOKENS, "mask_zero": mask_zero}
    dense = Est(**params).fit(X, y)
    expected = answers(dense, X)
    forms = [X.tolist(), X.astype(np.int8), X.astype(float), torch.from_numpy(X)]
    forms += [sparse.csr_array(X), sparse.csr_matrix(X.astype(float))]
    for form in forms:
        np.testing.assert_array_equal(answers(dense, form), expected)
        np.testing.assert_array_equal(answers(clone(dense).fit(form, y), X), expected)
    # A sparse row may say zero twice: not at all, and in so many words.
    explicit = sparse.csr_array(X + 1)
    explicit.data -= 1
    np.testing.assert_array_equal(answers(dense, explicit), expected)


@both
@pytest.mark.parametrize("kind", ["numbers", "tokens"])
def test_float32_and_float64(Est, kind):
    X, y = numbers(Est) if kind == "numbers" else tokens(Est)
    params = SMALL | ({"n_tokens": N_TOKENS} if kind == "tokens" else {})
    est = Est(**params).fit(X, y)
    single, double = (answers(est, X.astype(t)) for t in (np.float32, np.float64))
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-4)


@both
def test_a_row_does_not_depend_on_others(Est):
    X, y = tokens(Est)
    est = Est(**SMALL, n_tokens=N_TOKENS, bidirectional=True).fit(X, y)
    one_by_one = np.concatenate([answers(est, X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_allclose(one_by_one, answers(est, X), rtol=1e-12)


# What is refused

BAD_TOKENS = [
    ([[1, 2], [3, 12]], r"token 12, which is outside 0 to 11 \(n_tokens=12\)"),
    ([[1, 2], [-1, 3]], "token -1, which is outside"),
    ([[1, 2], [2.5, 3]], "token 2.5, which is no whole number"),
    ([[1, np.nan], [3, 1]], "NaN"),
    ([[[1], [2]], [[3], [4]]], r"shape \(2, 2, 1\), but n_tokens=12 requires \(n_samples, n_steps"),
]


@both
@pytest.mark.parametrize(("X", "message"), BAD_TOKENS)
def test_bad_tokens(Est, X, message):
    good, y = tokens(Est)
    est = Est(**SMALL, n_tokens=N_TOKENS)
    with pytest.raises(ValueError, match=message):
        est.fit(X, y[:2])
    assert not hasattr(est, "n_features_in_")
    est.fit(good, y)
    with pytest.raises(ValueError, match=message):
        est.predict(X)
    with pytest.raises(ValueError, match=message):
        est.fit(good, y, X_val=X, y_val=y[:2])


@both
def test_bad_sparse_tokens(Est):
    X, y = tokens(Est)
    with pytest.raises(ValueError, match="token 40"):
        Est(**SMALL, n_tokens=N_TOKENS).fit(sparse.csr_array(np.where(X == 3, 40, X)), y)


@both
@pytest.mark.parametrize(
    ("shape", "params", "message"),
    [
        ((8, 0, 3), {}, r"shape \(8, 0, 3\): sequences need at least one step"),
        ((8, 4, 0), {}, "one channel"),
        ((8, 2, 3, 4), {}, r"shape \(8, 2, 3, 4\)"),
        ((8, 12), {"input_shape": (5, 3)}, r"12 columns, but input_shape=\(5, 3\) requires 15"),
        ((8, 4, 3), {"input_shape": (5, 3)}, r"shape \(8, 4, 3\), which is not input_shape"),
        ((8, 15), {"input_shape": 5}, "input_shape"),
        ((8, 15), {"input_shape": (5, 0)}, "two whole numbers > 0"),
        ((8, 15), {"input_shape": (5, 3.0)}, "two whole numbers > 0"),
        ((8, 15), {"input_shape": (5, 3), "n_tokens": 4}, "Pass one of the two"),
    ],
)
def test_bad_shapes(Est, shape, params, message):
    X = np.ones(shape)
    y = np.arange(8) % 2
    est = Est(**SMALL, **params)
    with pytest.raises((TypeError, ValueError), match=message):
        est.fit(X, y)
    assert not [name for name in vars(est) if name not in est.get_params()]


@both
def test_another_number_of_channels_in_predict(Est):
    X, y = numbers(Est)
    est = Est(**SMALL).fit(X, y)
    with pytest.raises(ValueError, match="2 channels, but 3 were fitted"):
        est.predict(X[:, :, :2])
    with pytest.raises(ValueError, match="features"):
        est.predict(np.ones((2, 7)))


@both
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"cell": "transformer"}, "cell"),
        ({"hidden_layer_sizes": ()}, "one recurrent layer at least"),
        ({"recurrent_dropout_rate": 1.0}, r"recurrent_dropout_rate=1.0 .* 1 - p"),
        ({"recurrent_dropout_rate": [0.1, 0.2]}, "2 rates for 1 recurrent layers"),
        ({"dropout_rate": [0.1, 0.2]}, "2 rates for 1 recurrent layers"),
        ({"embedding_dropout_rate": 0.1}, "embedding_dropout_rate=0.1 .* n_tokens is None"),
        ({"embedding_dropout_rate": -0.1, "n_tokens": 12}, "embedding_dropout_rate=-0.1"),
        ({"n_tokens": 1}, "n_tokens"),
        ({"n_tokens": 2**24 + 1}, "n_tokens"),
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"activation": "elu"}, "activation='elu' is for cell='rnn'"),
        ({"bidirectional": "yes"}, "bidirectional"),
        ({"variational": None}, "variational"),
    ],
)
def test_bad_parameters(Est, params, message):
    X, y = tokens(Est)
    with pytest.raises((TypeError, ValueError), match=message):
        Est(**SMALL | params).fit(X, y)


# The network


@cells
@spread(Est=ESTIMATORS, bidirectional=[False, True], kind=["numbers", "tokens"])
def test_module_computes_what_predict_computes(Est, cell, bidirectional, kind):
    X, y = numbers(Est) if kind == "numbers" else tokens(Est)
    params = SMALL | {"hidden_layer_sizes": (6, 4), "cell": cell, "bidirectional": bidirectional}
    if kind == "tokens":
        params |= {"n_tokens": N_TOKENS, "embedding_dropout_rate": 0.2}
    est = Est(**params, **ALL_RATES).fit(X, y)
    expected = answers(est, X)
    np.testing.assert_allclose(outputs_of_module(est, X), expected, rtol=1e-4, atol=1e-5)
    module = est.module_
    names = [name for name, _ in module.recurrent.layers.named_children()]
    assert names == [
        "spatial_dropout",
        "input_dropout",
        "recurrent_1",
        "dropout_1",
        "recurrent_2",
        "dropout_2",
    ]
    assert isinstance(module.recurrent.layers.input_dropout, VariationalDropout)
    module.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one, two = (module(torch.as_tensor(X, dtype=torch.float32)) for _ in range(2))
    assert not torch.equal(one, two)
    copy = Est(**params, **ALL_RATES, warm_start=True).fit(X, y).module_
    copy.load_state_dict(est.module_.state_dict())
    assert len(list(est.net_.module_.state_dict())) == len(copy.state_dict())


@spread(activation=ACTIVATIONS, bidirectional=[False, True], Est=ESTIMATORS)
def test_module_of_every_activation(Est, activation, bidirectional):
    X, y = tokens(Est)
    params = SMALL | {"cell": "rnn", "n_tokens": N_TOKENS, "activation": activation}
    est = Est(**params, bidirectional=bidirectional).fit(X, y)
    np.testing.assert_allclose(outputs_of_module(est, X), answers(est, X), rtol=1e-4, atol=1e-5)


@both
def test_later_parameters_do_not_change_a_fitted_network(Est):
    X, y = tokens(Est)
    est = Est(**SMALL, n_tokens=N_TOKENS, recurrent_dropout_rate=0.3).fit(X, y)
    expected, drawn = answers(est, X), samples(est, X)
    est.set_params(cell="gru", bidirectional=True, hidden_layer_sizes=(3, 3), variational=False)
    est.set_params(embedding_dim=5, mask_zero=False, recurrent_dropout_rate=0.0)
    np.testing.assert_array_equal(answers(est, X), expected)
    np.testing.assert_array_equal(samples(est, X), drawn)
    np.testing.assert_allclose(outputs_of_module(est, X), expected, rtol=1e-4, atol=1e-5)


@both
def test_an_lstm_has_its_own_activation(Est):
    X, y = numbers(Est)
    one, other = (Est(**SMALL, activation=name).fit(X, y) for name in ("relu", "tanh"))
    np.testing.assert_array_equal(answers(one, X), answers(other, X))
    one, other = (Est(**SMALL, cell="rnn", activation=n).fit(X, y) for n in ("relu", "tanh"))
    assert not np.allclose(answers(one, X), answers(other, X))


@both
@cells
def test_fitted_attributes(Est, cell):
    X, y = tokens(Est)
    params = {"hidden_layer_sizes": (6, 4), "max_iter": 2, "random_state": 0, "cell": cell}
    est = Est(**params, n_tokens=N_TOKENS, embedding_dim=5, bidirectional=True).fit(X, y)
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[cell]
    expected = [(N_TOKENS, 5)]
    for n_in, n in ((5, 6), (12, 4)):
        expected += [(gates * n, n_in), (gates * n, n)] * 2
    assert [w.shape for w in est.coefs_] == [*expected, (8, 1)]
    biases = {"lstm": 4, "gru": 6, "rnn": 1}[cell]
    assert [b.shape for b in est.intercepts_] == [(biases * 6,)] * 2 + [(biases * 4,)] * 2 + [(1,)]
    assert (est.n_layers_, est.n_outputs_, est.n_features_in_) == (4, 1, 7)


# Training


@both
@cells
@pytest.mark.parametrize("variational", [False, True])
def test_the_same_seed_gives_the_same_bits(Est, cell, variational):
    X, y = tokens(Est)
    est = Est(**SMALL, **ALL_RATES, n_tokens=N_TOKENS, cell=cell, variational=variational)
    est.set_params(embedding_dropout_rate=0.2)
    before = [torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()]
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one, two = (answers(clone(est).fit(X, y), X) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, answers(clone(est).set_params(random_state=1).fit(X, y), X))
    after = [torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()]
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert torch.is_grad_enabled()
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@both
def test_every_rate_changes_the_fit(Est):
    X, y = tokens(Est)
    base = SMALL | {"n_tokens": N_TOKENS, "dropout_rate": 0.0}
    fits = {"none": {}, "embedding": {"embedding_dropout_rate": 0.3}}
    fits |= {name: {name: 0.3} for name in ALL_RATES}
    fits |= {f"fresh {name}": {name: 0.3, "variational": False} for name in ALL_RATES}
    found = {name: answers(Est(**base | params).fit(X, y), X) for name, params in fits.items()}
    # What is dropped once for a sequence in either case.
    assert np.array_equal(found.pop("fresh dropout_rate"), found["dropout_rate"])
    assert np.array_equal(found.pop("fresh spatial_dropout_rate"), found["spatial_dropout_rate"])
    names = list(found)
    for place, name in enumerate(names):
        for other in names[:place]:
            assert not np.array_equal(found[name], found[other]), (name, other)


@pytest.mark.parametrize("variational", [False, True])
@cells
def test_it_learns_through_dropout(cell, variational):
    X, y = numbers(DropoutRNNClassifier, n=200)
    clf = DropoutRNNClassifier(
        (16,),
        cell=cell,
        variational=variational,
        recurrent_dropout_rate=0.1,
        dropout_rate=0.1,
        learning_rate_init=0.01,
        max_iter=30,
        batch_size=32,
        random_state=0,
    ).fit(X, y)
    X_test, y_test = numbers(DropoutRNNClassifier, n=200, seed=1)
    assert clf.score(X_test, y_test) > 0.85


@both
def test_weights_count_rows(Est):
    """In one batch a row of weight two and two rows are the same, dropout and all."""
    X, y = tokens(Est)
    weight = np.arange(len(y)) % 3
    params = SMALL | {"batch_size": 200, "n_tokens": N_TOKENS, "recurrent_dropout_rate": 0.3}
    weighted = Est(**params).fit(X, y, sample_weight=weight)
    repeated = Est(**params).fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_array_equal(answers(weighted, X), answers(repeated, X))


@both
@pytest.mark.parametrize("variational", [False, True])
def test_partial_fit_goes_on_as_fit_does(Est, variational):
    X, y = tokens(Est)
    est = Est(**SMALL, **ALL_RATES, n_tokens=N_TOKENS, variational=variational)
    uninterrupted = clone(est).fit(X, y)
    first = {"classes": np.unique(y)} if is_classifier(est) else {}
    est.partial_fit(X, y, **first)
    for _ in range(SMALL["max_iter"] - 1):
        est = pickle.loads(pickle.dumps(est)).partial_fit(X, y)
    np.testing.assert_array_equal(answers(est, X), answers(uninterrupted, X))
    longer = np.hstack([X, X[:, ::-1]])
    est.partial_fit(longer, y)
    assert est.n_features_in_ == X.shape[1]
    assert np.isfinite(answers(est, longer)).all()


@both
def test_predictions_are_those_of_the_fitted_network_whatever_is_set_later(Est):
    X, y = numbers(Est)
    est = Est(**SMALL).fit(X, y)
    expected, module = answers(est, X), str(est.module_)
    est.set_params(n_tokens=9, input_shape=(3, 3, 3), variational=False, mask_zero=False)
    np.testing.assert_array_equal(answers(est, X), expected)
    assert str(est.module_) == module


@both
def test_fit_in_inference_mode(Est):
    X = np.random.default_rng(0).standard_normal((40, 20, 1))
    y = X[:, 0, 0] > 0
    expected = answers(Est(**SMALL).fit(X, y), X)
    with torch.inference_mode():
        np.testing.assert_array_equal(answers(Est(**SMALL).fit(X, y), X), expected)
        assert torch.is_inference_mode_enabled()


@both
def test_warm_start(Est):
    X, y = numbers(Est)
    est = Est(**SMALL, warm_start=True, recurrent_dropout_rate=0.2).fit(X, y)
    before = est.loss_curve_
    est.fit(X, y)
    assert len(est.loss_curve_) == 2 * SMALL["max_iter"]
    assert est.loss_curve_[: SMALL["max_iter"]] == before
    with pytest.raises(ValueError, match="call fit with warm_start=False"):
        est.set_params(hidden_layer_sizes=(7,)).fit(X, y)
    with pytest.raises(ValueError, match=r"cell='gru'.* call fit with warm_start=False"):
        est.set_params(hidden_layer_sizes=(6,), cell="gru").fit(X, y)


@both
@pytest.mark.parametrize("scoring", [None, "own", "scorer"])
def test_early_stopping_and_scores(Est, scoring):
    """Also by a scorer of scikit-learn, which hands the network tables of another width."""
    X, y = numbers(Est, n=60)
    X_val, y_val = numbers(Est, n=30, n_steps=8, seed=1)
    name = {
        None: None,
        "own": "accuracy" if is_classifier(Est()) else "r2",
        "scorer": "f1_macro" if is_classifier(Est()) else "neg_mean_absolute_error",
    }[scoring]
    params = SMALL | {"max_iter": 30, "learning_rate_init": 0.05, "n_iter_no_change": 3}
    est = Est(**params, early_stopping=True, scoring=name, recurrent_dropout_rate=0.2)
    est.fit(X, y, X_val=X_val, y_val=y_val)
    assert max(est.validation_scores_) == est.best_validation_score_
    if scoring != "scorer":
        assert est.score(X_val, y_val) == pytest.approx(est.best_validation_score_, abs=1e-5)
    est.fit(X, y)
    assert len(est.validation_scores_) == est.n_iter_


class Recorder(Callback):
    """Sees the weights of training, and stops them from changing in the end."""

    def on_train_begin(self, net, **kwargs):
        self.seen, self.gradients = [], []

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.gradients.append(
            {name: p.grad.abs().sum().item() for name, p in named_parameters if p.requires_grad}
        )

    def on_epoch_end(self, net, **kwargs):
        self.seen.append([p.detach().clone() for p in net.module_.parameters()])
        if len(self.seen) == 3:
            net.module_.output.bias.data.fill_(100.0)


@both
@cells
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_callbacks_see_and_change_the_weights_in_training(Est, cell, rate):
    X, y = tokens(Est)
    recorder = Recorder()
    params = SMALL | {"max_iter": 3, "n_tokens": N_TOKENS, "recurrent_dropout_rate": rate}
    est = Est(**params, cell=cell, callbacks=[recorder], bidirectional=True).fit(X, y)
    plain = Est(**params, cell=cell, bidirectional=True).fit(X, y)
    assert est.loss_curve_ == pytest.approx(plain.loss_curve_, rel=1e-5)
    first, *_, last = recorder.seen
    assert any(not torch.equal(a, b) for a, b in zip(first, last))
    assert all(value > 0 for gradients in recorder.gradients for value in gradients.values())
    assert len(recorder.gradients[0]) == len(plain.coefs_) + len(plain.intercepts_) + (
        2 if cell == "gru" else 0
    )
    assert est._parameters[1][-1] == 100.0
    np.testing.assert_allclose(est._parameters[0][0], plain._parameters[0][0], rtol=1e-5, atol=1e-6)


@both
def test_max_norm(Est):
    X, y = numbers(Est)
    est = Est(**SMALL, max_norm=0.1, learning_rate_init=0.1).fit(X, y)
    for kernel in est.coefs_[:-1]:
        assert (np.linalg.norm(kernel, axis=1) <= 0.1 + 1e-6).all()


def test_several_outputs():
    X, _ = numbers(DropoutRNNRegressor)
    y = np.stack([X[:, :, 0].sum(1), X[:, 0, 1]], axis=1)
    est = DropoutRNNRegressor(**SMALL).fit(X, y)
    assert est.predict(X).shape == y.shape
    labels = (y > 0).astype(int)
    clf = DropoutRNNClassifier(**SMALL).fit(X, labels)
    assert clf.predict(X).shape == labels.shape
    many = DropoutRNNClassifier(**SMALL).fit(X, np.arange(len(X)) % 4)
    np.testing.assert_allclose(many.predict_proba(X).sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("pipeline", [False, True])
def test_search_gives_the_scores_of_grid_search(pipeline):
    """Also over parameters by which data are checked, which candidates must not share."""
    X, y = tokens(DropoutRNNClassifier, n=30)
    grid = {"recurrent_dropout_rate": [0.0, 0.4], "mask_zero": [True, False]}
    model = DropoutRNNClassifier(**SMALL | {"max_iter": 3}, n_tokens=N_TOKENS)
    if pipeline:
        model = make_pipeline("passthrough", model)
        grid = {f"dropoutrnnclassifier__{name}": values for name, values in grid.items()}
    ours, theirs = (
        Search(model, grid, cv=2, scoring="neg_log_loss").fit(X, y)
        for Search in (DropoutSearchCV, GridSearchCV)
    )
    scores = ours.cv_results_["mean_test_score"]
    np.testing.assert_array_equal(scores, theirs.cv_results_["mean_test_score"])
    assert len(set(scores)) == 4


@both
def test_in_scikit_learn_s_tools(Est):
    X, y = numbers(Est)
    flat = X.reshape(len(X), -1)
    model = make_pipeline(StandardScaler(), Est(**SMALL, input_shape=(5, 3)))
    assert np.isfinite(cross_val_score(model, flat, y, cv=2)).all()
    assert np.isfinite(cross_val_score(Est(**SMALL), X, y, cv=2)).all()


# Monte Carlo dropout


def samples(est, X, n_samples=20, seed=0):
    """Outputs with dropout on."""
    X = est._validate(X, reset=False)
    with torch.inference_mode():
        rows = torch.from_numpy(X)
        return est._sample_outputs(rows, est._draw_masks(n_samples, Streams(seed))).numpy()


def in_blocks(est, X, n_samples):
    """The same from one run of the streams, some passes at a time."""
    streams, X = Streams(0), torch.from_numpy(est._validate(X, reset=False))
    with torch.inference_mode():
        return torch.cat([est._sample_outputs(X, est._draw_masks(n, streams)) for n in n_samples])


def fitted(Est, kind="tokens", **params):
    X, y = numbers(Est) if kind == "numbers" else tokens(Est)
    if kind == "tokens":
        params = {"n_tokens": N_TOKENS, "embedding_dropout_rate": 0.2} | params
    return Est(**SMALL | ALL_RATES | params).fit(X, y), X


@both
@pytest.mark.parametrize("kind", ["numbers", "tokens"])
@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize("sizes", [(6,), (6, 4)])
def test_samples_of_a_row_do_not_depend_on_others(Est, kind, variational, sizes, monkeypatch):
    est, X = fitted(
        Est, kind, variational=variational, hidden_layer_sizes=sizes, bidirectional=True
    )
    z = samples(est, X)
    assert z.shape == (20, len(X), 1)
    np.testing.assert_allclose(samples(est, X[10:13]), z[:, 10:13], rtol=1e-10)
    monkeypatch.setattr("sklearn_dropout.estimators.rnn_family._CHUNK_VALUES", 100_000)
    np.testing.assert_allclose(samples(est, X), z, rtol=1e-10)
    assert not np.allclose(samples(est, X, seed=1), z)
    np.testing.assert_allclose(samples(est, X, 7), z[:7], rtol=1e-10)
    np.testing.assert_allclose(in_blocks(est, X, [3, 1, 16]), z, rtol=1e-10)
    if kind == "tokens":
        zeros = np.zeros((len(X), 4), dtype=int)
        np.testing.assert_array_equal(samples(est, np.hstack([zeros, X])), samples(est, X))


@both
@pytest.mark.parametrize("variational", [False, True])
def test_samples_without_dropout_are_the_prediction(Est, variational):
    rates = dict.fromkeys([*ALL_RATES, "embedding_dropout_rate"], 0.0)
    est, X = fitted(Est, **rates, variational=variational)
    z = samples(est, X, 3)
    np.testing.assert_allclose(z, np.tile(est._outputs(X), (3, 1, 1)), rtol=1e-10)


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize(
    "rate", ["dropout_rate", "input_dropout_rate", "spatial_dropout_rate", "recurrent_dropout_rate"]
)
def test_each_rate_spreads_samples(rate, variational):
    rates = dict.fromkeys([*ALL_RATES, "embedding_dropout_rate"], 0.0) | {rate: 0.4}
    est, X = fitted(DropoutRNNRegressor, **rates, variational=variational)
    z = samples(est, X, 20)
    assert (z.std(axis=0) > 0).all()


def test_samples_of_a_dropped_output_by_hand():
    """A linear function of the last state: the mean over all masks of four units is known."""
    rates = dict.fromkeys([*ALL_RATES, "embedding_dropout_rate"], 0.0) | {"dropout_rate": 0.5}
    est, X = fitted(DropoutRNNRegressor, **rates, hidden_layer_sizes=(4,))
    z = samples(est, X, 400)[..., 0]
    assert len(np.unique(z[:, 0].round(9))) == 16
    error = z.std(axis=0) / 20
    assert (np.abs(z.mean(axis=0) - est._outputs(X)[:, 0]) < 5 * error).all()


@both
def test_samples_leave_everything_as_it_was(Est):
    est, X = fitted(Est, variational=False)
    before, state = pickle.dumps(est), torch.get_rng_state()
    samples(est, X)
    assert pickle.dumps(est) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert samples(est, X.astype(np.float32)).dtype == np.float32
