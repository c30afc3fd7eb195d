"""Convolutional networks: their parameters, shapes of samples, passes."""

from dataclasses import astuple, dataclass, replace
from itertools import pairwise
from math import prod
from numbers import Integral, Real

import numpy as np
import torch

from ..checks.images import channels_first, hint_at_layout, hint_at_pixels
from ..checks.validation import (
    FIT_NEW,
    Interval,
    StrOptions,
    check_conv_layer_sizes,
    check_hidden_layer_sizes,
    check_input_shape,
    check_rates,
    check_window,
)
from ..dropout.masks import MaskSource, PassSource, draw_lanes
from ..dropout.streams import Use, generator
from ..nn.conv_layout import ConvLayout
from ..nn.initializers import initial_convolution, initial_parameters
from ..nn.module import bounded, convolutional, parameters_of

# Values of the widest layer that a thread computes at once in a prediction.
_CHUNK_VALUES = 1 << 18


@dataclass(eq=False, repr=False, kw_only=True)
class CNNFamily:
    """Parameters and passes of convolutional networks."""

    conv_layer_sizes: object = (32,)
    convs_per_block: int = 1
    kernel_size: object = 3
    pool_size: object = 2
    padding: str = "same"
    conv_dropout_rate: object = 0.0
    conv_block_size: int = 1
    input_shape: object = None
    data_format: str = "channels_first"

    _family_constraints = {
        "conv_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "convs_per_block": [Interval(Integral, 1, None, closed="left")],
        "kernel_size": ["array-like", Interval(Integral, 1, None, closed="left")],
        "pool_size": ["array-like", Interval(Integral, 1, None, closed="left")],
        "padding": [StrOptions({"same", "valid"})],
        "conv_dropout_rate": [Real, "array-like"],
        "conv_block_size": [Interval(Integral, 1, None, closed="left")],
        "spatial_dropout_rate": [Real, "array-like"],
        "input_shape": ["array-like", None],
        "data_format": [StrOptions({"channels_first", "channels_last"})],
    }

    _remedies = {
        "nested": "Crop, pad or resize the samples to one shape, and pass numpy.stack(X).",
        "text": "Samples are of numbers.",
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

    def _asked_dropout(self):
        """The dropout that the parameters describe, checked."""
        dropout = replace(super()._asked_dropout(), block_size=int(self.conv_block_size))
        if dropout.block_size > 1 and dropout.dropout_type != "bernoulli":
            raise ValueError(
                f"conv_block_size={self.conv_block_size!r} drops blocks of feature maps, which "
                f"dropout_type={self.dropout_type!r} does not support. Use conv_block_size=1 or "
                "dropout_type='bernoulli'."
            )
        return dropout

    def _as_table(self, X, reset):
        """One row for each sample, flattened in its own layout."""
        n_axes = _n_axes(X)
        if reset:
            self._given_shape = None
            self._data_format = self.data_format
        if n_axes < 3:
            return X
        X = np.asarray(X)
        if n_axes > 5:
            raise ValueError(
                f"X has shape {X.shape}; samples have at most three dimensions besides channels: "
                "(n, channels, depth, height, width)."
            )
        shape = X.shape[1:]
        if self._data_format == "channels_last":
            shape = (shape[-1], *shape[:-1])
        if reset:
            self._given_shape = shape
        elif shape != self._layout.input_shape:
            raise ValueError(
                f"X has samples of shape {shape} (channels first), but "
                f"{type(self).__name__} was fitted on samples of shape {self._layout.input_shape}, "
                f"with data_format={self._data_format!r}."
            )
        return X.reshape(len(X), prod(X.shape[1:]))

    def _checked_table(self, X, reset):
        """The table with the channels first; warns of layouts that look wrong."""
        if reset:
            if self._given_shape is not None and self.input_shape is None:
                hint_at_layout(self._given_shape, self._data_format)
            hint_at_pixels(X)
        if self._data_format == "channels_first":
            return X
        shape = self._sample_shape(X.shape[1]) if reset else self._layout.input_shape
        return channels_first(X, shape)

    def _on_tables(self):
        """A copy that takes checked tables, for scorers."""
        taken = super()._on_tables()
        taken._data_format = "channels_first"
        return taken

    def _data_key(self):
        """Parameters that the checks of the data depend on."""
        if self.data_format == "channels_first":
            return (self.data_format,)
        shape = None if self.input_shape is None else tuple(np.ravel(self.input_shape).tolist())
        return self.data_format, shape

    def _check_features(self, X):
        """Find the shapes of a sample and of the outputs of the blocks."""
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
                    "Leave input_shape=None if X has the shape of the samples."
                )
            return given
        if asked is None:
            return (1, n_features)
        if prod(asked) != n_features:
            raise ValueError(
                f"input_shape={asked} has {prod(asked)} values, but X has {n_features} "
                "features. Give (channels, *positions) of one sample."
            )
        return asked

    def _dense_sizes(self, train):
        return (*check_hidden_layer_sizes(self.hidden_layer_sizes), train.targets.shape[1])

    def _initial(self, fit):
        """Weights and biases that a fit starts from, as arrays."""
        layout, dense = self._layout, self._dense_sizes(fit.train)
        if fit.parameters is None:
            rng = generator(fit.seed, Use.WEIGHTS)
            how = (self.activation, self.weight_init, rng)
            convs = [initial_convolution(shape, *how) for shape in layout.conv_shapes]
            weights, biases = initial_parameters((layout.n_outputs, *dense), *how)
            return [w for w, _ in convs] + weights, [b for _, b in convs] + biases
        past = [weight.shape for weight in fit.parameters[0]]
        asked = [*layout.conv_shapes, *pairwise((layout.n_outputs, *dense))]
        if past != asked:
            raise ValueError(
                f"The fitted network has weights of shapes {past}, but the parameters and the data "
                f"require {asked}. {FIT_NEW}"
            )
        return fit.parameters

    def _sites(self):
        """Use of the stream and widths of the sites of each kind of dropout."""
        layout = self._layout
        return {
            "input": (Use.INPUT, [prod(layout.input_shape)]),
            "maps": (Use.GROUPS, list(layout.filters)),
            "elements": (Use.CONV, [prod(shape) for shape in layout.output_shapes]),
            "hidden": (Use.HIDDEN, list(check_hidden_layer_sizes(self.hidden_layer_sizes))),
        }

    def _module_to_train(self, fit, weights, biases):
        """The network of a fit, and the sources of its masks."""
        n_rows = fit.largest_batch
        streams, device = fit.streams, fit.recipe.device
        sources = {
            kind: MaskSource(widths, n_rows, streams.masks(use, device), device)
            for kind, (use, widths) in self._sites().items()
        }
        n_inputs, noise = prod(self._layout.input_shape), streams.masks(Use.NOISE, device)
        sources["noise"] = MaskSource([n_inputs], n_rows, noise, device)
        out_activation = fit.loss.out_activation
        module = self._layers(weights, biases, out_activation, fit.dropout, sources)
        return module, list(sources.values())

    def _parameters_of(self, module):
        """Weights and biases of a module, in the layout of `coefs_`."""
        weights, biases = parameters_of(module)
        convs = [w.view(shape) for w, shape in zip(weights, self._layout.conv_shapes)]
        return convs + weights[len(convs) :], biases

    def _bounded(self, module):
        """Parameters that max-norm bounds, and the axes of what enters a unit."""
        return bounded(module)

    def _work(self, fit):
        """Number of values and multiplications in the forward pass of one row."""
        layout, dense = self._layout, self._dense_sizes(fit.train)
        products = sum(n_in * n_out for n_in, n_out in pairwise((layout.n_outputs, *dense)))
        return layout.widest + sum(dense), layout.n_multiplications + products

    def _forward(self, X):
        """Function from a tensor of rows to outputs, dropout off; and how many rows it takes."""
        return self._layers(*self._tensors(X.dtype), "identity"), self._rows_at_once()

    def _rows_at_once(self):
        return max(1, _CHUNK_VALUES // self._layout.widest)

    def _draw_masks(self, n_samples, streams):
        """Lanes of stochastic passes, each one thinned network for all rows of the pass."""
        n_convs = len(self._layout.conv_shapes)
        units = [len(bias) for bias in self._parameters[1][n_convs:-1]]
        sites = self._sites() | {"hidden": (Use.HIDDEN, units)}
        return n_samples, {
            kind: draw_lanes(widths, n_samples, streams.masks(use, "cpu"))
            for kind, (use, widths) in sites.items()
            if self._fitted_dropout.drops(kind)
        }

    def _sample_outputs(self, X, masks):
        """Outputs before the output function of each pass: (n_samples, n_rows, n_outputs).

        The layers before the first dropout are computed once for all passes.
        """
        n_samples, lanes = masks
        sources = {kind: PassSource(lanes.get(kind)) for kind in self._fitted_dropout.rates}
        parameters = self._tensors(X.numpy().dtype)
        module = self._layers(
            *parameters, "identity", self._fitted_dropout.of_passes(), sources
        ).train()
        first = next((k for k, layer in enumerate(module) if getattr(layer, "active", False)), None)
        if first is None:
            return module(X).expand(n_samples, -1, -1)

        def outputs(rows):
            h = module[:first](rows)
            return torch.stack([passed(h, number) for number in range(n_samples)])

        def passed(h, number):
            for source in sources.values():
                source.passes = slice(number, number + 1)
            return module[first:](h)

        return torch.cat([outputs(rows) for rows in X.split(self._rows_at_once())], dim=1)

    def _public(self, module):
        """Turn a network on checked tables into one on the inputs of `predict`."""
        module.samples.channels_last = self._data_format == "channels_last"
        return module

    def _layers(self, weights, biases, out_activation, dropout=None, sources=None):
        return convolutional(
            weights,
            biases,
            self._layout,
            self._activation,
            out_activation,
            self._fitted_dropout if dropout is None else dropout,
            sources,
        )


def _n_axes(X):
    """Number of axes of data of any kind; 2 if it is not clear."""
    if hasattr(X, "shape"):
        return len(X.shape)
    try:
        return np.asarray(X).ndim
    except ValueError:  # rows of different lengths
        return 2
