"""What a skorch callback changes acts on the network that trains."""

import numpy as np
import pytest
import torch
from scipy import sparse
from skorch.callbacks import Callback, Checkpoint, Freezer, LoadInitState, LRScheduler
from torch import nn

from sklearn_dropout import DropoutCNNClassifier, DropoutMLPClassifier, DropoutRNNClassifier

FAMILIES = [DropoutMLPClassifier, DropoutCNNClassifier, DropoutRNNClassifier]
SMALL = {"batch_size": 16, "max_iter": 5, "random_state": 0, "learning_rate_init": 0.01}


def problem(n=40):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 6)).astype(np.float32)
    return X, X[:, 0] + 0.3 * X[:, 1] > 0


def mlp(callbacks, **params):
    return DropoutMLPClassifier(
        (6,), **SMALL | {"callbacks": callbacks, "engine": "torch"} | params
    )


def weights_of(est):
    return est.coefs_ + est.intercepts_


def assert_same(one, other):
    for ours, theirs in zip(weights_of(one), weights_of(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def differs(one, other):
    return any((a != b).any() for a, b in zip(weights_of(one), weights_of(other)))


class Do(Callback):
    """Does something to the net, at the beginning of training or of some epoch."""

    def __init__(self, action, epoch=None):
        self.action, self.epoch = action, epoch

    def on_train_begin(self, net, **kwargs):
        if self.epoch is None:
            self.action(net)

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) - 1 == self.epoch:
            self.action(net)


@pytest.mark.parametrize("Est", FAMILIES)
@pytest.mark.parametrize("params", [{}, {"max_norm": 0.3, "alpha": 5.0}])
def test_frozen_weights_stay_exactly_as_they_were(Est, params):
    """A first layer frozen by ``Freezer`` moved by 1.05 all the same."""
    X, y = problem()
    seen = []
    watch = Do(lambda net: seen.append([p.detach().clone() for p in net.module_.parameters()]))
    est = Est(
        (4,), **SMALL, callbacks=[watch, Freezer(lambda name: "output" not in name)], **params
    )
    est.fit(X, y)
    after = Est((4,), **SMALL, **params).fit(X, y)
    initial = dict(zip([n for n, _ in est.module_.named_parameters()], seen[0]))
    for name, p in est.module_.named_parameters():
        assert torch.equal(p, initial[name]) == ("output" not in name), name
    assert differs(est, after)


@pytest.mark.parametrize("epoch", [None, 2])
def test_a_rate_set_to_zero_drops_nothing_from_there_on(epoch):
    X, y = problem()

    def stop_dropping(net):
        for layer in net.module_.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0

    est = mlp([Do(stop_dropping, epoch)], dropout_rate=0.5).fit(X, y)
    if epoch is None:
        assert_same(est, mlp(None, dropout_rate=0.0).fit(X, y))
        return
    by_parts = mlp(None, dropout_rate=0.5)
    for number in range(SMALL["max_iter"]):
        by_parts.set_params(dropout_rate=0.5 if number < epoch else 0.0).partial_fit(X, y, [0, 1])
    assert_same(est, by_parts)


def test_hooks_are_called():
    X, y = problem()
    calls = []

    def watch(net):
        layer = net.module_.output
        layer.register_forward_hook(lambda *args: calls.append("forward"))
        layer.register_full_backward_hook(lambda *args: calls.append("backward"))

    est = mlp([Do(watch)]).fit(X, y)
    assert calls == ["forward", "backward"] * (3 * SMALL["max_iter"])
    assert_same(est, mlp(None).fit(X, y))


@pytest.mark.parametrize(
    ("solver", "option", "value"),
    [
        ("adam", "weight_decay", 0.5),
        ("adam", "betas", (0.5, 0.6)),
        ("adam", "lr", 0.1),
        ("adamw", "weight_decay", 0.5),
        ("sgd", "momentum", 0.1),
        ("sgd", "weight_decay", 0.5),
        (torch.optim.RMSprop, "alpha", 0.5),
    ],
)
def test_options_of_the_optimizer_act(solver, option, value):
    X, y = problem()

    def change(net):
        for group in net.optimizer_.param_groups:
            assert option in group
            group[option] = value

    changed = mlp([Do(change, 1)], solver=solver).fit(X, y)
    assert differs(changed, mlp(None, solver=solver).fit(X, y))


def test_replaced_parameters_act():
    """New weights in the place of the old ones are what trains from then on."""
    X, y = problem()

    def replace(net):
        layer = net.module_.hidden_1
        layer.weight = nn.Parameter(torch.zeros_like(layer.weight))

    def write(net):
        net.module_.hidden_1.weight.data.zero_()

    replaced, written = mlp([Do(replace, 1)]).fit(X, y), mlp([Do(write, 1)]).fit(X, y)
    assert_same(replaced, written)
    assert replaced.coefs_[0].any()


def test_a_parameter_taken_out_of_the_optimizer_stays_as_it_is():
    X, y = problem()
    first = []

    def take_out(net):
        weight = net.optimizer_.param_groups[0]["params"].pop(0)
        first.append(weight.detach().t().numpy().copy())

    est = mlp([Do(take_out)]).fit(X, y)
    np.testing.assert_array_equal(est.coefs_[0], first[0])


def test_an_assigned_state_acts():
    X, y = problem()

    def assign(net):
        state = {name: torch.zeros_like(p) for name, p in net.module_.state_dict().items()}
        net.module_.load_state_dict(state, assign=True)

    def write(net):
        for p in net.module_.parameters():
            p.data.zero_()

    assert_same(mlp([Do(assign, 1)]).fit(X, y), mlp([Do(write, 1)]).fit(X, y))


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize(
    ("policy", "options"),
    [
        (torch.optim.lr_scheduler.CyclicLR, {"base_lr": 1e-4, "max_lr": 0.1}),
        (torch.optim.lr_scheduler.OneCycleLR, {"max_lr": 0.1, "total_steps": 15}),
    ],
)
def test_cyclic_schedulers_work_with_their_defaults(policy, options, solver):
    X, y = problem()
    rates = []
    watch = Do(lambda net: None)
    watch.on_batch_end = lambda net, **kwargs: rates.append(net.optimizer_.param_groups[0]["lr"])
    scheduler = LRScheduler(policy, step_every="batch", **options)
    est = mlp([scheduler, watch], solver=solver).fit(X, y)
    assert len(set(rates)) > 10
    assert differs(est, mlp(None, solver=solver).fit(X, y))


@pytest.mark.parametrize("way", ["partial_fit", "warm_start"])
def test_best_epochs_are_the_best_of_all_calls(way, tmp_path):
    """A second call compared with nothing, so that ``Checkpoint`` overwrote its best network."""
    X, y = problem()
    checkpoint = Checkpoint(dirname=tmp_path, monitor="train_loss_best")
    est = mlp([checkpoint], warm_start=True, shuffle=False, dropout_rate=0)
    est.set_params(learning_rate_init=0.1)
    for call in range(3):
        if call == 2:  # from here on the network gets worse
            est.set_params(learning_rate_init=3.0)
        est.fit(X, y) if way == "warm_start" else est.partial_fit(X, y, classes=[0, 1])
    losses = est.history_[:, "train_loss"]
    best = np.minimum.accumulate(losses) == losses
    assert est.history_[:, "train_loss_best"] == best.tolist()
    assert not best[-1]


def test_a_loaded_history_is_part_of_the_curve(tmp_path):
    X, y = problem()
    first = mlp([Checkpoint(dirname=tmp_path, monitor=None)]).fit(X, y)
    load = LoadInitState(Checkpoint(dirname=tmp_path, monitor=None))
    est = mlp([load], max_iter=3).fit(X, y)
    assert len(est.loss_curve_) == len(est.history_) == 8
    assert est.loss_curve_[:5] == first.loss_curve_
    assert est.history_[:, "train_loss"] == est.loss_curve_
    assert est.history_[:, "epoch"] == list(range(1, 9))


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_validation_rows_pass_in_batches(form):
    """One dense batch of all validation rows took more than a gigabyte."""
    X, y = problem(50)
    sizes = []
    watch = Do(lambda net: None)

    def note(net, batch, training, y_pred, **kwargs):
        if not training:
            assert not net.module_.training
            assert not torch.is_tensor(batch[0]) or not batch[0].is_sparse
            sizes.append(len(y_pred))

    watch.on_batch_end = note
    est = mlp([watch], max_iter=1).fit(form(X), y, X_val=form(X), y_val=y)
    assert sizes == [16, 16, 16, 2]
    assert est.history_[0, "valid_loss"] == pytest.approx(
        np.average(est.history_[0, "batches", :, "valid_loss"][-4:], weights=sizes), rel=1e-5
    )
