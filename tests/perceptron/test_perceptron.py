"""The compiled loop against autograd in float64, with the masks of the same seed."""

import threading
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from _perceptron_reference import ACTIVATIONS, LOSSES, Reference, bit_generators
from scipy import sparse

numba = pytest.importorskip("numba")

from sklearn_dropout.dropout.kinds import DropoutSettings  # noqa: E402
from sklearn_dropout.fit.samples import Sample  # noqa: E402
from sklearn_dropout.nn import losses as nn_losses  # noqa: E402
from sklearn_dropout.nn.settings import DenormalFlush  # noqa: E402
from sklearn_dropout.perceptron import compile, loop  # noqa: E402
from sklearn_dropout.perceptron import layout as at  # noqa: E402
from sklearn_dropout.perceptron.data import TrainingRows  # noqa: E402
from sklearn_dropout.perceptron.training import PerceptronTraining  # noqa: E402

RECIPE = "solver", "beta_1", "beta_2", "epsilon", "momentum", "alpha", "max_norm", "batch_size"


def problem(loss="log_loss", sizes=(5, 9, 26, 3), n_rows=23, rates=(0.2, 0.3, 0.4), **changed):
    """Arguments of a training run in float64."""
    rng = np.random.default_rng(0)
    n_outputs = sizes[-1]
    X = rng.normal(size=(n_rows + 4, sizes[0])) * (rng.random((n_rows + 4, sizes[0])) < 0.7)
    targets = np.eye(n_outputs)
    if loss == "binary_log_loss":
        targets = rng.integers(2, size=(4, n_outputs)).astype(float)
    elif loss != "log_loss":
        targets = 1.5 * np.abs(rng.normal(size=(6, n_outputs)))
    options = {
        "weights": [rng.normal(size=s) / np.sqrt(s[0]) for s in pairwise(sizes)],
        "biases": [0.1 * rng.normal(size=n) for n in sizes[1:]],
        "activation": "tanh",
        "loss": loss,
        "solver": "adam",
        "beta_1": 0.9,
        "beta_2": 0.99,
        "epsilon": 1e-3,
        "momentum": 0.8,
        "nesterov": True,
        "learning_rate": 0.05,
        "alpha": 0.01,
        "max_norm": np.inf,
        "batch_size": 8,
        "rates": {
            "input": np.array(rates[:1]),
            "groups": np.array(rates[1:2]),
            "hidden": np.linspace(rates[2], rates[2] / 2, len(sizes) - 2),
        },
        "group_of_column": np.arange(sizes[0]) // 2,
        "X": X,
        "rows": rng.permutation(n_rows + 4)[:n_rows],
        "targets": targets,
        "codes": rng.integers(len(targets), size=n_rows),
        "weight": None,
    }
    return options | changed


def start(options, dtype=np.float64, **changed):
    """A network that has not been trained yet."""
    options = {"bit_generators": bit_generators()} | options | changed
    sample = Sample(*(options.pop(name) for name in ("X", "rows", "targets", "codes", "weight")))
    dropout = DropoutSettings(
        options.pop("rates"),
        options.pop("dropout_type", "bernoulli"),
        options.pop("input_noise_std", 0.0),
    )
    loss = nn_losses.LOSSES[options.pop("loss")]
    recipe = {
        "learning_rate_init": options.pop("learning_rate"),
        "nesterovs_momentum": options.pop("nesterov"),
        **{name: options.pop(name) for name in RECIPE},
    }
    return PerceptronTraining(
        **options,
        sample=TrainingRows(sample, dtype),
        recipe=SimpleNamespace(**recipe),
        loss=loss,
        dropout=dropout,
    )


def train(options, n_epochs=1, dtype=np.float64, **changed):
    """A run, the orders of its epochs and its losses."""
    rng = np.random.default_rng(1)
    order = np.array([rng.permutation(len(options["rows"])) for _ in range(n_epochs)])
    training = start(options, dtype, **changed)
    return training, order, training.epochs(order)


def assert_equals_autograd(options, n_epochs=1, **changed):
    training, order, losses = train(options, n_epochs, **changed)
    reference = Reference(bit_generators=bit_generators(), **options)
    np.testing.assert_allclose(losses, [reference.epoch(o) for o in order], rtol=0, atol=1e-10)
    for ours, theirs in zip(training.weights + training.biases, reference.parameters):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(training.noise_sums, reference.noise_sums, atol=1e-9)
    for use, source in training._bit_generators.items():
        theirs = reference.bit_generators[use].state["state"]["state"]
        np.testing.assert_array_equal(source.state["state"]["state"], theirs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("loss", "sizes"), [("log_loss", (5, 9, 26, 3)), ("squared_error", (5, 17, 1))]
)
def test_activations(activation, loss, sizes):
    """With plain SGD the parameters tell the raw gradient."""
    options = problem(loss, sizes, activation=activation, solver="sgd", momentum=0.0)
    assert_equals_autograd(options)


