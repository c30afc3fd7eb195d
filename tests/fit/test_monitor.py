"""skorch callbacks and the progress bar: what they see, and what they may do."""

import numpy as np
import pytest
import sklearn
import torch
from _families import answers
from sklearn.base import clone, is_classifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils.fixes import parse_version
from skorch import NeuralNet
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
    PrintLog,
)
from torch.nn import functional

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV

ESTIMATORS = [DropoutMLPClassifier, DropoutMLPRegressor]
# Fits with callbacks are by PyTorch, so equal bits can be expected from PyTorch alone.
SMALL = {
    "hidden_layer_sizes": (8, 5),
    "max_iter": 4,
    "random_state": 0,
    "batch_size": 16,
    "engine": "torch",
}
ALL_DROPOUT = {"dropout_rate": 0.3, "input_dropout_rate": 0.2, "spatial_dropout_rate": 0.2}
both = pytest.mark.parametrize("Est", ESTIMATORS)
N_STEPS = 3  # of 40 rows in batches of 16


def problem(Est, seed=0, n=40):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4)).astype(np.float32)
    y = X[:, 0] + 0.5 * X[:, 1] ** 2 + 0.1 * rng.standard_normal(n)
    return X, np.array(["a", "b", "c"])[np.digitize(y, [0, 1])] if is_classifier(Est()) else 5 * y


def assert_same(one, other):
    for ours, theirs in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_):
        np.testing.assert_array_equal(ours, theirs)
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_scores_ == other.validation_scores_


def note(name):
    def method(self, net, *args, **kwargs):
        assert isinstance(net, NeuralNet)
        self.calls_.append((name, kwargs))

    return method


class Notebook(Callback):
    """Writes down every call; starts a new page when it is initialised, as callbacks do."""

    def initialize(self):
        self.calls_ = []
        return self

    on_train_begin = note("train begin")
    on_train_end = note("train end")
    on_epoch_begin = note("epoch begin")
    on_epoch_end = note("epoch end")
    on_batch_begin = note("batch begin")
    on_batch_end = note("batch end")
    on_grad_computed = note("gradient")


def names_of(notebook):
    return [name for name, _ in notebook.calls_]


class Recorder(Callback):
    """What the net looked like after each epoch, over all fits."""

    def __init__(self):
        self.losses_ = []
        self.weights_ = []

    def on_epoch_end(self, net, **kwargs):
        self.losses_.append(net.history[-1, "train_loss"])
        linear = [layer for layer in net.module_ if isinstance(layer, torch.nn.Linear)]
        self.weights_.append([layer.weight.detach().t().numpy().copy() for layer in linear])


# Watching


@pytest.mark.parametrize("variant", [{}, {"solver": "sgd"}, {"solver": torch.optim.RMSprop}])
@pytest.mark.parametrize("early_stopping", [False, True])
@both
def test_watching_changes_nothing(Est, early_stopping, variant):
    X, y = problem(Est)
    params = SMALL | ALL_DROPOUT | variant | {"max_norm": 2.0, "early_stopping": early_stopping}
    plain = Est(**params).fit(X, y)
    for callbacks in ([], [Notebook()], (Notebook(), Recorder()), [("named", Notebook())]):
        watched = Est(**params, callbacks=callbacks).fit(X, y)
        assert_same(watched, plain)
        assert watched.history_[:, "train_loss"] == plain.history_[:, "train_loss"]


@both
def test_calls_come_in_the_order_of_skorch(Est):
    X, y = problem(Est)
    notebook = Notebook()
    Est(**SMALL | {"max_iter": 2}, callbacks=[notebook]).fit(X, y)
    step = ["batch begin", "gradient", "batch end"]
    epoch = ["epoch begin", *step * N_STEPS, "epoch end"]
    assert names_of(notebook) == ["train begin", *epoch * 2, "train end"]


