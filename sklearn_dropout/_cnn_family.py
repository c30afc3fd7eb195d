"""What makes an estimator a convolutional network: parameters, shapes of samples, arithmetic."""

from dataclasses import astuple, dataclass
from math import prod
from numbers import Integral, Real

import numpy as np
import torch

from ._module import convolutional
from ._random import Use, generator
from ._validation import (
    START_ANEW,
    Interval,
    StrOptions,
    check_conv_layer_sizes,
    check_hidden_layer_sizes,
    check_input_shape,
    check_rates,
    check_window,
)
from .nn._activations import ACTIVATIONS
from .nn._cnn import StackedCNN, arrange, stages
from .nn._cnn_dropout import CNNDropout
from .nn._conv_layout import ConvLayout
from .nn._initializers import initial_convolution, initial_parameters
from .nn._masks import MaskSource

# Values of the widest place that a thread computes at once in a prediction.
_CHUNK_VALUES = 1 << 18


@dataclass(eq=False, repr=False, kw_only=True)
class CNNFamily:
    """What makes an estimator a convolutional network."""

    conv_layer_sizes: object = (32,)
    convs_per_block: int = 1
    kernel_size: object = 3
    pool_size: object = 2
    padding: str = "same"
    conv_dropout_rate: object = 0.0
    input_shape: object = None

    _stacks = False
    _family_constraints = {
        "conv_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "convs_per_block": [Interval(Integral, 1, None, closed="left")],
        "kernel_size": ["array-like", Interval(Integral, 1, None, closed="left")],
        "pool_size": ["array-like", Interval(Integral, 1, None, closed="left")],
        "padding": [StrOptions({"same", "valid"})],
        "conv_dropout_rate": [Real, "array-like"],
        "spatial_dropout_rate": [Real, "array-like"],
        "input_shape": ["array-like", None],
    }

    def _rates(self):
        """Dropout rates of each kind of place, checked."""
        n_blocks = len(check_conv_layer_sizes(self.conv_layer_sizes))
        n_hidden = len(check_hidden_layer_sizes(self.hidden_layer_sizes))

        def check(name, n_sites, site):
            return check_rates(name, getattr(self, name), n_sites, site)

        return {
            "input": check("input_dropout_rate", 1, "inputs"),
            "maps": check("spatial_dropout_rate", n_blocks, "blocks of conv_layer_sizes"),
            "elements": check("conv_dropout_rate", n_blocks, "blocks of conv_layer_sizes"),
            "hidden": check("dropout_rate", n_hidden, "hidden layers"),
        }

    def _as_table(self, X, reset):
        """One row for each sample: channels, then positions, flattened."""
        n_axes = _n_axes(X)
        if reset:
            self._given_shape = None
        if n_axes < 3:
            return X
        X = np.asarray(X)
        if n_axes > 5:
            raise ValueError(
                f"X has shape {X.shape}; samples have at most three dimensions beside channels: "
                "(n, channels, depth, height, width)."
            )
        if reset:
            self._given_shape = X.shape[1:]
        elif X.shape[1:] != self._layout.input_shape:
            raise ValueError(
                f"X has samples of shape {X.shape[1:]} (channels first), but "
                f"{type(self).__name__} was fitted on samples of shape {self._layout.input_shape}."
            )
        return X.reshape(len(X), prod(X.shape[1:]))

    def _check_features(self, X):
        """Find the shape of a sample and what the blocks make of it."""
        shape = self._sample_shape(X.shape[1])
        n_dimensions = len(shape) - 1
        layout = ConvLayout(
            shape,
            check_conv_layer_sizes(self.conv_layer_sizes),
            int(self.convs_per_block),
            check_window("kernel_size", self.kernel_size, n_dimensions),
            check_window("pool_size", self.pool_size, n_dimensions),
            self.padding,
        )
        self._blocks = astuple(layout)  # plain values, which every format can save

    @property
    def _layout(self):
        return ConvLayout(*self._blocks)

    def _sample_shape(self, n_features):
        """Shape (channels, *positions), from that of `X` and `input_shape`."""
        asked, given = check_input_shape(self.input_shape), self._given_shape
        if given is not None:
            if asked not in (None, given):
                raise ValueError(
                    f"X has samples of shape {given} (channels first), but input_shape={asked}. "
                    "Leave input_shape=None where X has the shape of the samples."
                )
            return given
        if asked is None:
            return (1, n_features)
        if prod(asked) != n_features:
            raise ValueError(
                f"input_shape={asked} multiplies to {prod(asked)}, but X has {n_features} "
                "features. Give (channels, *positions) of one sample."
            )
        return asked

    def _dense_sizes(self, train):
        return (*check_hidden_layer_sizes(self.hidden_layer_sizes), train.targets.shape[1])

    def _build(self, prepared):
        """Network and dropout of one prepared fit."""
        (fit,) = prepared
        learner = fit.learner
        network = StackedCNN(
            learner._layout,
            self._dense_sizes(fit.problem.train),
            activation=self.activation,
            loss=fit.loss,
            device=fit.recipe.device,
        )
        network.load(0, *learner._initial(fit, network))
        n_rows = min(fit.recipe.batch_size, len(fit.problem.train.rows))
        streams, device = fit.problem.streams, fit.recipe.device
        return network, learner._make_dropout(
            network.dense_sizes[:-1], fit.rates, n_rows, streams, device
        )

    def _initial(self, fit, network):
        """Weights and biases that a fit starts from."""
        layout = network.layout
        if fit.parameters is None:
            rng = generator(fit.problem.seed, Use.WEIGHTS)
            how = (self.activation, self.weight_init, rng)
            convs = [initial_convolution(shape, *how) for shape in layout.conv_shapes]
            weights, biases = initial_parameters((layout.n_outputs, *network.dense_sizes), *how)
            return [w for w, _ in convs] + weights, [b for _, b in convs] + biases
        past = [weight.shape for weight in fit.parameters[0]]
        asked = [tuple(weight.shape[1:]) for weight in network.weights]
        if past != asked:
            raise ValueError(
                f"The fitted network has weights of shapes {past}, but the parameters and the data "
                f"ask for {asked}. {START_ANEW}"
            )
        return fit.parameters

    def _make_dropout(self, units, rates, n_rows, streams, device="cpu"):
        layout = self._layout

        def source(kind, use, widths):
            bits = streams.masks(use, device)
            return MaskSource.of_one(rates[kind], widths, n_rows, bits, device)

        return CNNDropout(
            source("input", Use.INPUT, [prod(layout.input_shape)]),
            source("maps", Use.GROUPS, layout.filters),
            source("elements", Use.CONV, [prod(shape) for shape in layout.output_shapes]),
            source("hidden", Use.HIDDEN, units),
            layout,
            device=device,
        )

    def _stages(self, dtype):
        """The fitted network, in pieces that end where dropout may act."""
        return stages(*self._tensors(dtype), self._layout, ACTIVATIONS[self._activation])

    def _forward(self, dtype, n_features):
        """Function from a tensor of rows to outputs, dropout off; and how many rows it takes."""
        pieces = self._stages(dtype)

        def outputs(rows):
            h = arrange(rows, self._layout.input_shape)
            for piece in pieces:
                h = piece(h)
            return h

        return outputs, self._rows_at_once()

    def _rows_at_once(self):
        return max(1, _CHUNK_VALUES // self._layout.widest)

    def _draw_masks(self, n_samples, streams):
        """Masks of stochastic passes, each one thinned network for all rows of the pass."""
        n_convs = len(self._layout.conv_shapes)
        units = [len(bias) for bias in self._parameters[1][n_convs:-1]]
        return self._make_dropout(units, self._dropout_rates, 1, streams).draw(n_samples)

    def _sample_outputs(self, X, masks):
        """Outputs before the output function of each pass: (n_samples, n_rows, n_outputs).

        What lies before the first dropout is computed once for all passes.
        """
        pieces = self._stages(X.numpy().dtype)
        drops = [factor is not None for factor in masks[0].factors(X.dtype)]
        n_before = drops.index(True) if any(drops) else len(drops)

        def outputs(rows):
            h = arrange(rows, self._layout.input_shape)
            for piece in pieces[:n_before]:
                h = piece(h)
            if n_before == len(drops):
                return h.expand(len(masks), -1, -1)
            return torch.stack(
                [_thinned(h, pieces[n_before:], step.factors(X.dtype)[n_before:]) for step in masks]
            )

        return torch.cat([outputs(rows) for rows in X.split(self._rows_at_once())], dim=1)

    def _layers(self, weights, biases, out_activation):
        return convolutional(
            weights,
            biases,
            self._layout,
            self._activation,
            out_activation,
            self._dropout_rates,
        )


def _thinned(h, pieces, factors):
    """Outputs of one thinned network: before each of the pieces something is dropped, or not."""
    for piece, factor in zip(pieces, factors):
        h = piece(h if factor is None else h * factor)
    return h


def _n_axes(X):
    """Number of axes of data of any kind; 2 for what has no clear one."""
    if hasattr(X, "shape"):
        return len(X.shape)
    try:
        return np.asarray(X).ndim
    except ValueError:  # rows of different lengths
        return 2
