"""What watches a training run: skorch callbacks and the progress bar."""

import math
from contextlib import contextmanager

import torch
from skorch import NeuralNet
from skorch.dataset import Dataset
from skorch.utils import to_tensor
from tqdm.auto import tqdm

from ._tensors import rows_as_tensor
from .nn._losses import OUT_ACTIVATIONS
from .nn._optimizers import TorchOptimizer


class StopTraining(Exception):
    """A callback has asked for an end of training."""


class SkorchNet(NeuralNet):
    """A skorch net around a network that is trained elsewhere.

    It is what callbacks are given during training, and what ``net_`` is afterwards.
    """

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
            Whether callbacks are to print.
        **options
            Of ``NeuralNet``: what callbacks may want to read.
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

    def infer(self, x, **fit_params):
        """Outputs of the module, whatever the precision of the inputs."""
        return super().infer(to_tensor(x, self.device).float(), **fit_params)

    def predict(self, X):
        """Outputs of the module, the class with the highest probability where it gives several."""
        outputs = self.predict_proba(X)
        last = self.module_[-1]
        if isinstance(last, torch.nn.Softmax):
            return outputs.argmax(axis=1)
        if isinstance(last, torch.nn.Sigmoid):
            classes = (outputs > 0.5).astype(int)
            return classes[:, 0] if classes.shape[1] == 1 else classes
        return outputs


class Monitor:
    """Tells skorch callbacks what happens in a training run of one network.

    The net they are given holds the weights in training: what a callback writes to
    ``net.module_`` or to ``net.optimizer_.param_groups`` acts on the run. Targets are those of the
    network: numbers of classes, and regression targets in standard units.

    Parameters
    ----------
    estimator : DropoutNetwork
    trainer : Trainer
        Of one network.
    """

    def __init__(self, estimator, trainer):
        (problem,) = trainer.problems
        network = trainer.network
        self.network = network
        self.optimizer = TorchOptimizer(trainer.optimizer)
        self.labels = estimator._labels
        self.out_activation = OUT_ACTIVATIONS[network.loss.out_activation]
        weights, biases = [w[0] for w in network.weights], [b[0] for b in network.biases]
        module = estimator._layers(weights, biases, network.loss.out_activation)
        # The same layers around the gradients show each where its parameter is.
        gradients = [g[0] for g in network.weight_gradients], [g[0] for g in network.bias_gradients]
        shadow = estimator._layers(*gradients, network.loss.out_activation)
        for parameter, gradient in zip(module.parameters(), shadow.parameters(), strict=True):
            parameter.grad = gradient.data
        self.net = SkorchNet.around(
            module,
            estimator.callbacks,
            optimizer=self.optimizer,
            verbose=int(estimator.verbose),
            device=trainer.recipe.device,
            lr=problem.learning_rate_init,
            max_epochs=trainer.recipe.max_iter,
            batch_size=trainer.recipe.batch_size,
        )
        if problem.n_epochs_before:
            self.net.history_.extend(estimator.history_)
        self.train = self._dataset(problem.train)
        self.valid = None if problem.valid is None else self._dataset(problem.valid)
        self.batch = None
        self.best = {}

    def _notify(self, event, **details):
        try:
            self.net.notify(event, **details)
        except KeyboardInterrupt:  # how skorch's callbacks ask for an end of training
            raise StopTraining from None

    def _dataset(self, sample):
        everything = len(sample.rows) == sample.X.shape[0]
        X = sample.X if everything else sample.X[sample.rows]
        return Dataset(X, self.labels(torch.from_numpy(sample.targets[sample.codes])).numpy())

    def train_begin(self):
        """Before the first epoch."""
        # Not by _notify: there is nothing to stop yet, so an interruption is passed on.
        self.net.notify("on_train_begin", X=self.train.X, y=self.train.y)

    def train_end(self):
        """After the last epoch."""
        self._notify("on_train_end", X=self.train.X, y=self.train.y)

    def epoch_begin(self):
        """Before an epoch."""
        self._epoch("on_epoch_begin")

    def _epoch(self, event):
        self._notify(event, dataset_train=self.train, dataset_valid=self.valid)

    def batch_begin(self, x, y):
        """Before a step on inputs and targets of shape (1, n_rows, n_features or n_outputs)."""
        self.batch = (x[0], self.labels(y[0]))
        self._notify("on_batch_begin", batch=self.batch, training=True)

    def gradient_computed(self):
        """Between the gradient and the update."""
        parameters = list(self.net.module_.named_parameters())
        self._notify(
            "on_grad_computed", named_parameters=parameters, batch=self.batch, training=True
        )

    def batch_end(self, z, y):
        """After a step: outputs before the output function, and targets."""
        loss = self.network.loss.rows(z, y).mean()
        self._batch_end(self.batch, self.out_activation(z[0]), loss, "train")

    def _batch_end(self, batch, y_pred, loss, part):
        self.net.history.record_batch(f"{part}_loss", float(loss))
        self.net.history.record_batch(f"{part}_batch_size", len(y_pred))
        self._notify(
            "on_batch_end", batch=batch, training=part == "train", loss=loss, y_pred=y_pred
        )

    def validated(self, loss):
        """After the evaluation on the validation set, which is one batch."""
        if self.valid is None:
            return
        X = rows_as_tensor(self.valid.X, 0, len(self.valid))
        batch = (X, torch.from_numpy(self.valid.y))
        self._notify("on_batch_begin", batch=batch, training=False)
        device = self.network.parameters.device
        self._batch_end(batch, self.net.module_(X.to(device)), loss, "valid")

    def epoch_end(self, record):
        """After an epoch with the given record."""
        if "valid_loss" in record:
            self.validated(record["valid_loss"][0])
        for name, (value,) in record.items():
            value = float(value)
            gain = -value if name.endswith("loss") else value
            is_best = gain > self.best.get(name, -math.inf)
            self.best[name] = max(gain, self.best.get(name, -math.inf))
            self.net.history.record(name, value)
            self.net.history.record(f"{name}_best", is_best)
        self._epoch("on_epoch_end")


@contextmanager
def progress_bar(verbose, n_epochs):
    """A bar over network-epochs, with the time left and the latest loss.

    Yields
    ------
    progress : callable (n_epochs, losses), or None where `verbose` is false
    """
    if not verbose:
        yield None
        return
    with tqdm(total=n_epochs, unit="epoch", desc="training") as bar:

        def progress(n_epochs, losses):
            bar.set_postfix(loss=f"{float(losses.mean()):.4g}", refresh=False)
            bar.update(n_epochs)

        yield progress