@both
def test_calls_with_a_validation_set(Est):
    X, y = problem(Est)
    notebook = Notebook()
    Est(**SMALL | {"max_iter": 1}, callbacks=[notebook]).fit(X, y, X_val=X[:9], y_val=y[:9])
    step = ["batch begin", "gradient", "batch end"]
    epoch = ["epoch begin", *step * N_STEPS, "batch begin", "batch end", "epoch end"]
    assert names_of(notebook) == ["train begin", *epoch, "train end"]
    training = [kwargs["training"] for name, kwargs in notebook.calls_ if name == "batch begin"]
    assert training == [True] * N_STEPS + [False]
    (end,) = (kwargs for name, kwargs in notebook.calls_ if name == "epoch end")
    assert (len(end["dataset_train"]), len(end["dataset_valid"])) == (40, 9)


@both
def test_batches_are_those_of_the_training_set(Est):
    X, y = problem(Est)
    notebook = Notebook()
    est = Est(**SMALL | {"max_iter": 1}, callbacks=[notebook], shuffle=False).fit(X, y)
    batches = [kwargs["batch"] for name, kwargs in notebook.calls_ if name == "batch begin"]
    assert [len(x) for x, _ in batches] == [16, 16, 8]
    np.testing.assert_array_equal(torch.cat([x for x, _ in batches]).numpy(), X)
    targets = torch.cat([t for _, t in batches]).numpy()
    if is_classifier(est):
        np.testing.assert_array_equal(targets, np.searchsorted(est.classes_, y))
    else:
        standard = (y - y.mean()) / y.std()
        np.testing.assert_allclose(targets[:, 0], standard, rtol=1e-4, atol=1e-5)
    for name, kwargs in notebook.calls_:
        if name == "batch end":
            assert np.isfinite(float(kwargs["loss"]))
            assert len(kwargs["y_pred"]) == len(kwargs["batch"][0])


@both
def test_the_net_holds_the_network_in_training(Est):
    X, y = problem(Est)
    recorder = Recorder()
    est = Est(**SMALL, **ALL_DROPOUT, callbacks=[recorder]).fit(X, y)
    assert recorder.losses_ == est.loss_curve_
    assert len(recorder.weights_) == SMALL["max_iter"]
    for n_epochs in (1, 3, 4):
        after = Est(**SMALL | ALL_DROPOUT | {"max_iter": n_epochs}).fit(X, y)
        # The regressor's last layer answers in the units of y.
        for seen, weight in zip(recorder.weights_[n_epochs - 1][:2], after.coefs_[:2]):
            np.testing.assert_array_equal(seen, weight)


