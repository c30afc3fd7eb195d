"""A fitted or training recurrent network as plain PyTorch layers."""

from collections import OrderedDict

import torch
from torch import nn

from ._module import _ACTIVATION_LAYERS, _OUTPUT_LAYERS, linear
from .nn._layers import EmbeddingDropout, VariationalDropout

_RECURRENT_LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


# As PyTorch names those of a direction.
_PARAMETERS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def suffixes(bidirectional):
    """Ends of the names of each direction's parameters, as PyTorch has them."""
    return ("", "_reverse")[: 1 + bidirectional]


class SimpleRNN(nn.Module):
    """Parameters of an ``nn.RNN`` of one layer, for any activation, one step after the other.

    Parameters
    ----------
    n_in, n_units : int
    activation : str
    bidirectional : bool
    """

    def __init__(self, n_in, n_units, activation, bidirectional):
        super().__init__()
        self.activation = _ACTIVATION_LAYERS[activation]()
        self.bidirectional = bidirectional
        shapes = (n_units, n_in), (n_units, n_units), (n_units,), (n_units,)
        for suffix in suffixes(bidirectional):
            for name, shape in zip(_PARAMETERS, shapes, strict=True):
                self.register_parameter(
                    name + suffix, nn.Parameter(torch.empty(shape, device="meta"))
                )

    def forward(self, x, suffix=""):
        """Hidden states (n_samples, n_steps, n_units) of one direction, over steps as they are."""
        weights = [getattr(self, name + suffix) for name in _PARAMETERS]
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        state, states = x.new_zeros(len(x), len(weight_hh)), []
        for step in x.unbind(1):
            sums = nn.functional.linear(step, weight_ih, bias_ih)
            state = self.activation(sums + nn.functional.linear(state, weight_hh, bias_hh))
            states.append(state)
        return torch.stack(states, 1)


class RecurrentLayers(nn.Module):
    """From sequences to the last state of the last layer, padding left out.

    Parameters
    ----------
    architecture : Architecture
    rates : dict
        Dropout rates, as estimators have them.
    variational : bool
        Whether a sequence has one mask for all steps.
    """

    def __init__(self, architecture, rates, variational):
        super().__init__()
        self.n_tokens, self.mask_zero = architecture.n_tokens, architecture.mask_zero
        self.n_channels = architecture.n_channels
        drop = VariationalDropout if variational else nn.Dropout
        layers = OrderedDict()
        if self.n_tokens is not None:
            padding = 0 if self.mask_zero else None
            self.embedding = nn.Embedding(self.n_tokens, self.n_channels, padding, device="meta")
            self.embedding_dropout = EmbeddingDropout(float(rates["embedding"][0]))
        if rates["groups"][0]:
            layers["spatial_dropout"] = VariationalDropout(float(rates["groups"][0]))
        if rates["input"][0]:
            layers["input_dropout"] = drop(float(rates["input"][0]))
        last = len(architecture.hidden)
        for place, (n_in, n_units, rate) in enumerate(
            zip(architecture.widths, architecture.hidden, rates["hidden"]), 1
        ):
            layers[f"recurrent_{place}"] = _layer(architecture, n_in, n_units)
            if rate:
                kind = nn.Dropout if place == last else drop
                layers[f"dropout_{place}"] = kind(float(rate))
        self.layers = nn.Sequential(layers)

    def forward(self, x):
        """Last states, (n_samples, n_directions * n_units), of what `predict` takes."""
        x, lengths = self._steps(x)
        last = None
        for name, layer in self.layers.named_children():
            if name.startswith("recurrent"):
                x, last = _run(layer, x, lengths)
                last = last.transpose(0, 1).flatten(1)
            elif isinstance(layer, nn.Dropout) and name == f"dropout_{self.n_layers}":
                last = layer(last)
            else:
                x = layer(x)
        return last

    @property
    def n_layers(self):
        """Number of recurrent layers."""
        return sum(name.startswith("recurrent") for name, _ in self.layers.named_children())

    def _steps(self, x):
        """Numbers of each step, (n_samples, n_steps, n_channels), and lengths, if any differ."""
        if self.n_tokens is None:
            x = x if x.dim() == 3 else x.unflatten(1, (-1, self.n_channels))
            return x, None
        tokens, lengths = x.long(), None
        if self.mask_zero:
            padding = tokens == 0
            places = torch.arange(tokens.shape[1], device=tokens.device)
            tokens = tokens.gather(1, (places + tokens.shape[1] * padding).argsort(1))
            lengths = (~padding).sum(1)
        return self.embedding_dropout(self.embedding(tokens), tokens), lengths


