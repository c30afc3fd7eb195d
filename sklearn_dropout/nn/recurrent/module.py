"""A fitted or training recurrent network as PyTorch layers."""

from collections import OrderedDict

import torch
from torch import nn

from ..layers import Dropout, DropoutLayer, EmbeddingDropout, VariationalDropout
from ..module import _ACTIVATION_LAYERS, _OUTPUT_LAYERS, add_noise, dropout_layer, linear, tied
from .layers import GRU, LSTM, RNN, RecurrentLayer, SimpleRNN, is_traced


class RecurrentLayers(nn.Module):
    """From sequences to the last state of the last layer, without padding.

    Parameters
    ----------
    architecture : Architecture
    dropout : DropoutSettings
    variational : bool
        Whether a sequence has one mask for all steps.
    sources : dict of MaskSource, default=None
        Sources of the masks of each place in a training run.
    """

    def __init__(self, architecture, dropout, variational, sources=None):
        super().__init__()
        self.n_tokens, self.mask_zero = architecture.n_tokens, architecture.mask_zero
        self.mask_value = architecture.mask_value
        self.n_channels, self.n_layers = architecture.n_channels, len(architecture.hidden)
        drop, rates = VariationalDropout if variational else Dropout, dropout.rates
        if self.n_tokens is not None:
            padding = 0 if self.mask_zero else None
            self.embedding = nn.Embedding(self.n_tokens, self.n_channels, padding, device="meta")
            layer = EmbeddingDropout(float(rates["embedding"][0]))
            self.embedding_dropout = tied(layer, sources, "embedding")
        layers = OrderedDict()
        add_noise(layers, dropout, sources)
        if rates["groups"][0]:
            layer = VariationalDropout(float(rates["groups"][0]))
            layer = layer.of_kind(dropout.kind_of("groups"))
            layers["spatial_dropout"] = tied(layer, sources, "groups")
        if rates["input"][0]:
            layer = drop(float(rates["input"][0])).of_kind(dropout.kind_of("input"))
            layers["input_dropout"] = tied(layer, sources, "input")
        for site in range(self.n_layers):
            rate, within = float(rates["recurrent"][site]), None
            if rate:
                within = drop(rate).of_kind(dropout.kind_of("recurrent"))
                within = tied(within, sources, "recurrent", site)
            layers[f"recurrent_{site + 1}"] = _layer(architecture, site, within)
            rate = float(rates["hidden"][site])
            if rate:
                inner = site < self.n_layers - 1
                if dropout.kind_of("hidden") == "concrete":
                    layer = dropout_layer(dropout, "hidden", site)
                    layer.variational = inner and variational
                else:
                    layer = (drop if inner else Dropout)(rate).of_kind(dropout.kind_of("hidden"))
                layers[f"dropout_{site + 1}"] = tied(layer, sources, "hidden", site)
        self.layers = nn.Sequential(layers)

    def forward(self, x, last=None):
        """Last states, (n_samples, n_directions * n_units), for inputs of `predict`.

        Parameters
        ----------
        x : tensor
        last : int, default=None
            Layer whose states to return, from 0; ``None`` is the last.
        """
        end = f"recurrent_{self.n_layers if last is None else last + 1}"
        x, lengths = self._steps(x)
        for name, layer in self.layers.named_children():
            if isinstance(layer, RecurrentLayer):
                x = layer(x, lengths, all_steps=name != end)
                if last is not None and name == end:
                    return x
            else:
                x = layer(x)
        return x

    def _steps(self, x):
        """Numbers of each step, (n_samples, n_steps, n_channels), and lengths, if any differ."""
        if self.n_tokens is None:
            if x.dim() == 2:  # written so that exported graphs work for any number of rows
                x = x.reshape(-1, x.shape[1] // self.n_channels, self.n_channels)
            padding = padded_steps(x, self.mask_value)
            if padding is None:
                return x, None
            # The product of NaN and zero is NaN.
            return left_aligned(x.masked_fill(padding.unsqueeze(-1), 0.0), padding)
        tokens, lengths = x.long(), None
        if self.mask_zero:
            tokens, lengths = left_aligned(tokens, tokens == 0)
        return self.embedding_dropout(self.embedding(tokens), tokens), lengths

    def recurrent_layers(self):
        """The recurrent layers, from the input to the output."""
        return [layer for layer in self.layers if isinstance(layer, RecurrentLayer)]


def padded_steps(x, mask_value):
    """Which steps of sequences of numbers are padding.

    Parameters
    ----------
    x : tensor of shape (n_samples, n_steps, n_channels)
    mask_value : float or None
        Value of all channels of a padded step. None stands for NaN, with which estimators pad lists
        of sequences, except in traced networks.

    Returns
    -------
    padding : bool tensor of shape (n_samples, n_steps), or None if there cannot be any
    """
    if mask_value is None and (is_traced() or not bool(x[..., 0].isnan().any())):
        return None
    if mask_value is None or mask_value != mask_value:
        return x.isnan().all(2)
    return (x.float() == mask_value).all(2)  # in the precision of training


def left_aligned(steps, padding):
    """Sequences with their padding at the end, and the number of steps of each.

    Parameters
    ----------
    steps : tensor of shape (n_samples, n_steps) or (n_samples, n_steps, n_channels)
    padding : bool tensor of shape (n_samples, n_steps)

    Returns
    -------
    steps : the same, cut to the length of the longest sequence, but at least one step
    lengths : int64 tensor of shape (n_samples,), or None if all are equal
    """
    lengths = (~padding).sum(1)
    traced = is_traced()
    if traced or bool((padding[:, :-1] & ~padding[:, 1:]).any()):
        positions = torch.arange(steps.shape[1], device=steps.device)
        order = (positions + steps.shape[1] * padding).argsort(1)
        if steps.dim() == 3:
            order = order.unsqueeze(2).expand(-1, -1, steps.shape[2])
        steps = steps.gather(1, order)
    if traced:
        return steps, lengths
    steps = steps[:, : max(1, int(lengths.max()))]
    return steps, None if bool((lengths == steps.shape[1]).all()) else lengths


def _layer(architecture, index, dropout):
    """A recurrent layer with uninitialised parameters."""
    n_in, n_units = architecture.widths[index], architecture.hidden[index]
    activation, bidirectional = architecture.activation, architecture.bidirectional
    if architecture.cell == "rnn" and activation not in ("tanh", "relu"):
        function = _ACTIVATION_LAYERS[activation]()
        return SimpleRNN(n_in, n_units, activation, function, bidirectional, dropout)
    kind = {"lstm": LSTM, "gru": GRU, "rnn": RNN}[architecture.cell]
    return kind(n_in, n_units, activation, bidirectional, dropout)


def _set_parameters(layer, directions):
    """Let a layer of PyTorch use the memory of the given parameters."""
    for suffix, (weight_ih, weight_hh, bias) in zip(layer.suffixes, directions, strict=True):
        two = isinstance(layer, nn.GRU)
        bias_ih, bias_hh = bias.chunk(2) if two else (bias, torch.zeros_like(bias))
        setattr(layer, f"weight_ih_l0{suffix}", nn.Parameter(weight_ih))
        setattr(layer, f"weight_hh_l0{suffix}", nn.Parameter(weight_hh))
        setattr(layer, f"bias_ih_l0{suffix}", nn.Parameter(bias_ih))
        # PyTorch has a second bias in all cells; only that of a GRU is not redundant.
        setattr(layer, f"bias_hh_l0{suffix}", nn.Parameter(bias_hh, requires_grad=two))


def recurrent_network(
    architecture, weights, biases, out_activation, dropout, variational, sources=None
):
    """Layers of a recurrent network, dropout included.

    Parameters
    ----------
    architecture : Architecture
    weights, biases : lists of tensors
        Become the module's parameters, without a copy.
    out_activation : str
    dropout : DropoutSettings
    variational : bool
    sources : dict of MaskSource, default=None
        Sources of the masks of each place in a training run.

    Returns
    -------
    module : nn.Sequential
        In evaluation mode.
    """
    embedding, directions, output = architecture.split(weights, biases)
    recurrent = RecurrentLayers(architecture, dropout, variational, sources)
    if embedding is not None:
        recurrent.embedding.weight = nn.Parameter(embedding)
    for layer, parameters in zip(recurrent.recurrent_layers(), directions, strict=True):
        _set_parameters(layer, parameters)
    return nn.Sequential(
        OrderedDict(
            recurrent=recurrent,
            output=linear(*output),
            out_activation=_OUTPUT_LAYERS[out_activation](),
        )
    ).eval()


def parameters_of(module):
    """Weights and biases of a recurrent network, in the layout of `coefs_`: see `Architecture`."""
    recurrent, output = module.recurrent, module.output
    weights = [] if recurrent.n_tokens is None else [recurrent.embedding.weight]
    biases = []
    for layer in recurrent.recurrent_layers():
        for suffix in layer.suffixes:
            weights += layer.parameters_of(suffix)[:2]
            biases.append(layer.one_bias(suffix))
    weights, biases = [*weights, output.weight.t()], [*biases, output.bias]
    return [w.detach() for w in weights], [b.detach() for b in biases]


def bounded(module):
    """Parameters that max-norm bounds: kernels row by row, neither embedding nor output layer.

    Returns
    -------
    pairs : list of (parameter, axes)
        Axes over which the squared weights of a unit are summed.
    """
    return [
        (weight, (1,))
        for layer in module.recurrent.recurrent_layers()
        for suffix in layer.suffixes
        for weight in layer.parameters_of(suffix)[:2]
    ]


def drop_by_pass(module):
    """Switch the dropout of a network on, with one mask for each pass and word type."""
    for layer in module.modules():
        if isinstance(layer, DropoutLayer):
            layer.train()
    if module.recurrent.n_tokens is not None:
        module.recurrent.embedding_dropout.by_type = True
    return module
