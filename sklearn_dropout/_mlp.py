"""Multilayer perceptrons with dropout."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch

from ._classifier import DropoutClassifier
from ._docstrings import documented
from ._module import perceptron
from ._random import Use, distinct, generator
from ._regressor import DropoutRegressor
from ._tensors import as_tensor
from ._validation import (
    START_ANEW,
    Interval,
    check_feature_groups,
    check_hidden_layer_sizes,
    check_rates,
)
from .nn._activations import ACTIVATIONS
from .nn._initializers import initial_parameters
from .nn._masks import MaskSource
from .nn._mlp import StackedMLP, forward
from .nn._mlp_dropout import MLPDropout
from .nn._mlp_sampling import sample_outputs

# Values of the widest layer that are computed at once in a prediction.
_CHUNK_VALUES = 1 << 18
# The same for all networks of a stack.
_STACK_CHUNK_VALUES = 1 << 20


@dataclass(eq=False, repr=False, kw_only=True)
class MLPFamily:
    """What makes an estimator a multilayer perceptron."""

    feature_groups: object = None

    _stacks = True
    _family_constraints = {
        "feature_groups": [Interval(Integral, 1, None, closed="left"), "array-like", None],
    }

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

    def _layer_sizes(self, train):
        return (train.X.shape[1], *self._hidden(), train.targets.shape[1])

    def _stack_key(self):
        """What networks of a stack must have in common beside data and recipe."""
        return self._hidden(), self.activation, self._group_of_column.tobytes()

    def _build(self, prepared):
        """The stack of networks of several prepared fits, and its dropout."""
        layer_sizes = self._layer_sizes(prepared[0].problem.train)
        network = StackedMLP(
            layer_sizes,
            len(prepared),
            activation=self.activation,
            loss=prepared[0].loss,
            device=prepared[0].recipe.device,
        )
        for place, fit in enumerate(prepared):
            network.load(place, *fit.learner._initial(fit, layer_sizes))
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
                f"{self.hidden_layer_sizes!r} and the data ask for {layer_sizes}. {START_ANEW}"
            )
        return fit.parameters

    def _make_dropout(self, network, prepared):
        device = prepared[0].recipe.device
        streams, places = distinct([fit.problem.streams for fit in prepared])
        rates = {kind: np.stack([f.rates[kind] for f in prepared]) for kind in prepared[0].rates}
        n_rows = min(prepared[0].recipe.batch_size, len(prepared[0].problem.train.rows))
        return self._dropout(rates, network.layer_sizes[:-1], n_rows, streams, places, device)

    def _dropout(self, rates, widths, n_rows, streams, places, device):
        """Dropout of networks on the streams at the given places.

        Parameters
        ----------
        rates : dict of ndarrays of shape (n_networks, n_sites)
        widths : tuple of int
            Units of the input and of each hidden layer.
        n_rows : int
            Of a batch.
        streams : list of Streams
        places : list of int, length n_networks
        device : torch device
        """
        groups = self._group_of_column

        def source(kind, use, widths):
            return MaskSource(
                rates[kind],
                widths,
                n_rows,
                [stream.masks(use, device) for stream in streams],
                torch.tensor(places, device=device),
                device,
            )

        return MLPDropout(
            source("input", Use.INPUT, widths[:1]),
            source("groups", Use.GROUPS, [int(groups.max()) + 1]),
            source("hidden", Use.HIDDEN, widths[1:]),
            torch.from_numpy(groups).to(device),
        )

    def _forward(self, dtype, n_features):
        """Function from a tensor of rows to outputs, dropout off; and how many rows it takes."""
        weights, biases = self._tensors(dtype)
        activation = ACTIVATIONS[self._activation]
        n_rows = max(1, _CHUNK_VALUES // max(max(weight.shape) for weight in weights))
        return lambda rows: forward(rows, weights, biases, activation), n_rows

    def _forward_together(self, outcomes, dtype):
        """Like `_forward`, for networks like this one: outputs (n_networks, n_rows, n_outputs)."""
        weights, biases = (
            [as_tensor(np.stack(layer).astype(dtype, copy=False)) for layer in zip(*part)]
            for part in ([o.weights for o in outcomes], [o.biases for o in outcomes])
        )
        biases = [bias[:, None] for bias in biases]
        activation = ACTIVATIONS[self._activation]
        width = len(outcomes) * max(max(weight.shape[1:]) for weight in weights)
        n_rows = max(1, _STACK_CHUNK_VALUES // width)
        return lambda rows: forward(rows, weights, biases, activation), n_rows

    def _draw_masks(self, n_samples, streams):
        """Number of passes, their masks, and the scales of what these keep."""
        rates = {kind: rate[None] for kind, rate in self._dropout_rates.items()}
        widths = [len(weight) for weight in self._parameters[0]]
        dropout = self._dropout(rates, widths, 1, [streams], [0], "cpu")
        return n_samples, dropout.draw_layers(n_samples), dropout.scales

    def _sample_outputs(self, X, masks):
        """Outputs with dropout on: tensor of shape (n_samples, n_rows, n_outputs)."""
        n_samples, layers, scales = masks
        factors = [
            None if mask is None else mask[:, 0, 0].to(X.dtype).mul_(scale.number)
            for mask, scale in zip(layers, scales)
        ]
        weights, biases = self._tensors(X.numpy().dtype)
        activation = ACTIVATIONS[self._activation]
        return sample_outputs(X, weights, biases, activation, factors, n_samples)

    def _layers(self, weights, biases, out_activation):
        return perceptron(
            weights,
            biases,
            self._activation,
            out_activation,
            self._dropout_rates,
            self._group_of_column,
        )


_FAMILY_TEXTS = {
    "hidden_layer_sizes": "Units of each hidden layer.",
    "dropout_rate": """Fraction of the hidden units dropped at each training step [1]_: one rate for
        all hidden layers, or one for each (``[0, 0, 0.4]`` drops before the output only).""",
    "spatial_type": "float",
    "spatial_dropout_rate": """Fraction of the groups of columns dropped as a whole, in [0, 1); see
        `feature_groups`. Columns of a group carry the same information, so dropping one of them
        alone regularises little.""",
    "family_parameters": """
        feature_groups : int or array-like of shape (n_features,), default=None
            Which columns `spatial_dropout_rate` drops together: each column alone (``None``),
            blocks of that many consecutive columns (int), or columns with the same label (array).
        """,
    "coefs_shape": "(n_in, n_out)",
    "coefs": "Weights of each layer",
}


@documented(**_FAMILY_TEXTS)
@dataclass(eq=False, repr=False, kw_only=True)
class DropoutMLPClassifier(MLPFamily, DropoutClassifier):
    """Multilayer perceptron classifier with dropout.

    :class:`sklearn.neural_network.MLPClassifier` with dropout on inputs, groups of inputs and
    hidden layers: at each training step every unit is left out with a given probability, so that
    no unit can rely on another one [1]_. Kept units are scaled up meanwhile, and at prediction
    every unit takes part. The log-loss is minimised by stochastic gradient descent in float32.

    Parameters
    ----------
    {parameters}

    {class_weight}

    {family_parameters}

    Attributes
    ----------
    {classes_attribute}

    {attributes}

    See Also
    --------
    DropoutMLPRegressor : The same network for numbers.
    sklearn.neural_network.MLPClassifier : scikit-learn's own, without dropout.

    Notes
    -----
    {notes}

    References
    ----------
    {references}

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_dropout import DropoutMLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> clf = DropoutMLPClassifier((32, 16), dropout_rate=[0, 0.2], batch_size=16, random_state=0)
    >>> clf.fit(X_train, y_train).score(X_test, y_test)
    0.97...
    >>> clf.predict(X_test[:3])
    array([2, 1, 0])
    """

    _parameter_constraints = {
        **DropoutClassifier._parameter_constraints,
        **MLPFamily._family_constraints,
    }


@documented(**_FAMILY_TEXTS)
@dataclass(eq=False, repr=False, kw_only=True)
class DropoutMLPRegressor(MLPFamily, DropoutRegressor):
    """Multilayer perceptron regressor with dropout.

    :class:`sklearn.neural_network.MLPRegressor` with dropout on inputs, groups of inputs and
    hidden layers [1]_. Targets are standardised inside `fit` and answers are in their units, so
    learning rate and penalty mean the same whatever the scale of `y`.

    Parameters
    ----------
    {parameters}

    {loss}

    {family_parameters}

    Attributes
    ----------
    {attributes}

    {noise_attribute}

    See Also
    --------
    DropoutMLPClassifier : The same network for classes.
    sklearn.neural_network.MLPRegressor : scikit-learn's own, without dropout.

    Notes
    -----
    {notes}

    References
    ----------
    {references}

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_dropout import DropoutMLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> reg = DropoutMLPRegressor((50,), dropout_rate=0.1, random_state=0)
    >>> reg.fit(X_train, y_train).score(X_test, y_test)
    0.3...
    """

    _parameter_constraints = {
        **DropoutRegressor._parameter_constraints,
        **MLPFamily._family_constraints,
    }
