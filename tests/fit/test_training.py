"""Training against a plain PyTorch loop and scikit-learn, schedules, stopping, recorded scores."""

import numpy as np
import pytest
import torch
from _families import spread
from sklearn.base import clone, is_classifier
from sklearn.metrics import accuracy_score, get_scorer, r2_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from torch.nn import functional

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor
from sklearn_dropout.fit.evaluation import SCORES

ESTIMATORS = [DropoutMLPClassifier, DropoutMLPRegressor]
THEIRS = {DropoutMLPClassifier: MLPClassifier, DropoutMLPRegressor: MLPRegressor}
NO_DROPOUT = {"hidden_layer_sizes": (8, 5), "dropout_rate": 0.0, "random_state": 0}
SEEDS = [0, 1, 2]


def standard(y):
    return (y - y.mean(axis=0)) / y.std(axis=0)


# Targets on which the regressors' standardisation does nothing.
TARGETS = {
    "binary": (DropoutMLPClassifier, lambda s: (s[:, 0] > 0).astype(int)),
    "classes": (DropoutMLPClassifier, lambda s: np.digitize(s[:, 0], [-0.5, 0.5])),
    "labels": (DropoutMLPClassifier, lambda s: (s > 0).astype(int)),
    "number": (DropoutMLPRegressor, lambda s: standard(s[:, 0])),
    "numbers": (DropoutMLPRegressor, standard),
}
all_targets = pytest.mark.parametrize("kind", TARGETS)
both = pytest.mark.parametrize("Est", ESTIMATORS)


@pytest.fixture(autouse=True)
def one_thread():
    """Steps this small are over before a second thread has woken up."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def problem(kind, seed=0, n=37):
    """An estimator class and data; 37 rows leave a smaller last batch."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 5))
    signal = np.stack([X[:, 0] + np.sin(X[:, 1]), X[:, 2] - X[:, 3], X[:, 4] * X[:, 0]], axis=1)
    Est, target = TARGETS[kind]
    return Est, X, target(signal + 0.1 * rng.standard_normal((n, 3)))


def data(Est, seed=0, n=37):
    return problem("classes" if is_classifier(Est()) else "number", seed, n)[1:]


def start(est, X, y, weight=None):
    """The weights and biases that training starts from: those after a step of no length."""
    still = {"solver": "sgd", "learning_rate_init": 1e-30, "max_iter": 1, "warm_start": False}
    est = clone(est).set_params(**still, max_norm=None, early_stopping=False)
    est.fit(X, y, weight)
    return est.coefs_, est.intercepts_


# A plain PyTorch loop

LOSSES = {
    "binary": lambda z, y: functional.binary_cross_entropy_with_logits(z, y, reduction="none"),
    "classes": lambda z, y: -torch.log_softmax(z, 1) * y,
    "labels": lambda z, y: functional.binary_cross_entropy_with_logits(z, y, reduction="none"),
    "squared_error": lambda z, y: (z - y) ** 2 / 2,
    "absolute_error": lambda z, y: (z - y).abs(),
    "huber": lambda z, y: functional.huber_loss(z, y, reduction="none"),
    "poisson": lambda z, y: torch.exp(z) - y * z + torch.xlogy(y, y) - y,
}


def plain_loop(est, X, y, loss, make_optimizer, weight=None, activation=torch.tanh):
    """Train by autograd from the estimator's first weights, rows in order.

    Returns
    -------
    weights, biases, mean loss of each epoch
    """
    weights, biases = (
        [torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in part]
        for part in start(est, X, y, weight)
    )
    optimizer = make_optimizer(weights, biases)
    X, target = torch.tensor(X), torch.tensor(y, dtype=torch.float64).reshape(len(X), -1)
    if loss == "classes":
        target = functional.one_hot(torch.tensor(y)).double()
    weight = torch.ones(len(X)) if weight is None else torch.tensor(weight)
    penalty = 0 if est.solver == "adamw" else est.alpha
    curve = []
    for _ in range(est.max_iter):
        total = 0.0
        for batch in torch.arange(len(X)).split(est.batch_size):
            h = X[batch]
            for W, b in zip(weights[:-1], biases[:-1]):
                h = activation(h @ W + b)
            z = h @ weights[-1] + biases[-1]
            w = weight[batch]
            value = (LOSSES[loss](z, target[batch]).sum(1) * w).sum() / w.sum()
            value = value + penalty / 2 * sum(W.square().sum() for W in weights) / w.sum()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if est.max_norm is not None:
                with torch.no_grad():
                    for W in weights[:-1]:
                        W.copy_(torch.renorm(W, 2, 1, est.max_norm))
            total += value.item() * w.sum().item()
        curve.append(total / weight.sum().item())
    return [W.detach().numpy() for W in weights], [b.detach().numpy() for b in biases], curve


