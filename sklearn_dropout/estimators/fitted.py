"""Attributes and outputs of fitted networks of all families."""

from numbers import Integral

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ..checks.callbacks import named_callbacks
from ..checks.validation import check_device, check_pandas_support
from ..dropout.kinds import DropoutSettings
from ..nn.settings import in_threads
from ..nn.tensors import as_tensor, dense_rows
from .monte_carlo import MonteCarlo

_ROWS_AT_ONCE = 1024


class FittedNetwork(MonteCarlo, BaseEstimator):
    """A fitted network: its attributes, and its outputs with dropout off and on."""

    def _count_layers(self, weights):
        """Number of layers, input and output included."""
        return len(weights) + 1

    def _keep(self, fit, outcome):
        """Set the fitted attributes."""
        self._keep_curves(fit, outcome.curves)
        self._keep_network(fit, outcome)
        # What the next call of partial_fit continues with.
        self._partial_state = None
        if fit.partial:
            self._partial_state = (outcome.training_state, fit.streams.get_state())
        n_iter = len(outcome.curves["train_loss"])
        self.n_iter_ = n_iter
        self.t_ = (self.t_ if fit.continues else 0) + n_iter * fit.train.n_given
        self._weight_seen = fit.n_seen_before + n_iter * fit.train.total_weight
        self._keep_summary(fit, outcome.curves)

    def _keep_curves(self, fit, curves):
        """Add the epochs of a fit to those before, if it continues another."""
        past = self._curves if fit.continues else {"train_loss": []}
        monitor = fit.monitor
        if monitor is not None:  # callbacks may have loaded the epochs of another run
            names = curves.keys() | past.keys()
            past = {name: [row.get(name) for row in monitor.past] for name in names}
        no_past, no_epochs = ([None] * len(some["train_loss"]) for some in (past, curves))
        self._curves = {  # None where an epoch was not evaluated
            name: past.get(name, no_past) + curves.get(name, no_epochs) for name in past | curves
        }
        # A list of dicts, which every format can save; None if the curves have everything.
        self._history = None if monitor is None else monitor.rows

    def _keep_network(self, fit, outcome):
        """Set the weights, and the rates that were learned."""
        self._parameters = tuple(
            [array.astype(fit.dtype, copy=False) for array in part]
            for part in (outcome.weights, outcome.biases)
        )
        rates, *others = self._dropout
        rates = {place: some.copy() for place, some in rates.items()}
        for (place, site), rate in outcome.rates:
            rates[place][site] = rate
        self._dropout = rates, *others
        self.n_layers_ = self._count_layers(outcome.weights)
        self.n_outputs_ = outcome.biases[-1].shape[0] // fit.loss.n_heads
        self._set_coefs()

    def _keep_summary(self, fit, curves):
        """Set the curves that scikit-learn's MLP has, and their best values."""
        self.loss_curve_ = self._curves["train_loss"]
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else np.nan
        scores = None
        if fit.valid is not None:
            scores = [s for s in self._curves.get("valid_score", []) if s is not None]
        self.validation_scores_ = scores
        latest = [score for score in curves.get("valid_score", []) if not np.isnan(score)]
        self.best_validation_score_ = max(latest, default=np.nan) if scores else None
        self.best_loss_ = None if self.early_stopping else min(self.loss_curve_, default=np.nan)

    @property
    def _fitted_dropout(self):
        """The dropout of the fitted network in training."""
        return DropoutSettings(*self._dropout)

    def _n_network_outputs(self):
        """Units of the last layer."""
        return len(self._parameters[1][-1])

    def _set_coefs(self):
        """Set the public weights, whose outputs are in the units of `y`."""
        weights, biases = self._parameters
        self.coefs_, self.intercepts_ = list(weights), list(biases)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_parameters")

    @property
    def dropout_rates_(self):
        """Dropout rates of each kind of place, as the network was fitted."""
        check_is_fitted(self)
        return {place: rates.copy() for place, rates in self._fitted_dropout.rates.items()}

    @property
    def history_(self):
        """Curves of training, as a skorch ``History``: one row for each epoch."""
        from skorch.history import History

        check_is_fitted(self)
        history = History()
        for epoch in range(len(self.loss_curve_)):
            history.new_epoch()
            history.record("epoch", epoch + 1)
            for name, values in self._curves.items():
                if values[epoch] is not None:
                    history.record(name, values[epoch])
        if self._history is not None:  # an interrupted epoch may be among them, without losses
            for row, recorded in zip(history, self._history):
                row |= recorded
        return history

    @property
    def module_(self):
        """The network as a plain ``torch.nn.Module`` that computes the same predictions.

        It takes what `predict` takes, as a tensor. Its output has shape (n_samples, n_outputs_):
        probabilities (of the second class only, if there are two), or targets in the units of
        `y`. It contains the dropout layers, which act in training mode.
        """
        check_is_fitted(self)
        module = self._layers(
            [torch.tensor(array, dtype=torch.float32) for array in self.coefs_],
            [torch.tensor(array, dtype=torch.float32) for array in self.intercepts_],
            self.out_activation_,
        )
        return self._public(module)

    @property
    def net_(self):
        """The network as a skorch ``NeuralNet`` around `module_`, ready to predict or to save."""
        from ..fit.callbacks import SkorchNet

        net = SkorchNet.around(self.module_, None, device=check_device(self.device))
        net.callbacks_ = named_callbacks(self.callbacks)
        net.history_ = self.history_
        return net

    def _outputs(self, X, answers=None):
        """Outputs of the network with dropout off.

        Parameters
        ----------
        X : as for `predict`
        answers : callable (z) -> tensor, default=None
            From outputs before the output function, which ``None`` returns.

        Returns
        -------
        outputs : ndarray of shape (n_samples, n_outputs)
        """
        check_is_fitted(self)
        return self._outputs_of(self._validate(X, reset=False), answers)

    def _outputs_of(self, X, answers=None):
        """The same for a checked table."""
        outputs, n_rows = self._forward(X)

        def compute(rows):
            z = outputs(self._rows(X, rows))
            return (z if answers is None else answers(z)).numpy()

        return _joined(in_threads(compute, X.shape[0], n_rows))

    def hidden_features(self, X, layer=-1, *, as_frame=False):
        """Activations of a hidden layer, with dropout off.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Inputs.
        layer : int, default=-1
            Which of `hidden_layer_sizes`, from 0; -1 is the last.
        as_frame : bool, default=False
            Whether to return a pandas data frame, with columns ``hidden0_0``, ``hidden0_1`` and so
            on: the number of the layer, and that of the unit.

        Returns
        -------
        features : ndarray or DataFrame of shape (n_samples, n_units)
            For a recurrent network, the last states of the layer, of both directions if there are
            two. float32 for float32 `X`, else float64.

        Raises
        ------
        ValueError
            If the network has no such layer.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        n_hidden = self._n_hidden_layers()
        if not n_hidden:
            raise ValueError("This network has no hidden layer: hidden_layer_sizes is empty.")
        if not isinstance(layer, Integral) or not -n_hidden <= layer < n_hidden:
            raise ValueError(
                f"layer={layer!r} is not one of the {n_hidden} hidden layers of this network. Give "
                f"an int from {-n_hidden} to {n_hidden - 1}."
            )
        layer = int(layer) % n_hidden
        states = self._hidden_states(self._layers(*self._tensors(X.dtype), "identity"), layer)

        def compute(rows):
            return states(dense_rows(X, rows)).numpy()

        features = _joined(in_threads(compute, X.shape[0], _ROWS_AT_ONCE))
        if not as_frame:
            return features
        pandas = check_pandas_support("hidden_features with as_frame=True")
        names = [f"hidden{layer}_{unit}" for unit in range(features.shape[1])]
        return pandas.DataFrame(features, columns=names)

    def _n_hidden_layers(self):
        """Recurrent layers of an RNN; dense layers before the output of others."""
        return len(self._dropout[0]["hidden"])

    def _hidden_states(self, module, layer):
        """The part of a network that ends with a hidden layer."""
        names = [name for name, _ in module.named_children()]
        return module[: names.index(f"activation_{layer + 1}") + 1]

    def _rows(self, X, rows):
        """Some rows of a checked table, as the network's forward pass takes them."""
        return dense_rows(X, rows)

    def _tensors(self, dtype):
        """Weights and biases as tensors of a NumPy dtype."""
        return [[as_tensor(a.astype(dtype, copy=False)) for a in part] for part in self._parameters]


def _joined(parts):
    """Arrays below each other; a single one is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