@pytest.mark.parametrize("activation", ["relu", "selu"])
@pytest.mark.parametrize("sizes", [(5, 9, 26, 3), (6, 17, 1)])
@pytest.mark.parametrize("kind", ["gaussian", "alpha"])
def test_kinds_of_dropout(kind, sizes, activation):
    loss = "log_loss" if sizes[-1] > 1 else "squared_error"
    options = problem(loss, sizes, activation=activation, dropout_type=kind, input_noise_std=0.3)
    assert_equals_autograd(options, n_epochs=3)
    del options["input_noise_std"]
    assert_equals_autograd(options, n_epochs=3, X=sparse.csr_array(options["X"]))
    some = options["rates"] | {"hidden": np.array([0.0, 0.5])[: len(sizes) - 2]}
    assert_equals_autograd(options | {"rates": some})


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss, is_sparse, n_outputs):
    options = problem(loss, (6, 30, n_outputs * (1 + (loss == "gaussian"))))
    options["weight"] = np.random.default_rng(2).integers(1, 4, size=23) / 2
    X = sparse.csr_array(options["X"]) if is_sparse else options["X"]
    assert_equals_autograd(options, X=X)


@pytest.mark.parametrize(
    "changed",
    [
        {"solver": "adam", "max_norm": 0.6},
        {"solver": "adamw"},
        {"solver": "sgd", "max_norm": 0.6},
        {"solver": "sgd", "nesterov": False, "alpha": 0.0},
    ],
)
def test_solvers(changed):
    assert_equals_autograd(problem(activation="relu", **changed), n_epochs=5)


@pytest.mark.parametrize("rates", [(0, 0, 0), (0.3, 0, 0), (0, 0.3, 0), (0, 0, 0.3), (0.3, 0.3, 0)])
def test_dropout(rates):
    assert_equals_autograd(problem(rates=rates, activation="relu"))


@pytest.mark.parametrize("sizes", [(5, 3), (5, 1), (3, 1, 1, 2), (300, 70, 50, 10), (3, 300, 9)])
def test_shapes(sizes):
    """No hidden layer, layers with one unit, and more than one tile and block in each direction."""
    loss = "squared_error" if sizes[-1] == 1 else "log_loss"
    assert_equals_autograd(problem(loss, sizes, n_rows=60, batch_size=37))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_begin_with_a_cache_line(dtype):
    """Otherwise wide networks take 15 % longer in some processes than in others."""
    for n_features in range(1, 20):
        training = start(problem(sizes=(n_features, 3, 3)), dtype=dtype)
        arrays = training.parameters, training._first, training._second, training._gradients
        assert all(array.ctypes.data % 64 == 0 for array in (*arrays, training._work))


@pytest.fixture
def always_shared(monkeypatch):
    """Let threads share every step."""
    monkeypatch.setattr("sklearn_dropout.perceptron.training._SHARED_STEP", 0)
    monkeypatch.setattr("sklearn_dropout.perceptron.training._SHARED_ROWS", 1)


@pytest.mark.usefixtures("always_shared")
def test_threads_within_a_network():
    """Several threads share a step; also a batch that has fewer rows than there are threads."""
    options = problem(n_rows=17, max_norm=0.6)
    assert_equals_autograd(options, n_epochs=2, n_threads=3)


@pytest.mark.parametrize(
    ("sizes", "batch_size", "n_parts"),
    [
        ((9, 100, 10), 2048, 1),  # no threads for small products
        ((784, 256, 10), 200, 6),  # at least 32 rows for each
        ((784, 256, 10), 60, 1),
        ((784, 1024, 10), 2048, 4),  # at most four million numbers in all gradients
        ((784, 6000, 10), 2048, 2),  # or two gradients
    ],
)
def test_how_many_threads_share_a_step(sizes, batch_size, n_parts):
    options = problem("log_loss", sizes, n_rows=2048, batch_size=batch_size)
    training = start(options, np.float32, n_threads=64)
    assert len(training._counts) == n_parts


def test_random_words_count_in_the_length_of_a_call():
    """Those of wide sparse rows may take most of a step."""
    X = sparse.random(40, 100_000, 1e-4, format="csr", random_state=0)
    options = problem("squared_error", (100_000, 2, 1), batch_size=20)
    options |= {"X": X, "rows": np.arange(23), "group_of_column": np.arange(100_000)}
    none = {"input": np.zeros(1), "groups": np.zeros(1), "hidden": np.zeros(1)}
    steps = [
        start(options, np.float32, rates=none | {name: np.array([0.2])})._call_steps
        for name in ("hidden", "input", "groups")
    ]
    assert steps[0] > 4 * steps[1]
    assert steps[1] == steps[2]