def assert_near(est, weights, biases, rtol=1e-3, atol=1e-4):
    for ours, theirs in zip(est.coefs_ + est.intercepts_, [*weights, *biases], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


OPTIMIZERS = {
    "adam": lambda est: (
        lambda W, b: torch.optim.Adam(
            W + b, lr=est.learning_rate_init, betas=(est.beta_1, est.beta_2), eps=est.epsilon
        )
    ),
    "adamw": lambda est: (
        lambda W, b: torch.optim.AdamW(
            [{"params": W, "weight_decay": est.alpha}, {"params": b, "weight_decay": 0.0}],
            lr=est.learning_rate_init,
        )
    ),
    "sgd": lambda est: (
        lambda W, b: torch.optim.SGD(
            W + b,
            lr=est.learning_rate_init,
            momentum=est.momentum,
            nesterov=est.nesterovs_momentum and est.momentum > 0,
        )
    ),
    torch.optim.Adam: lambda est: lambda W, b: torch.optim.Adam(W + b, lr=est.learning_rate_init),
    torch.optim.RMSprop: lambda est: (
        lambda W, b: torch.optim.RMSprop(W + b, lr=est.learning_rate_init)
    ),
}


@spread(solver=OPTIMIZERS, batch_size=[10, 37])
@all_targets
def test_training_equals_a_plain_loop(kind, solver, batch_size):
    Est, X, y = problem(kind)
    params = {"solver": solver, "activation": "tanh", "batch_size": batch_size, "max_iter": 5}
    est = Est(**NO_DROPOUT | params, shuffle=False, alpha=0.1, learning_rate_init=0.01)
    loss = kind if kind in LOSSES else "squared_error"
    *expected, _ = plain_loop(est, X, y, loss, OPTIMIZERS[solver](est))
    assert_near(est.fit(X, y), *expected)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_longer_training_equals_a_plain_loop(kind, seed):
    Est, X, y = problem(kind, seed)
    params = {"activation": "tanh", "batch_size": 37, "max_iter": 50, "random_state": seed}
    est = Est(**NO_DROPOUT | params, alpha=0.1, learning_rate_init=0.01)
    loss = kind if kind in LOSSES else "squared_error"
    *expected, curve = plain_loop(est, X, y, loss, OPTIMIZERS["adam"](est))
    assert_near(est.fit(X, y), *expected)
    np.testing.assert_allclose(est.loss_curve_, curve, rtol=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("batch_size", [10, 37])
@all_targets
def test_loss_curve_equals_that_of_a_plain_loop(kind, batch_size, alpha):
    """Mean of the losses of the steps, each with the penalty of the weights it was taken at."""
    Est, X, y = problem(kind)
    params = {"activation": "tanh", "batch_size": batch_size, "max_iter": 8, "alpha": alpha}
    est = Est(**NO_DROPOUT | params, learning_rate_init=0.01, shuffle=False)
    loss = kind if kind in LOSSES else "squared_error"
    *_, curve = plain_loop(est, X, y, loss, OPTIMIZERS["adam"](est))
    np.testing.assert_allclose(est.fit(X, y).loss_curve_, curve, rtol=1e-4)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "poisson"])
