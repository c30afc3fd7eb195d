"""A fitted or training network as plain PyTorch layers."""

from collections import OrderedDict

import torch
from torch import nn

from .concrete import ConcreteDropout
from .feature_maps import DropBlock2d, DropBlock3d, SpatialDropout2d, SpatialDropout3d
from .layers import Dropout, Exp, FeatureGroupDropout, Mean
from .noise import AlphaDropout, GaussianDropout, GaussianNoise

_ACTIVATION_LAYERS = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
_NOT_MONOTONE = nn.GELU, nn.SiLU
_DROPOUT_LAYERS = {
    "bernoulli": Dropout,
    "gaussian": GaussianDropout,
    "alpha": AlphaDropout,
    "concrete": ConcreteDropout,
}
_OUTPUT_LAYERS = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "softmax": lambda: nn.Softmax(dim=-1),
    "exp": Exp,
    "gaussian": Mean,
}


def linear(weight, bias):
    """``nn.Linear`` on the memory of `weight` (n_in, n_out) and `bias` (n_out,)."""
    layer = nn.Linear(*weight.shape, device="meta")
    layer.weight = nn.Parameter(weight.t())
    layer.bias = nn.Parameter(bias)
    return layer


def perceptron(weights, biases, activation, out_activation, dropout, group_of_column, sources=None):
    """Layers of a perceptron, dropout included.

    Parameters
    ----------
    weights, biases : lists of tensors of shape (n_in, n_out) and (n_out,)
        Become the module's parameters, without a copy.
    activation, out_activation : str
    dropout : DropoutSettings
        Rates ``"input"`` and ``"groups"`` of one, ``"hidden"`` of each hidden layer.
    group_of_column : int64 ndarray of shape (n_features,)
    sources : dict of MaskSource, default=None
        Sources of the masks of each place in a training run.

    Returns
    -------
    module : nn.Sequential
        In evaluation mode.
    """
    layers, rates = OrderedDict(), dropout.rates
    add_noise(layers, dropout, sources)
    if rates["groups"][0]:
        layer = FeatureGroupDropout(float(rates["groups"][0]), group_of_column)
        layer = layer.of_kind(dropout.kind_of("groups"))
        layers["spatial_dropout"] = tied(layer, sources, "groups")
    if rates["input"][0]:
        layers["input_dropout"] = tied(dropout_layer(dropout, "input"), sources, "input")
    _add_dense(layers, weights, biases, activation, dropout, sources)
    layers["out_activation"] = _OUTPUT_LAYERS[out_activation]()
    return nn.Sequential(layers).to(weights[0].device).eval()


def dropout_layer(dropout, place, site=0):
    """Dropout of single elements, of the kind of a place."""
    layer = _DROPOUT_LAYERS[dropout.kind_of(place)](float(dropout.rates[place][site]))
    layer.place = place, site
    return layer


def add_noise(layers, dropout, sources):
    """Add the layer of noise on the inputs, if any."""
    if dropout.input_noise_std:
        layers["input_noise"] = tied(GaussianNoise(dropout.input_noise_std), sources, "noise")


def tied(layer, sources, kind, site=0):
    """A dropout layer, with masks from a site of ``sources[kind]`` unless `sources` is None."""
    if sources is not None:
        layer.tie(sources[kind], site)
    return layer


def parameters_of(module):
    """Weights and biases of dense and convolutional layers, in the layout of `coefs_`.

    Returns
    -------
    weights : list of tensors of shape (n_in, n_out) or (n_out, n_in, *kernel_size)
    biases : list of tensors of shape (n_out,)
    """
    weights, biases = [], []
    for layer in _with_weights(module):
        weight = layer.weight.detach()
        weights.append(weight.t() if isinstance(layer, nn.Linear) else weight)
        biases.append(layer.bias.detach())
    return weights, biases


def bounded(module):
    """Parameters that max-norm bounds: the weights that enter each hidden unit.

    Returns
    -------
    pairs : list of (parameter, axes)
        Axes over which the squared weights of a unit are summed.
    """
    *hidden, _ = _with_weights(module)
    return [(layer.weight, tuple(range(1, layer.weight.dim()))) for layer in hidden]


def _with_weights(module):
    return [
        layer for layer in module.modules() if isinstance(layer, (nn.Linear, nn.Conv2d, nn.Conv3d))
    ]


def _add_dense(layers, weights, biases, activation, dropout, sources):
    """Hidden dense layers with dropout, and the output layer."""
    for number, rate in enumerate(dropout.rates["hidden"], 1):
        layers[f"hidden_{number}"] = linear(weights[number - 1], biases[number - 1])
        layers[f"activation_{number}"] = _ACTIVATION_LAYERS[activation]()
        if rate:
            layer = dropout_layer(dropout, "hidden", number - 1)
            layers[f"dropout_{number}"] = tied(layer, sources, "hidden", number - 1)
    layers["output"] = linear(weights[-1], biases[-1])


class Samples(nn.Module):
    """Rows of a table, or samples in their own shape, as images or volumes.

    Channels lie innermost in memory (PyTorch's ``channels_last``): convolution and pooling are then
    several times faster on a CPU than in PyTorch's default order. Signals become images of height
    one, because that order exists for images and volumes only.

    Parameters
    ----------
    shape : tuple (channels, *positions)

    Attributes
    ----------
    channels_last : bool
        Whether rows and samples have the channels last; not so in training.
    """

    def __init__(self, shape):
        super().__init__()
        self.shape = (shape[0], *as_image(shape[1:]))
        self.channels_last = False

    def extra_repr(self):
        """Arguments shown in the representation."""
        return f"shape={self.shape}, channels_last={self.channels_last}"

    def forward(self, x):
        """From (n_samples, n_features) or samples in their own shape to (n_samples, *shape)."""
        if self.channels_last:
            x = x.reshape(x.shape[0], *self.shape[1:], self.shape[0])
            x = x.permute(0, len(self.shape), *range(1, len(self.shape)))
        return with_channels_innermost(x.reshape(x.shape[0], *self.shape))