@pytest.mark.usefixtures("always_shared")
def test_threads_of_a_network_treat_denormal_numbers_as_zero(monkeypatch):
    """Also where threads do not inherit that; moments of unused weights become denormal."""

    def run_as_elsewhere(thread, run=threading.Thread.run):
        torch.set_flush_denormal(False)
        run(thread)

    monkeypatch.setattr("sklearn_dropout.perceptron.training.pace", lambda: repeat_pace(True))
    monkeypatch.setattr(threading.Thread, "run", run_as_elsewhere)
    options = problem(alpha=0.0, beta_1=0.1, beta_2=0.1, activation="relu")
    training, order, _ = train(options, dtype=np.float32, n_threads=3)
    training.biases[0][:] = -1e6  # units of the first layer are zero from here on
    tiny, moments = np.finfo(np.float32).tiny, []
    with DenormalFlush() as flush:
        flush.on()
        for _ in range(20):
            training.epochs(order)
            moments.append(training.get_state()["second_moment"])
    n_unused = training.weights[0].size + training.weights[1].size
    unused = np.array(moments)[:, :n_unused]
    assert (unused[0] > 0).any()
    assert not unused[-1].any()
    assert not ((unused > 0) & (unused < tiny)).any()


@pytest.mark.usefixtures("always_shared")
def test_sharing_changes_nothing(monkeypatch):
    """Whether threads share a step depends on how busy the machine is; the result must not."""
    results = []
    for shared in (False, True):
        monkeypatch.setattr(
            "sklearn_dropout.perceptron.training.pace", lambda shared=shared: repeat_pace(shared)
        )
        training, _, losses = train(problem(), 20, np.float32, n_threads=2)
        results.append((training.parameters, losses))
    np.testing.assert_array_equal(*(parameters for parameters, _ in results))
    np.testing.assert_array_equal(*(losses for _, losses in results))


def repeat_pace(shared):
    while True:
        yield shared


def test_threads_side_by_side():
    options = problem()
    alone = train(options, 20)[0].parameters
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(train(options, 20)[0].parameters))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, alone)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_single_precision(activation):
    options = problem(activation=activation, alpha=1e-3, learning_rate=0.01)
    single, _, losses = train(options, 10, np.float32)
    double, _, expected = train(options, 10)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_allclose(single.parameters, double.parameters, atol=2e-5)


def test_cuts_change_nothing():
    """Neither how epochs are grouped nor how many steps a compiled call takes matters."""
    options = problem(n_rows=20)
    uninterrupted, order, losses = train(options, 6)
    parts = start(options)
    parts._call_steps = 2
    one_by_one = [parts.epochs(order[:1]), parts.epochs(order[1:4]), parts.epochs(order[4:])]
    np.testing.assert_array_equal(np.concatenate(one_by_one), losses)
    np.testing.assert_array_equal(parts.parameters, uninterrupted.parameters)
    np.testing.assert_array_equal(parts.noise_sums, uninterrupted.noise_sums)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_state_continues(solver):
    options = problem(solver=solver)
    uninterrupted, order, _ = train(options, 4)
    sources = bit_generators()
    first = start(options, bit_generators=sources)
    first.epochs(order[:2])
    state = first.get_state()
    second = start(options, bit_generators=sources, weights=first.weights, biases=first.biases)
    second.set_state({"another": np.zeros(3)})
    second.set_state(state)
    second.epochs(order[2:])
    np.testing.assert_array_equal(second.parameters, uninterrupted.parameters)
    assert not np.array_equal(state.popitem()[1], second.get_state().popitem()[1])


def test_divergence_shows():
    options = problem("squared_error", learning_rate=1e30, solver="sgd", activation="relu")
    assert not np.isfinite(train(options, 30, np.float32)[2]).all()


def test_outputs():
    options = problem(rates=(0.5, 0.5, 0.5), n_rows=50)
    training, _, _ = train(options, 2)
    x = options["X"]
    for w, b in list(zip(training.weights, training.biases))[:-1]:
        x = np.tanh(x @ w + b)
    expected = x @ training.weights[-1] + training.biases[-1]
    np.testing.assert_allclose(training.outputs(options["X"]), expected, atol=1e-12)
    some = np.array([4, 0, 4])
    np.testing.assert_allclose(
        training.outputs(sparse.csr_matrix(options["X"]), some), expected[some], atol=1e-12
    )
    assert training.outputs(options["X"][:0]).shape == (0, 3)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