@pytest.mark.parametrize("batch_size", [10, 37])
def test_losses_of_regressors_equal_a_plain_loop(loss, batch_size):
    for seed in SEEDS:
        _, X, y = problem("numbers", seed)
        if loss == "poisson":
            y = np.floor(2 * np.abs(y)) + (y > 0)
            y = y / y.mean(axis=0)
        params = {"activation": "tanh", "batch_size": batch_size, "max_iter": 5, "alpha": 0.0}
        est = DropoutMLPRegressor(**NO_DROPOUT | params, loss=loss, shuffle=False)
        # Signs of residuals may cancel in a gradient, all but rounding; a small epsilon of Adam
        # would make a step of that.
        est.set_params(learning_rate_init=0.01, epsilon=1e-3)
        *expected, curve = plain_loop(est, X, y, loss, OPTIMIZERS["adam"](est))
        assert_near(est.fit(X, y), *expected)
        np.testing.assert_allclose(est.loss_curve_, curve, rtol=1e-4)


@pytest.mark.parametrize("batch_size", [10, 37])
@all_targets
def test_weighted_training_equals_a_plain_loop(kind, batch_size):
    loss = kind if kind in LOSSES else "squared_error"
    for seed in SEEDS[:2]:
        Est, X, y = problem(kind, seed)
        weight = np.random.default_rng(seed).uniform(0.2, 3, len(X))
        if not is_classifier(Est()):
            mean = np.average(y, axis=0, weights=weight)
            y = (y - mean) / np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weight))
        params = {"activation": "tanh", "batch_size": batch_size, "max_iter": 6, "alpha": 0.1}
        est = Est(**NO_DROPOUT | params, shuffle=False, learning_rate_init=0.01)
        *expected, _ = plain_loop(est, X, y, loss, OPTIMIZERS["adam"](est), weight)
        assert_near(est.fit(X, y, weight), *expected)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("kind", ["classes", "number"])
def test_max_norm_equals_a_plain_loop(kind, solver):
    Est, X, y = problem(kind)
    params = {"activation": "tanh", "batch_size": 10, "max_iter": 8, "max_norm": 0.7}
    est = Est(**NO_DROPOUT | params, shuffle=False, learning_rate_init=0.01, solver=solver)
    loss = kind if kind in LOSSES else "squared_error"
    *expected, _ = plain_loop(est, X, y, loss, OPTIMIZERS[solver](est))
    assert_near(est.fit(X, y), *expected)


# scikit-learn


def reference(est, weights, biases):
    """scikit-learn's estimator with the same parameters, starting from the given weights."""
    Est = THEIRS[type(est)]
    first = iter(zip(weights, biases, strict=True))

    class Reference(Est):
        def _init_coef(self, fan_in, fan_out, dtype):
            weight, bias = next(first)
            assert weight.shape == (fan_in, fan_out)
            return weight.astype(dtype), bias.astype(dtype)

    names = Est().get_params()
    params = {name: value for name, value in est.get_params().items() if name in names}
    return Reference(**params)


SOLVERS = {
    "adam": {"solver": "adam"},
    "adam, other moments": {"solver": "adam", "beta_1": 0.7, "beta_2": 0.9},
    "sgd": {"solver": "sgd"},
    "sgd, plain": {"solver": "sgd", "momentum": 0.0},
    "sgd, momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "sgd, invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3},
    "sgd, adaptive": {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 2},
    "adam, adaptive": {"solver": "adam", "learning_rate": "adaptive"},
}
no_convergence = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
)


def comparable(Est, **params):
    """An estimator that scikit-learn's has to follow: nothing dropped, nothing shuffled.

    A `tol` of 10 makes no epoch count as a gain, which "adaptive" then acts on. The small
    `epsilon` is for Adam's denominator, to which PyTorch adds it after the correction of the
    moments (Kingma & Ba 2015, algorithm 1) and scikit-learn before.
    """
    base = {"n_iter_no_change": 1000, "tol": 10.0, "epsilon": 1e-12, "activation": "tanh"}
    return Est(**NO_DROPOUT | base | {"learning_rate_init": 0.02} | params, shuffle=False)


@no_convergence
@spread(solver=SOLVERS, batch_size=[10, 37], alpha=[0.0, 0.5])
@all_targets
def test_training_equals_scikit_learn(kind, solver, batch_size, alpha):
    Est, X, y = problem(kind)
    params = SOLVERS[solver] | {"batch_size": batch_size, "alpha": alpha, "max_iter": 10}
    ours = comparable(Est, **params)
    theirs = reference(ours, *start(ours, X, y)).fit(X, y)
    ours.fit(X, y)
    assert_near(ours, theirs.coefs_, theirs.intercepts_)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-3, atol=1e-4)
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)