def with_channels_innermost(x):
    """A copy of a tensor (n, channels, *positions) with the channels innermost in memory.

    With a single channel PyTorch cannot tell the two orders apart; these strides make it keep this
    one.
    """
    last = x.dim() - 1
    x = x.permute(0, *range(2, last + 1), 1).clone(memory_format=torch.contiguous_format)
    return x.permute(0, last, *range(1, last))


def convolution(weight, bias, padding):
    """``nn.Conv2d`` or 3d with a copy of `weight` (n_out, n_in, *kernel_size) and with `bias`.

    A kernel of even size needs one more zero behind the sample than before it, which a layer adds;
    PyTorch's ``padding="same"`` would do the same, with a warning.
    """
    n_out, n_in, *kernel_size = weight.shape
    kernel_size = as_image(kernel_size)
    missing = [size - 1 if padding == "same" else 0 for size in kernel_size]
    layer = _of_rank(kernel_size, nn.Conv2d, nn.Conv3d)(
        n_in,
        n_out,
        kernel_size,
        padding=tuple(size // 2 for size in missing),
        device="meta",
    )
    weight = weight.reshape(n_out, n_in, *kernel_size)
    layer.weight = nn.Parameter(with_channels_innermost(weight))
    layer.bias = nn.Parameter(bias)
    behind = [side for size in reversed(missing) for side in (0, size % 2)]
    if not any(behind):
        return layer
    zeros = _of_rank(kernel_size, nn.ConstantPad2d, nn.ConstantPad3d)
    return nn.Sequential(OrderedDict(zeros=zeros(tuple(behind), 0.0), conv=layer))


def as_image(sizes):
    """Sizes of positions or kernels; for signals with a height of one before them."""
    return (1, *sizes) if len(sizes) == 1 else tuple(sizes)


def _of_rank(sizes, of_images, of_volumes):
    return of_images if len(sizes) == 2 else of_volumes


def convolutional(weights, biases, layout, activation, out_activation, dropout, sources=None):
    """Layers of a convolutional network, dropout included.

    Parameters
    ----------
    weights, biases : lists of tensors
        Of the convolutions and the dense layers.
    layout : ConvLayout
    activation, out_activation : str
    dropout : DropoutSettings
        Rates ``"input"`` of one, ``"maps"`` and ``"elements"`` of each block, ``"hidden"`` of each
        hidden dense layer.
    sources : dict of MaskSource, default=None
        Sources of the masks of each place in a training run.

    Returns
    -------
    module : nn.Sequential
        In evaluation mode.
    """
    layers = OrderedDict(samples=Samples(layout.input_shape))
    add_noise(layers, dropout, sources)
    if dropout.rates["input"][0]:
        layers["input_dropout"] = tied(dropout_layer(dropout, "input"), sources, "input")
    parameters = zip(weights, biases)
    for block in range(1, len(layout.filters) + 1):
        for number in range(1, layout.convs_per_block + 1):
            layers[f"conv_{block}_{number}"] = convolution(*next(parameters), layout.padding)
            layers[f"conv_activation_{block}_{number}"] = _ACTIVATION_LAYERS[activation]()
        _end_block(layers, block, layout, dropout, sources)
    layers["flatten"] = nn.Flatten()
    n = len(layout.conv_shapes)
    _add_dense(layers, weights[n:], biases[n:], activation, dropout, sources)
    layers["out_activation"] = _OUTPUT_LAYERS[out_activation]()
    return nn.Sequential(layers).eval()


def _end_block(layers, block, layout, dropout, sources):
    """Add the dropout and the pooling of a block.

    Functions that never decrease commute with the maximum: most activations, and dropout of feature
    maps unless its factors may be negative. They are computed after pooling, on fewer values.
    """
    size = as_image(layout.pool_size)
    last = f"conv_activation_{block}_{layout.convs_per_block}"
    commute = [] if isinstance(layers[last], _NOT_MONOTONE) else [last]
    map_rate = float(dropout.rates["maps"][block - 1])
    if map_rate:
        kind, name = dropout.kind_of("maps"), f"spatial_dropout_{block}"
        layer = _of_rank(size, SpatialDropout2d, SpatialDropout3d)(map_rate).of_kind(kind)
        layers[name] = tied(layer, sources, "maps", block - 1)
        commute = [] if kind == "gaussian" else [*commute, name]
    if max(size) > 1:
        layers[f"pooling_{block}"] = _of_rank(size, nn.MaxPool2d, nn.MaxPool3d)(size)
        for name in commute:
            layers.move_to_end(name)
    element_rate = float(dropout.rates["elements"][block - 1])
    if element_rate:
        if dropout.block_size > 1:
            layer = _of_rank(size, DropBlock2d, DropBlock3d)(element_rate, dropout.block_size)
        else:
            layer = dropout_layer(dropout, "elements", block - 1)
        layers[f"conv_dropout_{block}"] = tied(layer, sources, "elements", block - 1)
