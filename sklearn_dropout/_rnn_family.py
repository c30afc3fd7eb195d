"""What makes an estimator a recurrent network."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from ._random import Use, generator
from ._rnn_masks import mask_sources, pass_masks
from ._rnn_module import recurrent_network
from ._sequences import (
    MAX_TOKENS,
    as_rectangle,
    check_sequence_shape,
    flatten,
    left_aligned,
)
from ._validation import START_ANEW, Interval, StrOptions, check_hidden_layer_sizes, check_rates
from .nn._initializers import initial_recurrent_parameters
from .nn._rnn import Recurrent, StackedRNN, rows_at_once
from .nn._rnn_dropout import RNNDropout
from .nn._sequences import Architecture


@dataclass(eq=False, repr=False, kw_only=True)
class RNNFamily:
    """What makes an estimator a recurrent network."""

    cell: str = "lstm"
    bidirectional: bool = False
    variational: bool = True
    recurrent_dropout_rate: object = 0.0
    input_shape: object = None
    n_tokens: int | None = None
    embedding_dim: int = 32
    embedding_dropout_rate: object = 0.0
    mask_zero: bool = True

    _stacks = False
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
                f"activation={self.activation!r} is for cell='rnn'; an LSTM or GRU has gates of "
                "its own. Leave it at its default."
            )
        return rates

    def _as_table(self, X, reset):
        """Sequences with one row each; tokens are looked at once they are numbers."""
        X = as_rectangle(X)
        n_dims = getattr(X, "ndim", 2)
        n_tokens = self.n_tokens if reset else self._sequences["n_tokens"]
        if n_dims > 3 or (n_dims == 3 and n_tokens is not None):
            expected = "(n_samples, n_steps)"
            if n_tokens is None:
                expected += " or (n_samples, n_steps, n_channels)"
            raise ValueError(
                f"X has shape {X.shape}, but n_tokens={n_tokens!r} asks for {expected}."
            )
        input_shape = check_sequence_shape(self.input_shape, n_tokens) if reset else None
        n_channels = None if reset else self._sequences["n_channels"]
        if reset:
            self._learn_shape(X, n_dims, input_shape)
        if n_dims == 3:
            return flatten(X, n_channels, input_shape)
        return X

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
                    f"X has {n_features} columns, but input_shape={input_shape} asks for "
                    f"{input_shape[0] * n_channels}."
                )
        self._sequences = {
            "n_channels": n_channels,
            "any_length": n_dims == 3 or self.n_tokens is not None,
            "n_tokens": None if self.n_tokens is None else int(self.n_tokens),
            "mask_zero": bool(self.mask_zero),
        }

    def _free_width(self, X):
        """Whether the table may have another number of columns than that of the fit."""
        known, shape = self._sequences, getattr(X, "shape", ())
        if not known["any_length"] or len(shape) != 2 or shape[1] in (0, self.n_features_in_):
            return False
        return known["n_tokens"] is not None or shape[1] % known["n_channels"] == 0

    def _checked_table(self, X):
        """The table once it is numbers: tokens are checked, and padding put behind them."""
        known = self._sequences
        if known["n_tokens"] is None:
            return X
        return left_aligned(X, known["n_tokens"], known["mask_zero"])

    def _data_key(self):
        """Parameters that checked data depend on."""
        shape = None if self.input_shape is None else tuple(np.ravel(self.input_shape).tolist())
        return self.n_tokens, self.embedding_dim, self.mask_zero, shape

    def _check_features(self, X):
        """Note what the fitted network is; later changes of parameters do not change it."""
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

    def _build(self, prepared):
        """The network of a prepared fit, and its dropout."""
        (fit,) = prepared
        train = fit.problem.train
        learner, device = fit.learner, fit.recipe.device
        architecture = learner._architecture(train.targets.shape[1])
        n_steps = learner._n_steps(train.X.shape[1])
        network = StackedRNN(
            architecture,
            (fit.rates["recurrent"] > 0).tolist(),
            n_steps,
            loss=fit.loss,
            device=device,
        )
        network.load(0, *learner._initial(fit, architecture))
        n_rows = min(fit.recipe.batch_size, len(train.rows))
        sources = mask_sources(
            fit.rates,
            architecture,
            n_steps,
            n_rows,
            self._per_step,
            fit.problem.streams,
            device,
        )
        dropout = RNNDropout(sources, n_steps, not self.variational, architecture.n_directions)
        return network, dropout

    def _initial(self, fit, architecture):
        """Weights and biases that a fit starts from."""
        if fit.parameters is None:
            rng = generator(fit.problem.seed, Use.WEIGHTS)
            return initial_recurrent_parameters(architecture, self.weight_init, rng)
        shapes = [[array.shape for array in part] for part in fit.parameters]
        if shapes != [architecture.weight_shapes, architecture.bias_shapes]:
            raise ValueError(
                f"The fitted network has weights of shapes {shapes[0]}, but "
                f"hidden_layer_sizes={self.hidden_layer_sizes!r}, cell={self.cell!r} and the data "
                f"ask for {architecture.weight_shapes}. {START_ANEW}"
            )
        return fit.parameters

    def _forward(self, dtype, n_features):
        """Function from a tensor of rows to outputs, dropout off; and how many rows it takes."""
        weights, biases, architecture = self._network(dtype)

        def outputs(rows):
            network = Recurrent(architecture, [False] * len(architecture.hidden))
            return network.forward(rows, weights, biases)

        return outputs, rows_at_once(architecture, self._n_steps(n_features))

    def _draw_masks(self, n_samples, streams):
        """Masks of stochastic passes, each of which serves all rows alike.

        Parameters
        ----------
        n_samples : int
        streams : Streams

        Returns
        -------
        masks : PassMasks
        """
        architecture = self._architecture(self.n_outputs_)
        return pass_masks(self._dropout_rates, architecture, n_samples, self._per_step, streams)

    def _sample_outputs(self, X, masks):
        """Outputs before the output function with dropout on.

        Passes are laid side by side along the rows of a batch, as many as memory allows.

        Parameters
        ----------
        X : tensor of shape (n_rows, n_features)
            Rows as `_validate` returns them.
        masks : PassMasks

        Returns
        -------
        z : tensor of shape (n_samples, n_rows, n_outputs)
        """
        weights, biases, architecture = self._network(X.numpy().dtype)
        n_steps, n_samples = self._n_steps(X.shape[1]), masks.n_samples
        masks.reach(n_steps)
        network = Recurrent(architecture, (self._dropout_rates["recurrent"] > 0).tolist())
        size = rows_at_once(architecture, n_steps)
        n_rows = min(size, len(X))
        n_passes = max(1, size // n_rows)
        z = X.new_empty((n_samples, len(X), architecture.n_outputs))
        for first in range(0, n_samples, n_passes):
            passes = range(first, min(first + n_passes, n_samples))
            for start in range(0, len(X), n_rows):
                rows = X[start : start + n_rows]
                part = z[first : passes.stop, start : start + n_rows]
                dropped = masks.of(passes, len(rows), X.dtype)
                x = rows.repeat(len(passes), 1)
                part.copy_(network.forward(x, weights, biases, dropped).view(part.shape))
        return z

    def _network(self, dtype):
        """Weights and biases as tensors, and the architecture."""
        weights, biases = self._tensors(dtype)
        return weights, biases, self._architecture(len(biases[-1]))

    def _layers(self, weights, biases, out_activation):
        return recurrent_network(
            self._architecture(len(biases[-1])),
            weights,
            biases,
            out_activation,
            self._dropout_rates,
            not self._per_step,
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = self.n_tokens is None
        return tags