@no_convergence
@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("batch_size", [10, 37])
@pytest.mark.parametrize("kind", ["binary", "classes", "labels", "number"])
def test_loss_curve_equals_that_of_scikit_learn(kind, batch_size, alpha):
    Est, X, y = problem(kind)
    ours = comparable(Est, batch_size=batch_size, alpha=alpha, max_iter=10)
    theirs = reference(ours, *start(ours, X, y)).fit(X, y)
    np.testing.assert_allclose(ours.fit(X, y).loss_curve_, theirs.loss_curve_, rtol=1e-4)
    assert ours.best_loss_ == pytest.approx(theirs.best_loss_, rel=1e-4)


@no_convergence
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@both
def test_activations_train_as_in_scikit_learn(Est, activation):
    for seed in SEEDS:
        X, y = data(Est, seed)
        # Plain gradients, since Adam magnifies the rounding errors of units that are all but dead.
        ours = comparable(Est, solver="sgd", activation=activation, batch_size=10, max_iter=10)
        theirs = reference(ours, *start(ours, X, y)).fit(X, y)
        assert_near(ours.fit(X, y), theirs.coefs_, theirs.intercepts_)


@no_convergence
@both
def test_weighted_training_equals_scikit_learn(Est):
    for seed in SEEDS:
        X, y = data(Est, seed)
        weight = np.random.default_rng(seed).uniform(0.2, 3, len(X))
        if not is_classifier(Est()):
            mean = np.average(y, weights=weight)
            y = (y - mean) / np.sqrt(np.average((y - mean) ** 2, weights=weight))
        ours = comparable(Est, batch_size=37, alpha=0.5, max_iter=10)
        theirs = reference(ours, *start(ours, X, y, weight)).fit(X, y, weight)
        ours.fit(X, y, weight)
        assert_near(ours, theirs.coefs_, theirs.intercepts_)
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-4)


@no_convergence
@pytest.mark.parametrize("solver", SOLVERS)
@both
def test_partial_fit_equals_scikit_learn(Est, solver):
    X, y = data(Est)
    ours = comparable(Est, **SOLVERS[solver], batch_size=10)
    theirs = reference(ours, *start(ours, X, y))
    first = {"classes": np.unique(y)} if is_classifier(ours) else {}
    for _ in range(8):
        ours.partial_fit(X, y, **first)
        theirs.partial_fit(X, y, **first)
    assert_near(ours, theirs.coefs_, theirs.intercepts_)
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)
    assert len(ours.loss_curve_) == len(theirs.loss_curve_)


@no_convergence
@pytest.mark.parametrize("solver", ["adam", "sgd", "sgd, plain"])
@both
def test_warm_start_equals_scikit_learn(Est, solver):
    X, y = data(Est)
    ours = comparable(Est, **SOLVERS[solver], batch_size=10, warm_start=True, max_iter=4)
    theirs = reference(ours, *start(ours, X, y))
    for _ in range(3):
        ours.fit(X, y)
        theirs.fit(X, y)
    assert_near(ours, theirs.coefs_, theirs.intercepts_)
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)
    assert len(ours.loss_curve_) == len(theirs.loss_curve_)


# Batches and epochs


@both
def test_default_batch_size_is_200(Est):
    X, y = data(Est, n=450)
    params = NO_DROPOUT | {"dropout_rate": 0.3, "max_iter": 2}
    auto, explicit, other = (
        Est(**params, batch_size=size).fit(X, y) for size in ("auto", 200, 150)
    )
    np.testing.assert_array_equal(auto.coefs_[0], explicit.coefs_[0])
    assert not np.array_equal(auto.coefs_[0], other.coefs_[0])


@both
def test_a_batch_larger_than_the_data_is_the_data(Est):
    X, y = data(Est)
    unsplit, larger = (
        Est(**NO_DROPOUT | {"dropout_rate": 0.3, "batch_size": size, "max_iter": 3}).fit(X, y)
        for size in (len(X), 10_000)
    )
    np.testing.assert_array_equal(unsplit.coefs_[0], larger.coefs_[0])


