"""Multilayer perceptrons with dropout."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from ._classifier import DropoutClassifier
from ._module import perceptron
from ._random import Use, distinct, generator, mask_bits
from ._regressor import DropoutRegressor
from ._tensors import as_tensor, rows_as_tensor
from ._validation import Interval, check_feature_groups, check_hidden_layer_sizes, check_rates
from .nn._activations import ACTIVATIONS
from .nn._initializers import initial_parameters
from .nn._masks import MaskSource
from .nn._mlp import StackedMLP, forward
from .nn._mlp_dropout import MLPDropout

# Values of the widest layer that are computed at once in a prediction.
_CHUNK_VALUES = 1 << 18


@dataclass(eq=False, repr=False, kw_only=True)
class MLPFamily:
    """What makes an estimator a multilayer perceptron."""

    feature_groups: object = None

    def _hidden(self):
        return check_hidden_layer_sizes(self.hidden_layer_sizes)

    def _rates(self):
        """Dropout rates of each kind of place, checked."""
        n_hidden = len(self._hidden())
        return {
            "input": check_rates("input_dropout_rate", self.input_dropout_rate, 1, "inputs"),
            "groups": check_rates("spatial_dropout_rate", self.spatial_dropout_rate, 1, "inputs"),
            "hidden": check_rates("dropout_rate", self.dropout_rate, n_hidden, "hidden layers"),
        }

    def _check_features(self, X):
        """Check what depends on the columns of `X`."""
        self._group_of_column = check_feature_groups(self.feature_groups, X.shape[1])

    def _build(self, prepared):
        """The stack of networks of several prepared fits, and its dropout."""
        train = prepared[0].problem.train
        layer_sizes = (train.X.shape[1], *self._hidden(), train.targets.shape[1])
        network = StackedMLP(
            layer_sizes,
            len(prepared),
            activation=self.activation,
            loss=prepared[0].loss,
            device=prepared[0].recipe.device,
        )
        for place, fit in enumerate(prepared):
            network.load(place, *self._initial(fit, layer_sizes))
        return network, self._make_dropout(network, prepared)

    def _initial(self, fit, layer_sizes):
        """Weights and biases that a fit starts from."""
        if fit.parameters is None:
            rng = generator(fit.problem.seed, Use.WEIGHTS)
            return initial_parameters(layer_sizes, self.activation, self.weight_init, rng)
        past = (fit.parameters[0][0].shape[0], *(len(bias) for bias in fit.parameters[1]))
        if past != layer_sizes:
            raise ValueError(
                f"The fitted network has layers {past}, but hidden_layer_sizes="
                f"{self.hidden_layer_sizes!r} and the data ask for {layer_sizes}. "
                "Use warm_start=False to start anew."
            )
        return fit.parameters

    def _make_dropout(self, network, prepared):
        device = prepared[0].recipe.device
        streams, places = distinct(
            [(fit.problem.seed, fit.problem.n_epochs_before) for fit in prepared]
        )
        place_of_network = torch.tensor(places, device=device)

        n_rows = min(prepared[0].recipe.batch_size, len(prepared[0].problem.train.rows))

        def source(kind, use, widths):
            return MaskSource(
                np.stack([fit.rates[kind] for fit in prepared]),
                widths,
                n_rows,
                [mask_bits(seed, use, n_epochs, device) for seed, n_epochs in streams],
                place_of_network,
                device,
            )

        groups = self._group_of_column
        return MLPDropout(
            source("input", Use.INPUT, network.layer_sizes[:1]),
            source("groups", Use.GROUPS, [int(groups.max()) + 1]),
            source("hidden", Use.HIDDEN, network.layer_sizes[1:-1]),
            torch.from_numpy(groups).to(device),
        )

    def _outputs(self, X):
        """Outputs of the network before the output function: tensor (n_samples, n_outputs)."""
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        weights, biases = (
            [as_tensor(array.astype(X.dtype, copy=False)) for array in part]
            for part in self._parameters
        )
        activation = ACTIVATIONS[self._activation]
        n_rows = max(1, _CHUNK_VALUES // max(weight.shape[1] for weight in weights))
        with torch.inference_mode():
            parts = [
                forward(rows_as_tensor(X, start, start + n_rows), weights, biases, activation)
                for start in range(0, X.shape[0], n_rows)
            ]
            return parts[0] if len(parts) == 1 else torch.cat(parts)

    @property
    def module_(self):
        """The network as a plain ``torch.nn.Module`` that computes the same predictions.

        Its output has shape (n_samples, n_outputs_): probabilities (of the second class only,
        where there are two), or targets in the units of `y`. Dropout layers are in their places
        and act in training mode, as usual.
        """
        check_is_fitted(self)
        return self._layers(
            [torch.from_numpy(array.copy()) for array in self.coefs_],
            [torch.from_numpy(array.copy()) for array in self.intercepts_],
            self.out_activation_,
        )

    def _layers(self, weights, biases, out_activation):
        return perceptron(
            weights,
            biases,
            self._activation,
            out_activation,
            self._dropout_rates,
            self._group_of_column,
        )


@dataclass(eq=False, repr=False, kw_only=True)
class DropoutMLPClassifier(MLPFamily, DropoutClassifier):
    """Multilayer perceptron classifier with dropout."""

    _parameter_constraints = {
        **DropoutClassifier._parameter_constraints,
        "feature_groups": [Interval(Integral, 1, None, closed="left"), "array-like", None],
    }


@dataclass(eq=False, repr=False, kw_only=True)
class DropoutMLPRegressor(MLPFamily, DropoutRegressor):
    """Multilayer perceptron regressor with dropout."""

    _parameter_constraints = {
        **DropoutRegressor._parameter_constraints,
        "feature_groups": [Interval(Integral, 1, None, closed="left"), "array-like", None],
    }