@both
def test_history_of_the_callbacks_net_is_that_of_the_estimator(Est):
    X, y = problem(Est)

    class Speed(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("speed", 10 * len(net.history))

    X_val, y_val = problem(Est, seed=1, n=20)
    params = SMALL | {"learning_rate_init": 0.1, "max_iter": 30}
    est = Est(**params, callbacks=[Speed()]).fit(X, y, X_val=X_val, y_val=y_val)
    assert est.history_[:4, "speed"] == [10, 20, 30, 40]
    plain = Est(**params).fit(X, y, X_val=X_val, y_val=y_val)
    for name in ("epoch", "train_loss", "valid_loss", "train_score", "valid_score"):
        assert est.history_[:, name] == plain.history_[:, name]
    best = np.minimum.accumulate(est.history_[:, "valid_loss"]) == est.history_[:, "valid_loss"]
    assert est.history_[:, "valid_loss_best"] == best.tolist()
    assert 1 < sum(best) < 30
    assert len(est.history_[0, "batches"]) == N_STEPS + -(-20 // SMALL["batch_size"])


@both
def test_history_goes_on_in_continued_fits(Est):
    X, y = problem(Est)
    recorder = Recorder()
    est = Est(**SMALL | {"max_iter": 2}, warm_start=True).fit(X, y)
    est.set_params(callbacks=[recorder]).fit(X, y)
    assert est.history_[:, "train_loss"] == est.loss_curve_
    assert len(recorder.losses_) == 2
    first = {"classes": np.unique(y)} if is_classifier(est) else {}
    est = Est(**SMALL, callbacks=[recorder])
    for _ in range(3):
        est.partial_fit(X, y, **first)
    assert len(est.history_) == 3
    assert est.history_[:, "train_loss"] == recorder.losses_[2:] == est.loss_curve_


@pytest.mark.parametrize("solver", ["adam", torch.optim.Adam])
@both
def test_callbacks_may_come_between_calls_of_partial_fit(Est, solver):
    X, y = problem(Est)
    first = {"classes": np.unique(y)} if is_classifier(Est()) else {}
    plain = Est(**SMALL, solver=solver).partial_fit(X, y, **first)
    est = clone(plain).partial_fit(X, y, **first)
    plain.partial_fit(X, y).partial_fit(X, y)
    est.set_params(callbacks=[Recorder()]).partial_fit(X, y)
    est.set_params(callbacks=None).partial_fit(X, y)
    assert_same(est, plain)


@both
def test_gradients_are_those_of_autograd(Est):
    X, y = problem(Est)
    worst = []

    class Check(Callback):
        def on_grad_computed(self, net, named_parameters, batch, **kwargs):
            x, target = batch
            ours = {name: p.grad.clone() for name, p in named_parameters}
            network = net.module_[:-1]  # without the output function
            copies = {
                name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()
            }
            with torch.enable_grad():
                z = torch.func.functional_call(network, copies, (x,))
                if is_classifier(est):
                    loss = functional.cross_entropy(z, target)
                else:
                    loss = ((z - target) ** 2).mean() / 2
            theirs = torch.autograd.grad(loss, list(copies.values()))
            assert ours.keys() == copies.keys()
            worst.append(max((ours[k] - g).abs().max().item() for k, g in zip(copies, theirs)))

    est = Est(**SMALL, alpha=0.0, dropout_rate=0.0, callbacks=[Check()])
    est.fit(X, y)
    assert len(worst) == SMALL["max_iter"] * N_STEPS
    assert max(worst) < 1e-6


@both
def test_looking_at_the_net_afterwards_leaves_callbacks_alone(Est):
    """Each access to `net_` makes a new net."""
    X, y = problem(Est)
    notebook = Notebook()
    est = Est(**SMALL, callbacks=[notebook]).fit(X, y)
    n_calls = len(notebook.calls_)
    assert n_calls > 0
    est.net_.predict(X)
    assert len(notebook.calls_) == n_calls


@both
def test_callbacks_are_used_as_they_are_and_cloned_with_the_estimator(Est):
    X, y = problem(Est)
    recorder = Recorder()
    est = Est(**SMALL, callbacks=[recorder])
    est.fit(X, y)
    assert len(recorder.losses_) == 4
    twin = clone(est).fit(X, y)
    assert len(recorder.losses_) == 4
    assert_same(twin, est)


@both
def test_error_of_a_callback_is_passed_on_and_changes_nothing(Est):
    X, y = problem(Est)

    class Broken(Callback):
        def on_batch_end(self, net, **kwargs):
            raise ZeroDivisionError("broken")

    est = Est(**SMALL).fit(X, y)
    before = answers(est, X)
    with pytest.raises(ZeroDivisionError, match="broken"):
        est.set_params(callbacks=[Broken()]).fit(X, y)
    np.testing.assert_array_equal(answers(est, X), before)
    assert est.t_ == 160


# skorch's own callbacks


@pytest.mark.parametrize("use_caching", [False, True])
def test_epoch_scoring_of_a_classifier(use_caching):
    X, y = problem(DropoutMLPClassifier)
    X_val, y_val = problem(DropoutMLPClassifier, seed=1, n=20)
    callbacks = [
        EpochScoring("accuracy", name="acc", lower_is_better=False, use_caching=use_caching),
        EpochScoring("f1_macro", name="f1", lower_is_better=False, use_caching=use_caching),
    ]
    est = DropoutMLPClassifier(**SMALL, callbacks=callbacks)
    est.fit(X, y, X_val=X_val, y_val=y_val)
    assert est.history_[:, "acc"] == pytest.approx(est.validation_scores_, abs=1e-6)
    assert len(est.history_[:, "f1"]) == 4
    assert est.history_[0, "acc_best"] is True


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"),
    reason="earlier scikit-learn takes a NeuralNet of skorch, as any model but a classifier, for a "
    "regressor, and refuses to score its probabilities",
)
@pytest.mark.parametrize("use_caching", [False, True])
def test_epoch_scoring_by_probabilities(use_caching):
    X, y = problem(DropoutMLPClassifier)
    X, y = X[y != "c"], y[y != "c"]
    scoring = EpochScoring("roc_auc", lower_is_better=False, use_caching=use_caching)
    est = DropoutMLPClassifier(**SMALL, callbacks=[scoring]).fit(X, y, X_val=X, y_val=y)
    expected = roc_auc_score(y, est.predict_proba(X)[:, 1])
    assert est.history_[-1, "roc_auc"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("use_caching", [False, True])
def test_epoch_scoring_of_a_regressor(use_caching):
    X, y = problem(DropoutMLPRegressor)
    scoring = EpochScoring("r2", lower_is_better=False, use_caching=use_caching)
    est = DropoutMLPRegressor(**SMALL, callbacks=[scoring]).fit(X, y, X_val=X, y_val=y)
    assert est.history_[:, "r2"] == pytest.approx(est.validation_scores_, abs=1e-5)


@pytest.mark.parametrize("use_caching", [False, True])
@both
def test_scores_of_skorch_see_the_labels_and_units_of_the_user(Est, use_caching):
    """An absolute error was in standard deviations, and a score of one's own saw class numbers."""
    X, y = problem(Est)
    seen = []

    def score(net, X, target):
        predicted = net.predict(X)
        seen.append((target, predicted))
        return np.mean(target == predicted)

    scoring = [
        EpochScoring(score, on_train=on_train, name=f"s{on_train}", use_caching=use_caching)
        for on_train in (False, True)
    ] + [BatchScoring(score, name="batch", use_caching=use_caching)]
    extract = scoring[0].target_extractor
    params = SMALL | {"max_iter": 1, "shuffle": False, "batch_size": 30}
    est = Est(**params, dropout_rate=0.0, callbacks=scoring).fit(X, y, X_val=X[::2], y_val=y[::2])
    (of_batch, batch), (valid, of_valid), (train, _) = seen
    for target, expected in ((of_batch, y[::2]), (valid, y[::2]), (train, y)):
        if is_classifier(est):
            np.testing.assert_array_equal(target, expected)
        else:
            np.testing.assert_allclose(target, expected, rtol=1e-5, atol=1e-5)
    for predicted in (batch, of_valid):
        if is_classifier(est):
            np.testing.assert_array_equal(predicted, est.predict(X[::2]))
        else:
            np.testing.assert_allclose(predicted, est.predict(X[::2]), rtol=1e-5, atol=1e-5)
    assert scoring[0].target_extractor is extract


@both
def test_epoch_scoring_on_the_training_set(Est):
    X, y = problem(Est)
    name = "accuracy" if is_classifier(Est()) else "r2"
    scoring = EpochScoring(name, name="s", on_train=True, use_caching=False, lower_is_better=False)
    params = SMALL | {"scoring": name}
    est = Est(**params, callbacks=[scoring]).fit(X, y)
    assert est.history_[:, "s"] == pytest.approx(est.history_[:, "train_score"], abs=1e-5)
    # Watching through the module must not have drawn from the streams of training.
    assert_same(est, Est(**params).fit(X, y))


@both
def test_early_stopping_of_skorch(Est):
    X, y = problem(Est)
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=1e9, threshold_mode="abs")
    est = Est(**SMALL | {"max_iter": 50}, callbacks=[stop]).fit(X, y)
    # The first epoch is an improvement on infinity, the next two are not.
    assert est.n_iter_ == len(est.history_) == len(est.loss_curve_) == 3
    assert_same(est, Est(**SMALL | {"max_iter": 3}).fit(X, y))


@both
def test_early_stopping_of_skorch_restores_its_best_epoch(Est):
    X, y = problem(Est)
    X_val, y_val = problem(Est, seed=1, n=20)
    stop = EarlyStopping(patience=3, load_best=True)
    params = SMALL | {"max_iter": 200, "learning_rate_init": 0.05}
    est = Est(**params, callbacks=[stop]).fit(X, y, X_val=X_val, y_val=y_val)
    assert est.n_iter_ < 200
    best = int(np.argmin(est.history_[:, "valid_loss"])) + 1
    assert best < est.n_iter_
    again = Est(**params | {"max_iter": best}).fit(X, y)
    for one, other in zip(est.coefs_, again.coefs_):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "where", ["epoch_begin", "epoch_end", "batch_begin", "batch_end", "grad_computed"]
)
@both
def test_a_callback_may_end_training_anywhere(Est, where):
    X, y = problem(Est)

    def stop(self, net, *args, **kwargs):
        self.n_calls_ = getattr(self, "n_calls_", 0) + 1
        if self.n_calls_ == 3:
            raise KeyboardInterrupt

    Stop = type("Stop", (Callback,), {f"on_{where}": stop})
    est = Est(**SMALL | {"max_iter": 50}, callbacks=[Stop()]).fit(X, y, X_val=X, y_val=y)
    n_epochs = {"epoch_begin": 2, "epoch_end": 3}.get(where, 0)
    assert est.n_iter_ == n_epochs
    assert len(est.loss_curve_) == len(est.validation_scores_ or []) == n_epochs
    assert np.isfinite(est.coefs_[0]).all()
    assert est.predict(X).shape == y.shape