@pytest.mark.parametrize("batch_size", [1, 7, 37])
@pytest.mark.parametrize("shuffle", [False, True])
@both
def test_epochs_computed_together_or_apart_are_the_same(Est, shuffle, batch_size):
    """A validation set makes training look up after each epoch."""
    X, y = data(Est)
    params = NO_DROPOUT | {"dropout_rate": 0.3, "input_dropout_rate": 0.1, "alpha": 0.01}
    est = Est(**params, max_iter=6, batch_size=batch_size, shuffle=shuffle)
    together = clone(est).fit(X, y)
    apart = clone(est).fit(X, y, X_val=X, y_val=y)
    for one, other in zip(together.coefs_ + together.intercepts_, apart.coefs_ + apart.intercepts_):
        np.testing.assert_array_equal(one, other)
    assert together.loss_curve_ == apart.loss_curve_


@both
def test_shuffle_changes_the_batches_in_each_epoch(Est):
    """With steps of no length, only the batches make the weighted loss differ."""
    X, y = data(Est)
    still = {"solver": "sgd", "learning_rate_init": 1e-30, "alpha": 0.0, "batch_size": 30}
    weight = np.where(np.arange(37) < 5, 0.01, 1.0)
    losses = {}
    for shuffle in (False, True):
        est = Est(**NO_DROPOUT | still, max_iter=5, shuffle=shuffle).fit(X, y, weight)
        losses[shuffle] = est.loss_curve_
        # Whatever the order, an epoch is one pass over all the rows.
        assert np.ptp(losses[shuffle]) < 1e-5 * np.mean(losses[shuffle])
    moved = {
        shuffle: Est(**NO_DROPOUT, batch_size=5, max_iter=1, shuffle=shuffle).fit(X, y).coefs_[0]
        for shuffle in (False, True)
    }
    assert not np.array_equal(moved[False], moved[True])


@both
def test_all_epochs_run_without_early_stopping(Est):
    X, y = data(Est)
    still = {"solver": "sgd", "learning_rate_init": 1e-30, "n_iter_no_change": 1, "tol": 100.0}
    for schedule in ("constant", "invscaling", "adaptive"):
        est = Est(**NO_DROPOUT | still, learning_rate=schedule, max_iter=60).fit(X, y)
        assert est.n_iter_ == len(est.loss_curve_) == 60


# Early stopping


class Script:
    """A scorer that reads its scores of the validation set from a list."""

    def __init__(self, scores, n_valid):
        self.scores = iter(scores)
        self.n_valid = n_valid

    def __call__(self, estimator, X, y, sample_weight=None):
        return next(self.scores) if len(X) == self.n_valid else 0.0


def epochs_by_the_rule(scores, tol, patience):
    """Epochs that scikit-learn's MLPs run, and the one with the best score."""
    best, best_epoch, stale = -np.inf, 0, 0
    for epoch, score in enumerate(scores, start=1):
        stale = stale + 1 if score < best + tol else 0
        if score > best:
            best, best_epoch = score, epoch
        if stale > patience:
            break
    return epoch, best_epoch


@pytest.mark.parametrize("patience", [1, 2, 5, np.inf])
@pytest.mark.parametrize("tol", [0.0, 0.15])
@both
def test_early_stopping_follows_the_rule_of_scikit_learn(Est, tol, patience):
    X, y = data(Est)
    X_val, y_val = data(Est, seed=1, n=11)
    for seed in SEEDS:
        scores = np.random.default_rng(seed).integers(0, 10, 25) / 10
        n_epochs, best = epochs_by_the_rule(scores, tol, patience)
        est = Est(**NO_DROPOUT | {"dropout_rate": 0.3, "batch_size": 10}, max_iter=25, tol=tol)
        plain = clone(est).set_params(max_iter=best).fit(X, y)
        est.set_params(early_stopping=True, n_iter_no_change=patience, scoring=Script(scores, 11))
        est.fit(X, y, X_val=X_val, y_val=y_val)
        assert est.n_iter_ == n_epochs
        assert est.validation_scores_ == scores[:n_epochs].tolist()
        assert est.best_validation_score_ == scores[best - 1]
        for one, other in zip(est.coefs_ + est.intercepts_, plain.coefs_ + plain.intercepts_):
            np.testing.assert_array_equal(one, other)