def test_kinds_of_arrays_are_compiled_once(tmp_path):
    options = problem()
    expected = train(options)[0].parameters
    n_compiled = len(loop.train.dispatcher.signatures)
    np.save(tmp_path / "X.npy", options["X"])
    read_only = {
        name: np.frombuffer(options[name].tobytes(), options[name].dtype).reshape(
            options[name].shape
        )
        for name in ("X", "rows", "targets", "codes", "group_of_column")
    }
    wide = sparse.csr_matrix(options["X"])
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    for changed in (
        read_only,
        {"X": np.load(tmp_path / "X.npy", mmap_mode="r")},
        {"X": np.asfortranarray(options["X"])},
        {"X": wide},
    ):
        np.testing.assert_array_equal(train(options, **changed)[0].parameters, expected)
    assert len(loop.train.dispatcher.signatures) == n_compiled


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
def test_machine_code_is_loaded_without_numbas_own_functions(monkeypatch):
    """Registering their implementations takes longer than all the rest of a first fit."""
    expected = train(problem())[0].parameters  # compiled and saved, unless it was
    fresh = compile.Entry(loop.train.dispatcher.py_func)
    if not isinstance(fresh.dispatcher._cache, compile._Cache):
        pytest.skip("no folder can be written to")
    registered = []
    monkeypatch.setattr(type(fresh.dispatcher.targetctx), "refresh", registered.append)
    monkeypatch.setattr("sklearn_dropout.perceptron.training.train", fresh)
    np.testing.assert_array_equal(train(problem())[0].parameters, expected)
    assert not registered


@pytest.mark.usefixtures("always_shared")
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("sizes", [(40, 21, 3), (40, 3), (40, 1)])
@pytest.mark.parametrize("rates", [(0, 0, 0.3), (0.3, 0, 0), (0, 0.3, 0.3), (0.3, 0.3, 0)])
def test_sparse_rows(monkeypatch, rates, sizes, n_threads):
    """Empty rows, unsorted columns, numbers in two parts, stored zeros; cut into several blocks."""
    monkeypatch.setattr("sklearn_dropout.perceptron.layout._CACHED", 0)
    monkeypatch.setattr(at, "_step_layout", at._step_layout.__wrapped__)  # no layout from before
    options = problem("squared_error", sizes, n_rows=30, batch_size=13, rates=rates)
    rng = np.random.default_rng(3)
    X = options["X"] * (rng.random(options["X"].shape) < 0.2)
    X[:, 7] = 0
    X[options["rows"][::4]] = 0
    row, column = X.nonzero()
    parts = rng.integers(-2, 3, size=row.size)  # a number and its parts: exact sums
    data = np.concatenate([X[row, column] - parts, parts, np.zeros(9)])
    row, column = np.tile(row, 2), np.tile(column, 2)
    row, column = np.append(row, rng.integers(34, size=9)), np.append(column, np.full(9, 7))
    mixed = rng.permutation(row.size)
    mixed = mixed[np.argsort(row[mixed], kind="stable")]
    starts = np.searchsorted(row[mixed], np.arange(35))
    rows = sparse.csr_matrix((data[mixed], column[mixed], starts), shape=X.shape)
    assert not rows.has_sorted_indices
    assert not rows.has_canonical_format
    options |= {"X": X, "weight": rng.integers(1, 4, size=30) / 2}
    assert_equals_autograd(options, n_epochs=3, X=rows, n_threads=n_threads)


def test_sparse_rows_are_never_dense():
    """A million columns: a block of dense rows would take gigabytes."""
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(300, size=3000), rng.integers(1_000_000, size=3000)
    X = sparse.csr_array((rng.uniform(size=3000), (rows, columns)), shape=(300, 1_000_000))
    options = problem("squared_error", (2, 3, 1), n_rows=300, batch_size=300, rates=(0, 0.2, 0.2))
    options["weights"][0] = np.zeros((1_000_000, 3))
    options["group_of_column"] = np.arange(1_000_000) // 500_000
    options |= {"X": X, "rows": np.arange(300)}
    training, _, _ = train(options, dtype=np.float32)
    assert training._work.nbytes < 1e7
    unused = np.delete(np.arange(1_000_000), np.unique(X.indices))
    assert not training.weights[0][unused].any()
    assert training.weights[0].any()
    dense = np.zeros((2, 1_000_000), dtype=np.float32)  # which can still be asked for
    dense[0] = X[[5]].toarray()
    np.testing.assert_allclose(
        training.outputs(dense)[0], training.outputs(X, np.array([5]))[0], rtol=1e-4
    )
