"""A training run: epochs by one of the engines, records, evaluation, stopping, best weights."""

import math
import warnings

import numpy as np
import torch

from ..nn.settings import (
    DenormalFlush,
    raised_by_user,
    threads_for,
    threads_to_use,
    torch_threads,
    without_autocast,
)
from .evaluation import Evaluator, noise
from .progress import StopTraining
from .schedule import PLANNED, Stopping, planned_epochs
from .stages import Outcome

# Limits of one call of `epochs`: multiplications (some ten milliseconds), the cost of a step in
# multiplications, and rows.
_WORK_OF_A_CALL, _WORK_OF_A_STEP, _ROWS_OF_A_CALL = 3e7, 20_000, 200_000
# Rows of all epochs together, up to which their order is drawn at once: 16 MB.
_ROWS_OF_AN_ORDER = 2_000_000


class Trainer:
    """Trains one network.

    Parameters
    ----------
    training : PerceptronTraining or ModuleTraining
        The network, and the engine that trains it for some epochs.
    fit : Fit
    denormals : DenormalFlush
        Switched on while the engine trains.
    monitor : Monitor, default=None
        Called at the beginning and the end of training and after each epoch.
    progress : callable (records), default=None
        Called with the records of finished epochs: dicts of losses and scores.
    keep_interrupted : bool, default=True
        Whether Ctrl-C ends training early, rather than being passed on.
    events : FitEvents, default=None
        scikit-learn's callbacks.
    """

    def __init__(
        self,
        training,
        fit,
        denormals,
        monitor=None,
        progress=None,
        keep_interrupted=True,
        events=None,
    ):
        self.training = training
        self.denormals = denormals
        self.fit, self.recipe, self.loss = fit, fit.recipe, fit.loss
        self.monitor = monitor
        self.progress = progress
        self.keep_interrupted = keep_interrupted
        self.events = events
        self.stopping = Stopping(training, fit)
        self._n_before = fit.n_epochs_before if fit.partial else 0
        if fit.training_state is not None:
            optimizer_state, stopping_state = fit.training_state
            training.set_state(optimizer_state)
            self.stopping.set_state(stopping_state)
        self.evaluators = self._make_evaluators()
        self.record = []
        self.error = ""
        self._epochs_per_call = self._count_epochs_per_call()
        self._all_epochs = self._order_of_all()

    def _make_evaluators(self):
        fit, evaluators = self.fit, {}
        if fit.score is not None:
            evaluators["train"] = Evaluator(fit.train, self.loss, fit.score, with_loss=False)
        if fit.valid is not None:
            evaluators["valid"] = Evaluator(fit.valid, self.loss, fit.score)
        return evaluators

    def _count_epochs_per_call(self):
        """How many epochs to train at once: one, if each epoch may be the last."""
        fit, recipe = self.fit, self.recipe
        decides = recipe.solver == "sgd" and recipe.learning_rate in ("invscaling", "adaptive")
        follows = self.monitor is not None or (self.events and self.events.needs_network)
        if self.evaluators or fit.scorers or follows or decides:
            return 1
        if not fit.learner._compiled():
            return 1
        n_rows = fit.train.n_rows
        work = fit.learner._work(fit)[1] * n_rows + _WORK_OF_A_STEP * -(
            -n_rows // recipe.batch_size
        )
        return max(1, min(int(_WORK_OF_A_CALL / work), _ROWS_OF_A_CALL // n_rows))

    def run(self):
        """Train until the network is done.

        Returns
        -------
        outcome : Outcome
        """
        if self.monitor is not None:
            self.monitor.train_begin()
        self._run_epochs()
        self.stopping.restore_best()
        if self.monitor is not None:
            self.monitor.train_end()
        return self._outcome()

    def _run_epochs(self):
        try:
            while len(self.record) < self.recipe.max_iter and not self.stopping.done:
                if self.error:
                    return
                self._epochs()
        except StopTraining:
            pass
        except KeyboardInterrupt:
            if not self.keep_interrupted:
                raise
            warnings.warn(
                f"Training interrupted by user after {len(self.record)} epochs; "
                "the estimator keeps what it has learned so far.",
                stacklevel=2,
            )

    def _epochs(self):
        """Train for one epoch, or for as many as one call of the engine takes."""
        n_epochs = min(self._epochs_per_call, self.recipe.max_iter - len(self.record))
        factors = self._follow_schedules(n_epochs)
        if self.monitor is not None:
            self.monitor.epoch_begin()
        order = self._order(n_epochs)
        before = self.training.snapshot() if self.events is not None and n_epochs > 1 else None
        losses = self._losses_of(order)
        records = [{"train_loss": loss} for loss in losses.tolist()]
        for record, factor in zip(records, () if factors is None else factors):
            record["dropout_rate"] = _one_or_more(factor * self.fit.dropout.rates["hidden"])
        if len(records) == 1:
            self._evaluate(records[0])
        finite = np.isfinite(losses)
        n_finite = n_epochs if finite.all() else int(finite.argmin())
        records = records[: n_finite + 1]
        self.record += records  # only now: an interruption may come before
        if n_finite < n_epochs:
            self.error = self._diverged(losses[n_finite])
        self.stopping.update(self.record[-1])
        if self.progress is not None:
            self.progress(records)
        if self.monitor is not None:
            self.monitor.epoch_end(self.record[-1])
        if self.events is not None:
            with raised_by_user():
                n_told = self.events.epochs(len(records), self._network)
            if n_told is not None:  # a callback stops training
                self._undo(len(records) - n_told, order[:n_told], before)
                raise StopTraining

    def _losses_of(self, order):
        """Train for the epochs that `order` has rows for."""
        try:
            self.denormals.on()
            with np.errstate(over="ignore", invalid="ignore"):  # the losses show divergence
                return self.training.epochs(order)
        finally:
            self.denormals.restore()

    def _undo(self, n_undone, order, before):
        """Go back to an earlier state and train for the epochs that remain in `order`."""
        if n_undone:
            self.training.go_back(before)
            self._losses_of(order)
            del self.record[-n_undone:]
            self.error = ""

    def _network(self):
        """Attributes that make the learner predict as the network is now."""
        weights, biases = self.training.export()
        parameters = tuple([a.astype(self.fit.dtype) for a in part] for part in (weights, biases))
        n_outputs = len(biases[-1]) // self.loss.n_heads
        return vars(self.fit.learner) | {"_parameters": parameters, "n_outputs_": n_outputs}

    def _follow_schedules(self, n_epochs):
        """Pass the rates of the next epochs to the engine, if schedules plan them.

        Returns
        -------
        factors : ndarray of shape (n_epochs,), or None
            Of the dropout rates.
        """
        recipe = self.recipe
        epochs = planned_epochs(self._n_before + len(self.record), n_epochs, recipe.n_planned)
        rates, factors = None, recipe.dropout_factors
        if recipe.learning_rate in PLANNED:
            shares = PLANNED[recipe.learning_rate](epochs, recipe.n_planned)
            rates = recipe.learning_rate_init * shares
        if factors is not None:
            factors = factors[epochs]
        if rates is not None or factors is not None:
            self.training.follow(rates, factors)
        return factors

    def _order_of_all(self):
        """Positions of the rows in all epochs; None if they are drawn before each call.

        One batch of all rows is never shuffled. An order for all epochs is shared by the fits of a
        search. Sharing leaves the generator where it is, but then nothing else is drawn from it.
        """
        fit, recipe, n_rows = self.fit, self.recipe, self.fit.train.n_rows
        if not recipe.shuffle or n_rows <= recipe.batch_size:
            return _unshuffled(recipe.max_iter, n_rows)
        may_stop = self._epochs_per_call == 1
        if may_stop or recipe.max_iter * n_rows > _ROWS_OF_AN_ORDER:
            return None
        key = fit.seed, recipe.max_iter, n_rows
        return fit.shared("order", key, lambda: self._shuffled(recipe.max_iter))

    def _order(self, n_epochs):
        """Positions of the rows in the next epochs."""
        if self._all_epochs is None:
            return self._shuffled(n_epochs)
        first = len(self.record)
        return self._all_epochs[first : first + n_epochs]

    def _shuffled(self, n_epochs):
        rows = _unshuffled(n_epochs, self.fit.train.n_rows)
        return self.fit.streams.order().permuted(rows, axis=1)

    def _evaluate(self, record):
        """Add losses and scores with dropout off to the record of an epoch."""
        for part, evaluator in self.evaluators.items():
            loss, score = evaluator(self.training)
            if loss is not None:
                record[f"{part}_loss"] = loss
            if score is not None:
                record[f"{part}_score"] = score
        for part, scorer in (self.fit.scorers or {}).items():
            record[f"{part}_score"] = scorer(*self.training.export())

    def _diverged(self, loss):
        return (
            f"The training loss became {loss} in epoch {len(self.record)}: training diverged. "
            f"Use a smaller learning_rate_init (now {self.recipe.learning_rate_init!r}), or "
            "scale X, for example with StandardScaler."
        )

    def _noise(self):
        """Noise of regression targets, in the units of the network: see `Outcome`.

        Around the outputs with dropout off on the validation rows; without validation rows, around
        the outputs in the last epoch, with dropout on. The latter estimates the expected squared
        residual under the approximate posterior, which is the noise variance that maximises the
        variational bound (the M-step of variational Bayes). Training residuals are too small;
        this widens them by the spread of the outputs. With a linear model and its exact posterior
        the two cancel in expectation; a network that overfits remains too sure.
        """
        if self.loss.noise is None:
            return None
        if "valid" in self.evaluators:
            sums = self.evaluators["valid"].noise_sums(self.training)
            return noise(self.loss, sums, self.fit.valid.total_weight)
        if self.training.noise_sums is None:
            return np.full(self.fit.train.targets.shape[1] // self.loss.n_heads, np.nan)
        return noise(self.loss, self.training.noise_sums, self.fit.train.total_weight)

    def _outcome(self):
        weights, biases = self.training.export()
        error = self.error
        if not error and not all(np.isfinite(array).all() for array in weights + biases):
            error = self._diverged(math.nan)
        names = self.record[0] if self.record else ["train_loss"]
        curves = {name: [epoch[name] for epoch in self.record] for name in names}
        state = None
        if self.fit.partial:
            state = self.training.get_state(), self.stopping.get_state()
        rates = self.training.learned_rates()
        return Outcome(weights, biases, curves, error, state, self._noise(), rates)


def _unshuffled(n_epochs, n_rows):
    return np.broadcast_to(np.arange(n_rows), (n_epochs, n_rows))


def _one_or_more(rates):
    """A number if all rates are equal, else a list."""
    rates = rates.tolist()
    return rates[0] if len(set(rates)) == 1 else rates


def train(fit, progress=None, keep_interrupted=True, events=None):
    """Train the network of a prepared fit, with the settings of PyTorch for its size.

    Parameters
    ----------
    fit : Fit
    progress, keep_interrupted, events : as for `Trainer`

    Returns
    -------
    outcome : Outcome
    """
    if fit.learner._compiled():  # it has threads of its own
        n_threads = threads_to_use()
    else:
        n_threads = threads_for(fit.largest_batch * fit.learner._work(fit)[1])
    # Networks are built inside too: a second thread may hang in a forked child.
    with (
        torch_threads(n_threads),
        torch.inference_mode(False),
        torch.enable_grad(),
        without_autocast(fit.recipe.device),
        DenormalFlush() as denormals,
    ):
        training, monitor = fit.learner._start_training(fit)
        trainer = Trainer(training, fit, denormals, monitor, progress, keep_interrupted, events)
        outcome = trainer.run()
    fit.monitor = monitor
    return outcome