@both
def test_adaptive_rate_with_early_stopping_is_lowered_before_training_stops(Est):
    """A fifth of 1e-4 three times is below 1e-6: the fourth plateau is the end."""
    X, y = data(Est)
    X_val, y_val = data(Est, seed=1, n=11)
    params = {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 1e-4}
    est = Est(**NO_DROPOUT | params, early_stopping=True, n_iter_no_change=2, max_iter=100)
    est.set_params(scoring=Script([0.5] * 100, 11)).fit(X, y, X_val=X_val, y_val=y_val)
    # The first score is a gain; then every third epoch without one is one too many.
    assert est.n_iter_ == 1 + 3 * 4


def test_held_out_rows_are_stratified_by_class():
    X = np.random.default_rng(0).standard_normal((100, 3))
    y = np.repeat(["a", "b", "c"], [50, 30, 20])
    seen = []

    def score(estimator, X, y):
        seen.append(np.unique(y, return_counts=True)[1].tolist())
        return 0.5

    params = NO_DROPOUT | {"early_stopping": True, "validation_fraction": 0.2, "max_iter": 1}
    DropoutMLPClassifier(**params, scoring=score).fit(X, y)
    assert sorted(seen) == [[10, 6, 4], [40, 24, 16]]


@both
def test_another_seed_holds_out_other_rows(Est):
    X, y = data(Est)
    held_out = set()

    def score(estimator, X, y):
        if len(X) < 20:
            held_out.add(tuple(sorted(X[:, 0].tolist())))
        return 0.5

    for seed in SEEDS:
        est = Est(**NO_DROPOUT | {"random_state": seed}, early_stopping=True, max_iter=2)
        est.fit(X, y)
        est.set_params(scoring=score).fit(X, y)
    assert len(held_out) == len(SEEDS)
    assert {len(rows) for rows in held_out} == {4}


# Scores


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_default_scores_are_those_of_scikit_learn(seed, weighted):
    rng = np.random.default_rng(seed)
    n = 20
    weight = rng.uniform(size=n) if weighted else np.ones(n)
    share = torch.tensor(weight / weight.sum())

    def check(name, prediction, y, by_sklearn):
        value = SCORES[name](torch.tensor(prediction), torch.tensor(y), share)
        assert float(value) == pytest.approx(by_sklearn(y, prediction), rel=1e-12)

    def accuracy(y, p):
        return accuracy_score(y.squeeze().astype(int), p.squeeze() > 0.5, sample_weight=weight)

    check("accuracy", rng.uniform(size=(n, 1)), rng.integers(0, 2, (n, 1)).astype(float), accuracy)
    labels = rng.integers(0, 2, (n, 3)).astype(float)
    check("accuracy", np.clip(labels + rng.normal(0, 0.4, (n, 3)), 0, 1), labels, accuracy)
    check(
        "top_class_accuracy",
        rng.dirichlet(np.ones(4), n),
        np.eye(4)[rng.integers(0, 4, n)],
        lambda y, p: accuracy_score(y.argmax(1), p.argmax(1), sample_weight=weight),
    )
    y = rng.standard_normal((n, 2)) * [1, 100] + [0, 1000]
    check(
        "r2",
        y + rng.standard_normal((n, 2)) * [1, 30],
        y,
        lambda y, p: r2_score(y, p, sample_weight=weight),
    )


@pytest.mark.parametrize("n_valid", [3, 7, 10])
def test_r2_on_a_constant_target(n_valid):
    """0 for a wrong prediction, as from `score`; rounding must not take it for a spread."""
    X, y = data(DropoutMLPRegressor)
    y_val = np.full(n_valid, 1.7)
    est = DropoutMLPRegressor(**NO_DROPOUT, max_iter=1).fit(X, y, X_val=X[:n_valid], y_val=y_val)
    assert est.validation_scores_ == [0.0]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("n_valid", [20, 149, 200])