def _run(layer, x, lengths):
    """Outputs of a layer and its last states, of shape (n_directions, n_samples, n_units).

    Backwards, each sequence is turned around within its length. What a layer makes of padding
    comes after all that matters, and is left out. Unlike packed sequences this can be exported.
    """
    if lengths is None and not isinstance(layer, SimpleRNN):
        x, last = layer(x)
        return x, last[0] if isinstance(last, tuple) else last
    if lengths is None:
        lengths = x.new_full((len(x),), x.shape[1], dtype=torch.int64)
    steps, ends = torch.arange(x.shape[1], device=x.device), lengths[:, None]
    turned = torch.where(steps < ends, ends - 1 - steps, steps)
    outputs, last = [], []
    for suffix in suffixes(layer.bidirectional):
        hidden = _one_way(layer, suffix, _at(x, turned) if suffix else x)
        outputs.append(_at(hidden, turned) if suffix else hidden)
        last.append(_at(hidden, ends - 1)[:, 0])
    return torch.cat(outputs, -1), torch.stack(last)


def _at(x, places):
    """Steps of each sequence: x (n_samples, n_steps, n) at places (n_samples, n_places)."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[2]))


def _one_way(layer, suffix, x):
    """Hidden states of one direction of a layer, over the steps as they are."""
    if isinstance(layer, SimpleRNN):
        return layer(x, suffix)
    weights = [getattr(layer, name + suffix) for name in _PARAMETERS]
    state = x.new_zeros(1, len(x), layer.hidden_size)
    kernel = getattr(torch._VF, layer.mode.lower())
    state = (state, state) if isinstance(layer, nn.LSTM) else state
    return kernel(x, state, weights, True, 1, 0.0, layer.training, False, True)[0]


def _layer(architecture, n_in, n_units):
    """A recurrent layer whose parameters are yet to be set."""
    if architecture.cell == "rnn" and architecture.activation not in ("tanh", "relu"):
        return SimpleRNN(n_in, n_units, architecture.activation, architecture.bidirectional)
    options = {"nonlinearity": architecture.activation} if architecture.cell == "rnn" else {}
    return _RECURRENT_LAYERS[architecture.cell](
        n_in,
        n_units,
        batch_first=True,
        bidirectional=architecture.bidirectional,
        device="meta",
        **options,
    )


def _set_parameters(layer, directions, cell):
    """Let a layer of PyTorch use the memory of our parameters."""
    for suffix, (weight_ih, weight_hh, bias) in zip(suffixes(len(directions) == 2), directions):
        bias_ih, bias_hh = bias.chunk(2) if cell == "gru" else (bias, torch.zeros_like(bias))
        # PyTorch has a second bias everywhere; only that of a GRU is more than a double.
        second = nn.Parameter(bias_hh, requires_grad=cell == "gru")
        layer.register_parameter(f"weight_ih_l0{suffix}", nn.Parameter(weight_ih))
        layer.register_parameter(f"weight_hh_l0{suffix}", nn.Parameter(weight_hh))
        layer.register_parameter(f"bias_ih_l0{suffix}", nn.Parameter(bias_ih))
        layer.register_parameter(f"bias_hh_l0{suffix}", second)
    if hasattr(layer, "_flat_weights"):
        layer._flat_weights = [getattr(layer, name) for name in layer._flat_weights_names]


def recurrent_network(architecture, weights, biases, out_activation, rates, variational):
    """Layers of a recurrent network, dropout included but for that of recurrent connections.

    Parameters
    ----------
    architecture : Architecture
    weights, biases : lists of tensors
        Become the module's parameters, without a copy.
    out_activation : str
    rates : dict
        Dropout rates, as estimators have them.
    variational : bool

    Returns
    -------
    module : nn.Sequential
        In evaluation mode.
    """
    embedding, directions, output = architecture.split(weights, biases)
    recurrent = RecurrentLayers(architecture, rates, variational)
    if embedding is not None:
        recurrent.embedding.weight = nn.Parameter(embedding)
    layers = [
        layer for name, layer in recurrent.layers.named_children() if name.startswith("recurrent")
    ]
    for layer, parameters in zip(layers, directions, strict=True):
        _set_parameters(layer, parameters, architecture.cell)
    return nn.Sequential(
        OrderedDict(
            recurrent=recurrent,
            output=linear(*output),
            out_activation=_OUTPUT_LAYERS[out_activation](),
        )
    ).eval()
