"""Recurrent networks: their parameters, sequences and passes."""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod
from numbers import Integral, Real

import numpy as np
import torch

from ..checks.sequences import (
    MAX_TOKENS,
    as_rectangle,
    check_mask_value,
    check_sequence_shape,
    flatten,
    is_list,
    left_aligned,
    left_aligned_numbers,
)
from ..checks.validation import (
    FIT_NEW,
    Interval,
    StrOptions,
    check_hidden_layer_sizes,
    check_rates,
)
from ..dropout.recurrent import PassMasks, mask_sources
from ..dropout.streams import Use, generator
from ..nn.initializers import initial_recurrent_parameters
from ..nn.recurrent.module import bounded, drop_by_pass, parameters_of, recurrent_network
from ..nn.recurrent.sequences import Architecture

# Values of the widest layer, over all steps, that are computed at once with dropout off.
_CHUNK_VALUES = 1 << 22


@dataclass(eq=False, repr=False, kw_only=True)
class RNNFamily:
    """Recurrent networks: their parameters, sequences and passes."""

    cell: str = "lstm"
    bidirectional: bool = False
    variational: bool = True
    recurrent_dropout_rate: object = 0.0
    input_shape: object = None
    n_tokens: int | None = None
    embedding_dim: int = 32
    embedding_dropout_rate: object = 0.0
    mask_zero: bool = True
    mask_value: float | None = None

    _family_constraints = {
        "cell": [StrOptions({"lstm", "gru", "rnn"})],
        "bidirectional": ["boolean"],
        "variational": ["boolean"],
        "recurrent_dropout_rate": [Real, "array-like"],
        "input_shape": ["array-like", None],
        "n_tokens": [Interval(Integral, 2, MAX_TOKENS, closed="both"), None],
        "embedding_dim": [Interval(Integral, 1, None, closed="left")],
        "embedding_dropout_rate": [Real],
        "mask_zero": ["boolean"],
        "mask_value": [Interval(Real, None, None, closed="neither"), np.nan, None],
    }

    _remedies = {
        "nested": (
            "Pass a list of sequences (n_steps, n_channels), or (n_steps,); those in a column of a "
            "data frame as X['column'].tolist()."
        ),
        "text": "Number the words from 1 to n_tokens - 1, and pass lists of these numbers.",
    }

    def _hidden(self):
        hidden = check_hidden_layer_sizes(self.hidden_layer_sizes)
        if not hidden:
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} must have one recurrent layer "
                "at least."
            )
        return hidden

    def _rates(self):
        """Dropout rates of each kind of place, checked."""
        n_hidden = len(self._hidden())
        layers = "recurrent layers"
        rates = {
            "input": check_rates("input_dropout_rate", self.input_dropout_rate, 1, "inputs"),
            "groups": check_rates("spatial_dropout_rate", self.spatial_dropout_rate, 1, "inputs"),
            "hidden": check_rates("dropout_rate", self.dropout_rate, n_hidden, layers),
            "recurrent": check_rates(
                "recurrent_dropout_rate", self.recurrent_dropout_rate, n_hidden, layers
            ),
            "embedding": check_rates(
                "embedding_dropout_rate", self.embedding_dropout_rate, 1, "inputs"
            ),
        }
        if rates["embedding"][0] and self.n_tokens is None:
            raise ValueError(
                f"embedding_dropout_rate={self.embedding_dropout_rate!r} drops tokens, but "
                "n_tokens is None. Give the number of tokens, or use input_dropout_rate."
            )
        if self.cell != "rnn" and self.activation not in ("relu", "tanh"):
            raise ValueError(
                f"activation={self.activation!r} is for cell='rnn'; an LSTM or GRU has its own "
                "functions. Leave activation at its default."
            )
        return rates

    def _as_table(self, X, reset):
        """A table with one row for each sequence."""
        n_tokens = self.n_tokens if reset else self._sequences["n_tokens"]
        X = self._as_array(X, n_tokens, reset)
        n_dims = getattr(X, "ndim", 2)
        if n_dims > 3 or (n_dims == 3 and n_tokens is not None):
            expected = "(n_samples, n_steps)"
            if n_tokens is None:
                expected += " or (n_samples, n_steps, n_channels)"
            raise ValueError(
                f"X has shape {X.shape}, but n_tokens={n_tokens!r} requires {expected}."
            )
        input_shape = check_sequence_shape(self.input_shape, n_tokens) if reset else None
        n_channels = None if reset else self._sequences["n_channels"]
        if reset:
            self._learn_shape(X, n_dims, input_shape)
        if n_dims == 3:
            return flatten(X, n_channels, input_shape)
        return X

    def _as_array(self, X, n_tokens, reset):
        """Lists of sequences as one array, padded if their lengths differ."""
        known = {} if reset else self._sequences
        if n_tokens is None:
            mask_value = check_mask_value(self.mask_value, None) if reset else known["mask_value"]
            return as_rectangle(X, mask_value, known.get("n_channels"))[0]
        X, padded = as_rectangle(X, 0)
        if padded and not (self.mask_zero if reset else known["mask_zero"]):
            raise ValueError(
                "X has sequences of different lengths, but with mask_zero=False no token is "
                "padding. Use mask_zero=True, or pad them yourself with a token of your choice."
            )
        return X[:, :, 0] if padded and X.shape[2] == 1 else X

    def _learn_shape(self, X, n_dims, input_shape):
        """Remember how rows of the table are cut into steps."""
        n_channels = 1
        if n_dims == 3:
            n_channels = int(X.shape[2])
        elif self.n_tokens is not None:
            n_channels = int(self.embedding_dim)
        elif input_shape is not None:
            n_channels = input_shape[1]
            n_features = X.shape[1] if n_dims == 2 and hasattr(X, "shape") else None
            if n_features is not None and n_features != input_shape[0] * n_channels:
                raise ValueError(
                    f"X has {n_features} columns, but input_shape={input_shape} requires "
                    f"{input_shape[0] * n_channels}."
                )
        self._sequences = {
            "n_channels": n_channels,
            "any_length": n_dims == 3 or self.n_tokens is not None,
            "n_tokens": None if self.n_tokens is None else int(self.n_tokens),
            "mask_zero": bool(self.mask_zero),
            "mask_value": check_mask_value(self.mask_value, self.n_tokens),
        }

    def _free_width(self, X, given):
        """Whether the table may differ from that of the fit in its number of columns."""
        known, shape = self._sequences, getattr(X, "shape", ())
        own_length = is_list(given) or getattr(given, "ndim", 2) == 3
        if len(shape) != 2 or shape[1] in (0, self.n_features_in_):
            return False
        if not (known["any_length"] or own_length):
            return False
        return known["n_tokens"] is not None or shape[1] % known["n_channels"] == 0

    def _may_be_missing(self, given):
        """Whether inputs may be NaN, which `_checked_table` takes as padding or refuses."""
        known = self._sequences
        if known["n_tokens"] is not None or known["mask_value"] is None:
            return known["n_tokens"] is None and is_list(given)
        return np.isnan(known["mask_value"])

    def _checked_table(self, X, reset):
        """Check tokens, and move padding to the end of each row."""
        known = self._sequences
        if known["n_tokens"] is None:
            return left_aligned_numbers(X, known["n_channels"], known["mask_value"])
        return left_aligned(X, known["n_tokens"], known["mask_zero"])

    def _on_tables(self):
        """A copy that takes checked tables, for scorers."""
        taken, known = super()._on_tables(), self._sequences
        taken._sequences = known | {"any_length": True}  # they end with the longest sequence
        if known["n_tokens"] is None and known["mask_value"] is None:
            taken._sequences["mask_value"] = np.nan  # of lists
        return taken

    def _data_key(self):
        """Parameters that the checks of the data depend on."""
        shape = None if self.input_shape is None else tuple(np.ravel(self.input_shape).tolist())
        return self.n_tokens, self.embedding_dim, self.mask_zero, repr(self.mask_value), shape

    def _check_features(self, X):
        """Record the architecture; later changes of parameters do not affect it."""
        self._shape = {
            "cell": self.cell,
            "hidden": self._hidden(),
            "bidirectional": bool(self.bidirectional),
            "activation": self.activation,
        }
        self._per_step = not self.variational

    def _architecture(self, n_outputs):
        known = {k: v for k, v in self._sequences.items() if k != "any_length"}
        return Architecture(n_outputs=n_outputs, **known, **self._shape)

    def _count_layers(self, weights):
        """Input, recurrent layers and output."""
        return len(self._shape["hidden"]) + 2

    def _n_steps(self, n_features):
        known = self._sequences
        return n_features if known["n_tokens"] is not None else n_features // known["n_channels"]

    def _initial(self, fit):
        """Weights and biases that a fit starts from, as arrays."""
        architecture = self._architecture(fit.train.targets.shape[1])
        if fit.parameters is None:
            rng = generator(fit.seed, Use.WEIGHTS)
            return initial_recurrent_parameters(architecture, self.weight_init, rng)
        shapes = [[array.shape for array in part] for part in fit.parameters]
        if shapes != [architecture.weight_shapes, architecture.bias_shapes]:
            raise ValueError(
                f"The fitted network has weights of shapes {shapes[0]}, but "
                f"hidden_layer_sizes={self.hidden_layer_sizes!r}, cell={self.cell!r} and the data "
                f"require {architecture.weight_shapes}. {FIT_NEW}"
            )
        return fit.parameters

    def _module_to_train(self, fit, weights, biases):
        """The network of a fit, and the sources of its masks."""
        train, device = fit.train, fit.recipe.device
        sources = mask_sources(
            self._architecture(train.targets.shape[1]),
            self._n_steps(train.X.shape[1]),
            fit.largest_batch,
            self._per_step,
            fit.streams,
            device,
        )
        out_activation = fit.loss.out_activation
        module = self._layers(weights, biases, out_activation, fit.dropout, sources)
        return module, list(sources.values())

    def _parameters_of(self, module):
        """Weights and biases of a module, in the layout of `coefs_`."""
        return parameters_of(module)

    def _bounded(self, module):
        """Parameters that max-norm bounds, and the axes of what enters a unit."""
        return bounded(module)

    def _work(self, fit):
        """Number of values of one row, and of multiplications that are computed at once.

        The latter are those of a step, or of all steps if PyTorch computes them together.
        """
        train = fit.train
        architecture = self._architecture(train.targets.shape[1])
        n_steps = self._n_steps(train.X.shape[1])
        largest = max(map(prod, architecture.weight_shapes[architecture.n_tokens is not None :]))
        at_once = self.cell == "lstm" and not fit.dropout.rates["recurrent"].all()
        return n_steps * sum(architecture.widths), largest * (n_steps if at_once else 1)

    def _forward(self, X):
        """Function from a tensor of rows to outputs, dropout off; and how many rows it takes."""
        weights, biases = self._tensors(X.dtype)
        n_rows = self._rows_at_once(self._n_steps(X.shape[1]))
        return self._layers(weights, biases, "identity"), n_rows

    def _rows_at_once(self, n_steps):
        """Number of rows to evaluate at a time."""
        widths = self._architecture(len(self._parameters[1][-1])).widths
        widest = max(n_in + 4 * n_out for n_in, n_out in pairwise((*widths, 1)))
        return max(1, _CHUNK_VALUES // (n_steps * (1 + self._shape["bidirectional"]) * widest))

    def _draw_masks(self, n_samples, streams):
        """Masks of stochastic passes, the same for all rows.

        Parameters
        ----------
        n_samples : int
        streams : Streams

        Returns
        -------
        masks : PassMasks
        """
        architecture = self._architecture(self._n_network_outputs())
        return PassMasks(
            self._fitted_dropout.rates, architecture, n_samples, self._per_step, streams
        )

    def _sample_outputs(self, X, masks):
        """Outputs before the output function with dropout on.

        Passes are stacked along the rows of a batch, as many as memory allows.

        Parameters
        ----------
        X : tensor of shape (n_rows, n_features)
            Rows as `_validate` returns them.
        masks : PassMasks

        Returns
        -------
        z : tensor of shape (n_samples, n_rows, n_outputs)
        """
        n_steps, n_samples = self._n_steps(X.shape[1]), masks.n_samples
        sources = masks.sources(n_steps)
        parameters = self._tensors(X.numpy().dtype)
        dropout = self._fitted_dropout.of_passes()
        module = drop_by_pass(self._layers(*parameters, "identity", dropout, sources))
        size = self._rows_at_once(n_steps)
        n_rows = min(size, len(X))
        n_passes = max(1, size // n_rows)
        z = X.new_empty((n_samples, len(X), self._n_network_outputs()))
        for first in range(0, n_samples, n_passes):
            passes = range(first, min(first + n_passes, n_samples))
            for start in range(0, len(X), n_rows):
                rows = X[start : start + n_rows]
                part = z[first : passes.stop, start : start + n_rows]
                for source in sources.values():
                    source.passes = torch.tensor(passes).repeat_interleave(len(rows))
                part.copy_(module(rows.repeat(len(passes), 1)).view(part.shape))
        return z

    def _hidden_states(self, module, layer):
        """The part of a network that ends with the last states of a recurrent layer."""
        return partial(module.recurrent, last=layer)

    def _layers(self, weights, biases, out_activation, dropout=None, sources=None):
        return recurrent_network(
            self._architecture(len(biases[-1])),
            weights,
            biases,
            out_activation,
            self._fitted_dropout if dropout is None else dropout,
            not self._per_step,
            sources,
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = self.n_tokens is None
        return tags
