"""The training loop: a stack of networks, from their first batch to their best weights."""

import math
import warnings
from functools import partial

import numpy as np
import torch

from ._evaluation import Evaluator, noise
from ._monitor import StopTraining
from ._problem import Outcome
from ._random import distinct
from ._samples import Batches, StackedSample
from ._schedule import L2Penalty, Stopping, make_optimizer
from ._state import DenormalFlush, threads_for, torch_threads


class Trainer:
    """Trains a stack of networks.

    Parameters
    ----------
    build : callable (places) -> (network, dropout)
        Makes the networks of some of the problems, a `Stack` with initial weights, and the source
        of their masks, whose ``draw(n_steps)`` lists those of the next steps.
    problems : list of Problem
        One for each network, all with the same number of rows.
    recipe : Recipe
    watch : callable (trainer) -> Monitor, or None
        Makes what is told of epochs and batches; one network only.
    progress : callable (n_epochs, losses), or None
        Told how many network-epochs are done.
    keep_interrupted : bool
        Whether Ctrl-C ends training early, rather than being passed on.
    """

    def __init__(self, build, problems, recipe, watch, progress, keep_interrupted):
        self.build = build
        streams, stream_of_network = distinct([problem.streams for problem in problems])
        for problem, place in zip(problems, stream_of_network):
            problem.streams = streams[place]
        network, self.dropout = build(range(len(problems)))
        self.network = network
        self.problems = problems
        self.recipe = recipe
        self.progress = progress
        self.keep_interrupted = keep_interrupted
        self.batches = self._make_batches(streams, stream_of_network)
        self.evaluators = self._make_evaluators()
        self.penalty = L2Penalty(network, [p.alpha for p in problems], recipe.solver == "adamw")
        rates = [p.learning_rate_init for p in problems]
        self.optimizer = make_optimizer(network, rates, recipe, self.penalty)
        self.max_norm = _max_norm(network, problems)
        self.stopping = Stopping(self)
        if problems[0].training_state is not None:
            optimizer_state, stopping_state = problems[0].training_state
            self.optimizer.set_state(optimizer_state)
            self.stopping.set_state(stopping_state)
        self.record = []
        self._last = []
        self.n_iter = np.zeros(len(problems), dtype=int)
        self.errors = [""] * len(problems)
        self.monitor = None if watch is None else watch(self)

    def _make_batches(self, streams, stream_of_network):
        generators = None
        if self.recipe.shuffle:
            generators = [stream.order() for stream in streams]
        sample = StackedSample([p.train for p in self.problems], device=self.recipe.device)
        return Batches(
            sample,
            self.recipe.batch_size,
            generators,
            stream_of_network,
            self.network.values_per_row,
        )

    def _make_evaluators(self):
        score = self.problems[0].score
        evaluators = {}
        if score is not None:
            sample = self.batches.sample
            evaluators["train"] = Evaluator(self.network, sample, score, with_loss=False)
        if self.problems[0].valid is not None:
            sample = StackedSample([p.valid for p in self.problems], device=self.recipe.device)
            evaluators["valid"] = Evaluator(self.network, sample, score)
        return evaluators

    def run(self):
        """Train until every network is done.

        Returns
        -------
        outcomes : list of Outcome, one for each network
        """
        # Callbacks, and some networks, want tensors that autograd accepts.
        plain = self.monitor is None and not self.network.uses_autograd
        gradients = torch.inference_mode if plain else torch.no_grad
        work = self.batches.batch_size * self.network.multiplications_per_row
        with torch_threads(threads_for(work)), gradients(), DenormalFlush() as self._denormals:
            if self.monitor is not None:
                self.monitor.train_begin()
            going_on = self._run_epochs()
            outcomes = dict(zip(going_on, self._rest(going_on).run())) if going_on else {}
            self.stopping.restore_best()
            if self.monitor is not None:
                self.monitor.train_end()
            noise = self._noise()
            return [
                outcomes[network] if network in outcomes else self._outcome(network, noise[network])
                for network in range(len(noise))
            ]

    def _run_epochs(self):
        """Train until all are done, or half of the networks.

        Returns
        -------
        going_on : list of int
            Networks that are to go on as a smaller stack.
        """
        active = self.stopping.active
        try:
            while len(self.record) < self.recipe.max_iter and active.any():
                if 2 * np.count_nonzero(active) <= len(active):
                    return np.flatnonzero(active).tolist()
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
        return []

    def _rest(self, places):
        """Trainer of some of the networks, which goes on where they are."""
        rest = Trainer(
            lambda chosen: self.build([places[place] for place in chosen]),
            [self.problems[place] for place in places],
            self.recipe,
            None,
            self.progress,
            self.keep_interrupted,
        )
        rest.network.parameters.copy_(self.network.select(self.network.parameters, places))
        rest.optimizer.follow(self.optimizer, partial(self.network.select, places=places))
        rest.stopping.follow(self.stopping, places)
        rest.record = [{name: v[places] for name, v in epoch.items()} for epoch in self.record]
        rest.n_iter = self.n_iter[places]
        return rest

    def _n_epochs_ahead(self):
        """How many epochs to train at once: one, if anything is to be decided after each."""
        recipe = self.recipe
        if self.evaluators or self.problems[0].scorers or self.monitor is not None:
            return 1
        if recipe.solver == "sgd" and recipe.learning_rate != "constant":
            return 1
        return min(self.batches.max_epochs, recipe.max_iter - len(self.record))

    def _epochs(self):
        """Train for one epoch, or for as many short ones as are best computed together."""
        if self.monitor is not None:
            self.monitor.epoch_begin()
        try:
            self._denormals.on()
            # Divergence is told from the losses.
            with np.errstate(over="ignore", invalid="ignore"):
                losses = self._train_epochs(self._n_epochs_ahead())
        finally:
            self._denormals.restore()
        records = [{"train_loss": loss} for loss in losses]
        if len(records) == 1:
            self._evaluate(records[0])
        self.record += records  # only now, in case of an interruption before
        self._fail_where_not_finite(losses)
        self.stopping.update(self.record[-1])
        if self.progress is not None:
            self.progress(losses.size, losses[-1])
        if self.monitor is not None:
            self.monitor.epoch_end(self.record[-1])

    def _train_epochs(self, n_epochs):
        """Pass over the training rows; mean losses of shape (n_epochs, n_networks)."""
        total = np.zeros((n_epochs, len(self.problems)))
        parts = []
        for segment in self.batches.segments(n_epochs):
            outputs = [torch.empty_like(block.y) for block in segment]
            total += self._train_segment(segment, outputs, n_epochs)
            for block, z in zip(segment, outputs):
                loss = (self.network.loss.rows(z, block.y) * block.weight[..., 0]).sum(2)
                loss = loss.cpu().numpy() * block.total_weight
                total += loss.reshape(n_epochs, -1, loss.shape[1]).sum(1)
                parts.append((z, block.y, block.weight, block.total_weight, n_epochs))
        self._last = parts  # only now, in case of an interruption before
        return total / self.batches.sample.total_weight

    def _train_segment(self, segment, outputs, n_epochs):
        """Train on the steps of a segment, epoch by epoch.

        Parameters
        ----------
        segment : list of Block
        outputs : list of tensors like the targets of the blocks
            Receive the outputs of the networks.
        n_epochs : int

        Returns
        -------
        penalties : ndarray of shape (n_epochs, n_networks)
            Sum over the steps of what the penalty adds to the loss, times the weight of the batch.
        """
        steps = [
            list(zip(block.steps(), z.unbind(0), strict=True)) for block, z in zip(segment, outputs)
        ]
        masks = iter(self.dropout.draw(sum(map(len, steps))))
        norms = []
        for epoch in range(n_epochs):
            for block_steps in steps:
                per_epoch = len(block_steps) // n_epochs
                for step, z in block_steps[epoch * per_epoch : (epoch + 1) * per_epoch]:
                    norms.append(self.penalty.record())
                    self._step(*step, next(masks), z)
        return self.penalty.values(norms).reshape(n_epochs, -1, len(self.problems)).sum(1)

    def _step(self, x, y, weight, total_weight, masks, z):
        """One batch: gradient, update, max-norm."""
        monitor, optimizer = self.monitor, self.optimizer
        if x.shape[1] < self.batches.batch_size:
            masks = masks.first(x.shape[1])
        if monitor is not None:
            monitor.batch_begin(x, y)
        self.network.step(x, y, weight, masks, z)
        optimizer.decay = self.penalty.decay(total_weight)
        if monitor is None:
            optimizer.update()
        else:
            monitor.gradient_computed()
            monitor.optimizer.step()
        if self.max_norm is not None:
            self.network.clip_norms(self.max_norm)
        if monitor is not None:
            monitor.batch_end(z, y)

    def _evaluate(self, record):
        """Add losses and scores with dropout off to the record of an epoch."""
        for part, evaluator in self.evaluators.items():
            loss, score = evaluator()
            if loss is not None:
                record[f"{part}_loss"] = loss
            if score is not None:
                record[f"{part}_score"] = score
        for part, scorer in (self.problems[0].scorers or {}).items():
            record[f"{part}_score"] = np.array([scorer(*self.network.export(0))])

    def _fail_where_not_finite(self, losses):
        """Count the epochs; networks whose loss is no number any more are done."""
        active = self.stopping.active
        self.n_iter[active] = len(self.record)
        if np.isfinite(losses).all():
            return
        finite = np.isfinite(losses)
        for network in np.flatnonzero(active & ~finite.all(axis=0)):
            step = int(finite[:, network].argmin())
            self.n_iter[network] = len(self.record) - len(losses) + step + 1
            self.errors[network] = self._diverged(network, losses[step, network])
            active[network] = False

    def _diverged(self, network, loss):
        epoch = self.n_iter[network]
        rate = self.problems[network].learning_rate_init
        return (
            f"The training loss became {loss} in epoch {epoch}: training diverged. "
            f"Use a smaller learning_rate_init (now {rate!r}), or scale X, for example with "
            "StandardScaler."
        )

    def _noise(self):
        """Noise of regression targets, in the units of each network: see `Outcome`.

        Around the outputs with dropout off on the validation rows; where there are none, around
        those of the last epoch's steps, with dropout on. The latter estimates the expected squared
        residual under the approximate posterior, which is the noise variance that maximises the
        variational bound (the M-step of variational Bayes). Training residuals are too small;
        this widens them by the spread of the outputs. With a linear model and its exact posterior
        the two cancel in expectation; a network that overfits remains too sure.
        """
        if self.network.loss.noise is None:
            return [None] * len(self.problems)
        if "valid" in self.evaluators:
            return self.evaluators["valid"].noise()
        if not self._last:
            return np.full((len(self.problems), self.problems[0].train.targets.shape[1]), np.nan)
        return noise(self.network.loss, (_last_epoch(*part) for part in self._last))

    def _outcome(self, network, noise):
        weights, biases = self.network.export(network)
        error = self.errors[network]
        if not error and not all(np.isfinite(array).all() for array in weights + biases):
            error = self._diverged(network, math.nan)
        names = self.record[0] if self.record else ["train_loss"]
        record = self.record[: self.n_iter[network]]
        curves = {name: [float(epoch[name][network]) for epoch in record] for name in names}
        state = None
        if len(self.problems) == 1:
            state = self.optimizer.get_state(), self.stopping.get_state()
        return Outcome(weights, biases, curves, error, state, noise)


def _last_epoch(z, y, weight, total_weight, n_epochs):
    """Outputs, targets and weights of the last of the epochs that were trained together."""
    last = slice(-(len(z) // n_epochs), None)
    return z[last], y[last], weight[last], total_weight[last]


def _max_norm(network, problems):
    """Bounds of a stack, of shape (n_networks,); None where there are none."""
    norms = torch.tensor([p.max_norm for p in problems]).to(network.parameters)
    return norms if bool(norms.isfinite().any()) else None