def test_equal_accuracies_are_equal_numbers(n_valid, n_classes):
    """A tie must not look like a gain: the epoch that is kept hangs on it."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_valid, 4))
    y = np.digitize(X[:, 0] + rng.standard_normal(n_valid), [0, 0.5][: n_classes - 1])
    est = DropoutMLPClassifier((8,), max_iter=60, learning_rate_init=0.03, random_state=0)
    scores = est.fit(X, y, X_val=X, y_val=y).validation_scores_
    assert set(scores) <= {n_right / n_valid for n_right in range(n_valid + 1)}
    assert len(set(scores)) < len(scores)
    easy = est.fit(X, X[:, 1] > 0, X_val=X[:9], y_val=X[:9, 1] > 0)
    assert easy.best_validation_score_ == 1.0


@pytest.mark.parametrize("Est", [DropoutMLPClassifier, DropoutMLPRegressor])
def test_best_validation_score_is_of_the_last_fit(Est):
    X, y = data(Est)
    params = {"warm_start": True, "early_stopping": True, "max_iter": 8, "random_state": 0}
    est = Est((4,), batch_size=10, learning_rate_init=0.1, dropout_rate=0.5, **params)
    for n_fits in range(1, 6):
        est.fit(X, y, X_val=X[:20], y_val=y[:20])
        assert est.best_validation_score_ == pytest.approx(est.score(X[:20], y[:20]), abs=1e-5)
        assert len(est.validation_scores_) == len(est.loss_curve_) > n_fits - 1


@pytest.mark.parametrize("weighted", [False, True])
@all_targets
def test_recorded_scores_are_those_of_the_estimator(kind, weighted):
    Est, X, y = problem(kind)
    _, X_val, y_val = problem(kind, seed=1, n=20)
    rng = np.random.default_rng(0)
    w, w_val = (rng.uniform(size=n) if weighted else None for n in (37, 20))
    for n_epochs in (1, 4):
        est = Est(**NO_DROPOUT | {"dropout_rate": 0.4, "max_iter": n_epochs}, batch_size=10)
        est.fit(X, y, w, X_val=X_val, y_val=y_val, sample_weight_val=w_val)
        last = est.history_[-1]
        assert last["train_score"] == pytest.approx(est.score(X, y, w), abs=1e-5)
        assert last["valid_score"] == pytest.approx(est.score(X_val, y_val, w_val), abs=1e-5)


@all_targets
def test_recorded_validation_loss_is_without_dropout_and_penalty(kind):
    Est, X, y = problem(kind)
    _, X_val, y_val = problem(kind, seed=1, n=20)
    est = Est(**NO_DROPOUT | {"dropout_rate": 0.5, "max_iter": 3, "alpha": 1.0}, batch_size=10)
    weight = np.linspace(0.1, 1, 20)
    est.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    if is_classifier(est):
        log_proba = est.predict_log_proba(X_val)
        if kind == "labels":
            rows = -(y_val * log_proba + (1 - y_val) * np.log1p(-np.exp(log_proba))).sum(1)
        else:
            rows = -log_proba[np.arange(20), y_val]
    else:
        rows = ((est.predict(X_val) - y_val) ** 2 / 2).reshape(20, -1).sum(1)
    expected = np.average(rows, weights=weight)
    assert est.history_[-1, "valid_loss"] == pytest.approx(expected, rel=1e-4)


SCORINGS = [
    ("binary", "neg_log_loss"),
    ("binary", "roc_auc"),
    ("binary", "f1"),
    ("classes", "neg_log_loss"),
    ("classes", "roc_auc_ovr"),
    ("classes", "balanced_accuracy"),
    ("classes", "accuracy"),
    ("labels", "f1_macro"),
    ("number", "neg_mean_squared_error"),
    ("number", "r2"),
    ("number", "neg_max_error"),
    ("numbers", "neg_mean_absolute_error"),
]


@spread(named=SCORINGS, early_stopping=[False, True])
def test_scoring_by_name(named, early_stopping):
    kind, scoring = named
    Est, X, y = problem(kind, n=50)
    _, X_val, y_val = problem(kind, seed=1, n=30)
    params = NO_DROPOUT | {"dropout_rate": 0.2, "batch_size": 10, "max_iter": 4}
    est = Est(**params, scoring=scoring, early_stopping=early_stopping)
    est.fit(X, y, X_val=X_val, y_val=y_val)
    score = get_scorer(scoring)
    assert est.best_validation_score_ == max(est.validation_scores_)
    value = score(est, X_val, y_val)
    if early_stopping:
        assert est.best_validation_score_ == pytest.approx(value, rel=1e-5, abs=1e-6)
    else:
        assert est.validation_scores_[-1] == pytest.approx(value, rel=1e-5, abs=1e-6)
        train = score(est, X, y)
        assert est.history_[-1, "train_score"] == pytest.approx(train, rel=1e-5, abs=1e-6)


@both
def test_scoring_without_a_validation_set_records_the_training_score(Est):
    X, y = data(Est)
    name = "accuracy" if is_classifier(Est()) else "r2"
    est = Est(**NO_DROPOUT, scoring=name, max_iter=3).fit(X, y)
    assert est.history_[-1, "train_score"] == pytest.approx(est.score(X, y), abs=1e-5)
    assert est.validation_scores_ is None
    assert est.best_validation_score_ is None


@both
def test_scoring_by_a_function(Est):
    """It is given a fitted estimator, the rows and the targets in their own units."""
    X, y = data(Est)
    y = np.array(["x", "y", "z"])[y] if is_classifier(Est()) else 5 * y + 3
    seen = []

    def score(estimator, X, y):
        seen.append((len(X), y))
        return estimator.predict(X).size / 100

    est = Est(**NO_DROPOUT, scoring=score, max_iter=2).fit(X, y, X_val=X[:9], y_val=y[:9])
    assert est.validation_scores_ == [0.09, 0.09]
    assert est.history_[:, "train_score"] == [0.37, 0.37]
    for n, targets in seen:
        if n == 9 and not is_classifier(est):
            np.testing.assert_allclose(targets, y[:9], rtol=1e-5)
        elif n == 9:
            assert targets.tolist() == y[:9].tolist()
    assert len(seen) == 4


@both
def test_scoring_by_a_function_that_takes_no_weights(Est):
    """Equal rows are no reason to pass weights that the user never gave."""
    X, y = data(Est)
    X, y = np.vstack([X, X[:3]]), np.concatenate([y, y[:3]])

    def score(estimator, X, y):
        return float(len(X))

    est = Est(**NO_DROPOUT, scoring=score, max_iter=1).fit(X, y)
    assert est.history_[:, "train_score"] == [len(X)]


@pytest.mark.parametrize("early_stopping", [False, True])
@both
def test_scores_that_are_no_numbers(Est, early_stopping):
    """As where a metric is not defined: training goes on, and no epoch is the best."""
    X, y = data(Est)
    params = NO_DROPOUT | {"early_stopping": early_stopping, "n_iter_no_change": 2, "max_iter": 6}
    est = Est(**params, scoring=lambda estimator, X, y: np.nan)
    est.fit(X, y, X_val=X, y_val=y)
    assert est.n_iter_ == 6
    assert np.isnan(est.validation_scores_).all()
    assert est.best_validation_score_ is None or not np.isfinite(est.best_validation_score_)


@both
def test_scoring_does_not_change_the_network(Est):
    X, y = data(Est)
    params = NO_DROPOUT | {"dropout_rate": 0.3, "batch_size": 10, "max_iter": 4}
    plain = Est(**params).fit(X, y)
    name = "f1_macro" if is_classifier(plain) else "neg_mean_absolute_error"
    scored = Est(**params, scoring=name).fit(X, y)
    np.testing.assert_array_equal(plain.coefs_[0], scored.coefs_[0])


@both
def test_scoring_after_another_kind_of_target(Est):
    """A second fit scores its own network, not with what the first left behind."""
    kinds = ("labels", "classes") if is_classifier(Est()) else ("numbers", "number")
    scoring = "neg_log_loss" if is_classifier(Est()) else "neg_mean_squared_error"
    est = Est(**NO_DROPOUT, max_iter=2).fit(*problem(kinds[0])[1:])
    X, y = problem(kinds[1])[1:]
    est.set_params(scoring=scoring).fit(X, y)
    expected = get_scorer(scoring)(est, X, y)
    assert est.history_[-1, "train_score"] == pytest.approx(expected, rel=1e-5)
