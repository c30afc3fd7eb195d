"""Calls of skorch callbacks during a training run."""

import math
from contextlib import contextmanager

import torch
from skorch import NeuralNet
from skorch.dataset import Dataset
from skorch.utils import to_tensor

from ..checks.callbacks import check_monitors
from ..nn.settings import raised_by_user
from .progress import StopTraining


class SkorchNet(NeuralNet):
    """A skorch net around a module that the loop of this package trains.

    Callbacks are given such a net during training, and ``net_`` is one afterwards.
    """

    decode_ = None

    @classmethod
    def around(cls, module, callbacks, *, optimizer=None, verbose=0, **options):
        """An initialised net.

        Parameters
        ----------
        module : nn.Module
        callbacks : list of skorch callbacks, or None
            Used as they are, not copied, as skorch does.
        optimizer : torch.optim.Optimizer, default=None
        verbose : int, default=0
            Whether callbacks may print.
        **options
            Arguments of ``NeuralNet`` that callbacks may read.
        """
        net = cls(
            module,
            criterion=torch.nn.Identity,
            optimizer=optimizer,
            callbacks=None if callbacks is None else list(callbacks),
            train_split=None,
            verbose=verbose,
            **options,
        )
        return net.initialize()

    @property
    def _default_callbacks(self):
        return []

    def initialize_optimizer(self, triggered_directly=None):
        """Take the optimiser of the training loop."""
        if self.optimizer is not None:
            self.optimizer_ = self.optimizer
        return self

    def fit(self, X=None, y=None, **fit_params):
        """Refuse: the estimator trains its network."""
        raise NotImplementedError(
            "This net predicts and saves the network of an estimator, and cannot train it. Use fit "
            "or partial_fit of the estimator, with callbacks to act on the training."
        )

    partial_fit = fit

    def infer(self, x, **fit_params):
        """Outputs of the module, whatever the precision of the inputs."""
        return super().infer(to_tensor(x, self.device).float(), **fit_params)

    def predict(self, X):
        """Classes of the rows (during training their labels, afterwards numbers), or targets."""
        answers = self.predict_proba(X)
        last = self.module_[-1]
        if isinstance(last, torch.nn.Softmax):
            answers = answers.argmax(axis=1)
        elif isinstance(last, torch.nn.Sigmoid):
            answers = (answers > 0.5).astype(int)
            answers = answers[:, 0] if answers.shape[1] == 1 else answers
        return answers if self.decode_ is None else self.decode_(answers)


class Monitor:
    """Calls skorch callbacks in a training run.

    Their net holds the module in training and its optimiser, so changes by a callback act on the
    run. Targets in batches and data sets are those of the network: class numbers, and regression
    targets in standard units. Scores of skorch, and ``net.predict``, use the labels and units of
    the user.

    Parameters
    ----------
    fit : Fit
    training : ModuleTraining

    Attributes
    ----------
    past : list of dict
        Rows of the history before this run: of earlier calls, or loaded by a callback.
    """

    def __init__(self, fit, training):
        estimator, recipe = fit.learner, fit.recipe
        self.training = training
        self.labels = estimator._labels
        self.net = SkorchNet.around(
            training.module,
            estimator.callbacks,
            optimizer=training.optimizer,
            verbose=int(estimator.verbose),
            device=recipe.device,
            lr=recipe.learning_rate_init,
            max_epochs=recipe.max_iter,
            batch_size=recipe.batch_size,
        )
        self.net.decode_ = estimator._from_labels
        check_monitors(self.net.callbacks_, fit.valid is not None)
        if fit.n_epochs_before:
            self.net.history_.extend(estimator.history_)
        self.train = self._dataset(fit.train)
        self.valid = None if fit.valid is None else self._dataset(fit.valid)
        self.valid_sample = fit.valid
        self.batch = None
        self.best = {}

    @property
    def rows(self):
        """The history as plain values, of this run and before."""
        return self.net.history.to_list()

    def _notify(self, event, **details):
        try:
            with raised_by_user(), self._decoded_targets():
                self.net.notify(event, **details)
        except KeyboardInterrupt:  # how skorch's callbacks stop training
            if event in ("on_train_begin", "on_train_end"):  # no training to stop
                raise
            raise StopTraining from None

    @contextmanager
    def _decoded_targets(self):
        """Show skorch's scorers targets in the labels and units of the user."""
        scores = [c for _, c in self.net.callbacks_ if hasattr(c, "target_extractor")]
        before = [score.target_extractor for score in scores]
        try:
            for score, extract in zip(scores, before):
                score.target_extractor = lambda y, extract=extract: self.net.decode_(extract(y))
            yield
        finally:
            for score, extract in zip(scores, before):
                score.target_extractor = extract

    def _dataset(self, sample):
        everything = sample.n_rows == sample.X.shape[0]
        X = sample.X if everything else sample.X[sample.rows]
        return Dataset(X, self.labels(sample.answers()).numpy())

    def train_begin(self):
        """Before the first epoch."""
        # Not by _notify: training has not begun, so an interruption is passed on.
        with raised_by_user():
            self.net.notify("on_train_begin", X=self.train.X, y=self.train.y)
        self.past = self.rows  # callbacks may have loaded epochs
        for row in self.past:
            for name, value in row.items():
                if name.endswith(("_loss", "_score")) and isinstance(value, float):
                    self.best[name] = max(_gain(name, value), self.best.get(name, -math.inf))

    def train_end(self):
        """After the last epoch."""
        self._notify("on_train_end", X=self.train.X, y=self.train.y)

    def epoch_begin(self):
        """Before an epoch."""
        self._epoch("on_epoch_begin")

    def _epoch(self, event):
        self._notify(event, dataset_train=self.train, dataset_valid=self.valid)

    def batch_begin(self, x, y, training=True):
        """Before a step on inputs (n_rows, n_features) and targets (n_rows, n_outputs)."""
        self.batch = (x, self.labels(y))
        self._notify("on_batch_begin", batch=self.batch, training=training)

    def gradient_computed(self):
        """Between the gradient and the update."""
        parameters = list(self.net.module_.named_parameters())
        self._notify(
            "on_grad_computed", named_parameters=parameters, batch=self.batch, training=True
        )

    def batch_end(self, answer, loss, training=True):
        """After a step, with the answers of the module and their mean loss."""
        part = "train" if training else "valid"
        self.net.history.record_batch(f"{part}_loss", float(loss))
        self.net.history.record_batch(f"{part}_batch_size", len(answer))
        self._notify("on_batch_end", batch=self.batch, training=training, loss=loss, y_pred=answer)

    def _validate(self):
        """Pass the validation rows to callbacks, a batch at a time."""
        for x, y, answer, loss in self.training.batches_off(self.valid_sample):
            self.batch_begin(x, y, training=False)
            self.batch_end(answer, loss, training=False)

    def epoch_end(self, record):
        """After an epoch with the given record."""
        if self.valid is not None:
            self._validate()
        for name, value in record.items():
            self.net.history.record(name, value)
            if name == "dropout_rate":
                continue
            gain = _gain(name, value)
            self.net.history.record(f"{name}_best", gain > self.best.get(name, -math.inf))
            self.best[name] = max(gain, self.best.get(name, -math.inf))
        self._epoch("on_epoch_end")


def _gain(name, value):
    """A loss or score with its sign changed, if needed, so that higher is better."""
    return -value if name.endswith("loss") else value