@both
def test_checkpoint(Est, tmp_path):
    X, y = problem(Est)
    keep = Checkpoint(monitor="train_loss_best", dirname=tmp_path, load_best=True)
    est = Est(**SMALL | {"max_iter": 6}, callbacks=[keep]).fit(X, y)
    assert {"params.pt", "optimizer.pt", "history.json"} <= {p.name for p in tmp_path.iterdir()}
    best = int(np.argmin(est.loss_curve_)) + 1
    again = Est(**SMALL | {"max_iter": best}).fit(X, y)
    np.testing.assert_array_equal(est.coefs_[0], again.coefs_[0])
    module = est.module_
    saved = torch.load(tmp_path / "params.pt")
    assert saved.keys() == module.state_dict().keys()
    np.testing.assert_array_equal(saved["hidden_1.weight"].t().numpy(), again.coefs_[0])


@both
def test_learning_rate_schedulers_act_on_the_run(Est):
    X, y = problem(Est)
    rates = []

    class Watch(Callback):
        def on_epoch_begin(self, net, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    for solver in ("sgd", "adam", "adamw", torch.optim.RMSprop):
        rates.clear()
        params = SMALL | {"solver": solver, "learning_rate_init": 0.01}
        constant = LRScheduler(policy="StepLR", step_size=1, gamma=1.0)
        falling = LRScheduler(policy="StepLR", step_size=1, gamma=0.1)
        assert_same(Est(**params, callbacks=[constant]).fit(X, y), Est(**params).fit(X, y))
        est = Est(**params, callbacks=[falling, Watch()]).fit(X, y)
        assert rates == pytest.approx([1e-2, 1e-3, 1e-4, 1e-5])
        first = Est(**params | {"max_iter": 1}).fit(X, y)
        plain = Est(**params).fit(X, y)
        moved, freely = (np.abs(e.coefs_[0] - first.coefs_[0]).max() for e in (est, plain))
        assert 0 < moved < freely
        assert est.history_[:, "event_lr"] == pytest.approx(rates)


@both
def test_a_rate_of_zero_stops_the_network(Est):
    X, y = problem(Est)

    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            for group in net.optimizer_.param_groups:
                group["lr"] = 0.0

    est = Est(**SMALL, solver="sgd", momentum=0.0, callbacks=[Stop()]).fit(X, y)
    once = Est(**SMALL | {"max_iter": 1}, solver="sgd", momentum=0.0).fit(X, y)
    np.testing.assert_array_equal(est.coefs_[0], once.coefs_[0])


@both
def test_gradient_clipping_bounds_the_steps(Est):
    X, y = problem(Est)
    params = SMALL | {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "learning_rate_init": 1.0}
    still = Est(**params | {"learning_rate_init": 1e-30, "max_iter": 1}).fit(X, y)
    n_steps = SMALL["max_iter"] * N_STEPS
    for bound in (1e-3, 1e-2):
        clip = GradientNormClipping(gradient_clip_value=bound)
        est = Est(**params, callbacks=[clip]).fit(X, y)
        hidden = zip(
            est.coefs_[:-1] + est.intercepts_[:-1], still.coefs_[:-1] + still.intercepts_[:-1]
        )
        moved = np.sqrt(sum(np.square(a - b).sum() for a, b in hidden))
        assert 0 < moved <= n_steps * bound * 1.001
    free = Est(**params, callbacks=[GradientNormClipping(1e9)]).fit(X, y)
    assert_same(free, Est(**params).fit(X, y))


@both
def test_writing_to_the_module_acts_on_the_run(Est):
    X, y = problem(Est)

    class Prune(Callback):
        def on_batch_end(self, net, **kwargs):
            net.module_.hidden_1.weight.data[:, 2] = 0

    est = Est(**SMALL, callbacks=[Prune()]).fit(X, y)
    assert not est.coefs_[0][2].any()
    assert est.coefs_[0][1].any()


@both
def test_print_log_to_a_sink(Est):
    X, y = problem(Est)
    lines = []
    Est(**SMALL, callbacks=[PrintLog(sink=lines.append)]).fit(X, y, X_val=X, y_val=y)
    assert len(lines) == 2 + SMALL["max_iter"]
    assert {"epoch", "train_loss", "valid_loss", "valid_score"} <= set(lines[0].split())


@both
def test_print_log_prints_where_verbose(Est, capsys):
    X, y = problem(Est)
    Est(**SMALL, callbacks=[PrintLog()]).fit(X, y)
    assert capsys.readouterr().out == ""
    Est(**SMALL, callbacks=[PrintLog()], verbose=1).fit(X, y)
    assert "train_loss" in capsys.readouterr().out


@both
def test_interruption_before_training_begins(Est):
    """Not by a name that users cannot know."""
    X, y = problem(Est)

    class Stop(Callback):
        def on_train_begin(self, net, **kwargs):
            raise KeyboardInterrupt

    est = Est(**SMALL, callbacks=[Stop()])
    with pytest.raises(KeyboardInterrupt):
        est.fit(X, y)
    assert not hasattr(est, "n_iter_")


def test_callbacks_see_labels_of_several_outputs():
    X, _ = problem(DropoutMLPRegressor)
    y = (X[:, :3] > 0).astype(int)
    notebook = Notebook()
    params = SMALL | {"max_iter": 1, "shuffle": False}
    DropoutMLPClassifier(**params, callbacks=[notebook]).fit(X, y)
    targets = [kwargs["batch"][1] for name, kwargs in notebook.calls_ if name == "batch begin"]
    np.testing.assert_array_equal(torch.cat(targets).numpy(), y)


@pytest.mark.parametrize(
    "callback",
    [
        EarlyStopping(),
        Checkpoint(),
        LRScheduler(torch.optim.lr_scheduler.ReduceLROnPlateau, monitor="valid_score"),
    ],
)
@both
def test_callbacks_that_follow_a_validation_set_need_one(Est, callback):
    """EarlyStopping ended in ``KeyError: 'valid_loss'``, after an epoch."""
    X, y = problem(Est)
    est = Est(**SMALL, callbacks=[("mine", callback)])
    with pytest.raises(ValueError, match=r"callbacks has mine with monitor=.*Pass X_val and y_val"):
        est.fit(X, y)


def test_a_score_that_a_callback_records_may_have_any_name():
    X, y = problem(DropoutMLPRegressor)
    score = EpochScoring("r2", name="valid_score", on_train=True, lower_is_better=False)
    stop = EarlyStopping(monitor="valid_score", lower_is_better=False)
    est = DropoutMLPRegressor(**SMALL, callbacks=[score, stop]).fit(X, y)
    assert len(est.history_[:, "valid_score"]) == SMALL["max_iter"]


@pytest.mark.parametrize("Search", [GridSearchCV, DropoutSearchCV])
def test_parameters_of_callbacks_can_be_searched(Search):
    """As with skorch; it was an AttributeError about lists."""
    X, y = problem(DropoutMLPRegressor)
    stop = EarlyStopping(monitor="train_loss", threshold=1e9, threshold_mode="abs")
    est = DropoutMLPRegressor(**SMALL, callbacks=[stop])
    grid = {"callbacks__EarlyStopping__patience": [1, 2]}
    search = Search(est, grid, cv=2, refit=lambda results: 1).fit(X, y)
    assert search.best_estimator_.n_iter_ == 3
    assert stop.patience == 5


def test_names_of_callbacks():
    log = [PrintLog() for _ in range(3)]
    est = DropoutMLPRegressor(callbacks=[log[0], EarlyStopping(), ("x", log[1]), log[2]])
    est.set_params(callbacks__PrintLog_2__floatfmt=".1f", callbacks__x__floatfmt=".2f")
    assert [callback.floatfmt for callback in log] == [".4f", ".2f", ".1f"]
    for name in ("callbacks__Print__floatfmt", "callbacks__x"):
        with pytest.raises(ValueError, match=r"use callbacks__<name>__<parameter>.*PrintLog_1"):
            est.set_params(**{name: 1})


@both
def test_the_net_cannot_be_trained(Est):
    """`net_.fit` failed with an error about the optimiser."""
    X, y = problem(Est)
    net = Est(**SMALL).fit(X, y).net_
    for method in (net.fit, net.partial_fit):
        with pytest.raises(NotImplementedError, match="fit or partial_fit of the estimator"):
            method(X, y)


# The progress bar


@both
def test_silent_by_default(Est, capsys):
    X, y = problem(Est)
    for verbose in (False, 0):
        est = Est(**SMALL, verbose=verbose).fit(X, y, X_val=X, y_val=y)
        est.predict(X)
    assert capsys.readouterr() == ("", "")


@both
def test_progress_bar(Est, capsys):
    X, y = problem(Est)
    for verbose in (True, 1):
        est = Est(**SMALL, verbose=verbose).fit(X, y)
        out, err = capsys.readouterr()
        assert out == ""
        assert "100%" in err
        assert "4/4" in err
        assert f"loss={est.loss_:.4g}" in err
    assert_same(est, Est(**SMALL).fit(X, y))


@both
def test_progress_bar_of_a_fit_that_ends_early(Est, capsys):
    X, y = problem(Est)
    never = {"early_stopping": True, "tol": 1e9, "n_iter_no_change": 1, "max_iter": 100}
    est = Est(**SMALL | never, verbose=1).fit(X, y)
    err = capsys.readouterr().err
    n = est.n_iter_
    assert "valid_score=" in err
    assert "stopped early: 100%|" in err.split("\r")[-1]  # it looked like a crash
    assert f"{n}/{n}" in err.split("\r")[-1]


@both
def test_a_line_for_each_epoch(Est, capsys):
    """verbose=2 added nothing to verbose=1."""
    X, y = problem(Est)
    est = Est(**SMALL, verbose=2).fit(X, y, X_val=X, y_val=y)
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert len(lines) == est.n_iter_ == 4
    last = est.history_[-1]
    assert lines[-1].startswith("Epoch 4/4: ")
    for name in ("train_loss", "valid_loss", "train_score", "valid_score"):
        assert f"{name}={last[name]:.4g}" in lines[-1]
    assert_same(est, Est(**SMALL).fit(X, y, X_val=X, y_val=y))


@both
def test_progress_bar_is_closed_after_an_error(Est, capsys):
    X, y = problem(Est)
    with pytest.raises(ValueError, match="diverged"):
        Est(**SMALL, solver="sgd", learning_rate_init=1e20, verbose=1).fit(X, y)
    assert capsys.readouterr().err.endswith("\n")


@pytest.mark.parametrize("event", ["on_train_begin", "on_train_end"])
def test_ctrl_c_before_or_after_training_is_passed_on(event):
    """It left `fit` as an exception of this package's own."""

    class Interrupted(Callback):
        pass

    def interrupt(self, net, **kwargs):
        raise KeyboardInterrupt

    setattr(Interrupted, event, interrupt)
    X, y = problem(DropoutMLPClassifier)
    est = DropoutMLPClassifier((4,), max_iter=2, callbacks=[Interrupted()])
    with pytest.raises(KeyboardInterrupt):
        est.fit(X, y)
    assert not hasattr(est, "classes_")
