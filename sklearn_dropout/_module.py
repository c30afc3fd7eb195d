"""A fitted or training network as plain PyTorch layers."""

from collections import OrderedDict

from torch import nn

from .nn._layers import (
    Exp,
    FeatureGroupDropout,
    SpatialDropout1d,
    SpatialDropout2d,
    SpatialDropout3d,
)

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
_OUTPUT_LAYERS = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "softmax": lambda: nn.Softmax(dim=-1),
    "exp": Exp,
}


def linear(weight, bias):
    """``nn.Linear`` on the memory of `weight` (n_in, n_out) and `bias` (n_out,)."""
    layer = nn.utils.skip_init(nn.Linear, *weight.shape, device=weight.device, dtype=weight.dtype)
    layer.weight = nn.Parameter(weight.t())
    layer.bias = nn.Parameter(bias)
    return layer


def perceptron(weights, biases, activation, out_activation, rates, group_of_column):
    """Layers of a perceptron, dropout included.

    Parameters
    ----------
    weights, biases : lists of tensors of shape (n_in, n_out) and (n_out,)
        Become the module's parameters, without a copy.
    activation, out_activation : str
    rates : dict
        Dropout rates: ``"input"`` and ``"groups"`` of one, ``"hidden"`` of each hidden layer.
    group_of_column : int64 ndarray of shape (n_features,)

    Returns
    -------
    module : nn.Sequential
        In evaluation mode.
    """
    layers = OrderedDict()
    if rates["groups"][0]:
        layers["spatial_dropout"] = FeatureGroupDropout(float(rates["groups"][0]), group_of_column)
    if rates["input"][0]:
        layers["input_dropout"] = nn.Dropout(float(rates["input"][0]))
    _add_dense(layers, weights, biases, activation, rates["hidden"])
    layers["out_activation"] = _OUTPUT_LAYERS[out_activation]()
    return nn.Sequential(layers).eval()


def _add_dense(layers, weights, biases, activation, rates):
    """Hidden dense layers with dropout, and the output layer."""
    for place, rate in enumerate(rates, 1):
        layers[f"hidden_{place}"] = linear(weights[place - 1], biases[place - 1])
        layers[f"activation_{place}"] = _ACTIVATION_LAYERS[activation]()
        if rate:
            layers[f"dropout_{place}"] = nn.Dropout(float(rate))
    layers["output"] = linear(weights[-1], biases[-1])


class Samples(nn.Module):
    """Rows of a table, or samples in their own shape, in their own shape."""

    def __init__(self, shape):
        super().__init__()
        self.shape = tuple(shape)

    def extra_repr(self):
        return f"shape={self.shape}"

    def forward(self, x):
        """From (n_samples, n_features) or (n_samples, *shape) to (n_samples, *shape)."""
        return x.reshape(len(x), *self.shape)


def convolution(weight, bias, padding):
    """``nn.Conv1d``, 2d or 3d on the memory of `weight` (n_out, n_in, *kernel) and `bias`.

    Before a kernel of even size stands a layer of zeros for the position that it sees more behind
    than before; ``padding="same"`` of PyTorch would do so too, but warn.
    """
    n_out, n_in, *kernel_size = weight.shape
    rank = len(kernel_size) - 1
    missing = [size - 1 if padding == "same" else 0 for size in kernel_size]
    layer = nn.utils.skip_init(
        [nn.Conv1d, nn.Conv2d, nn.Conv3d][rank],
        n_in,
        n_out,
        tuple(kernel_size),
        padding=tuple(size // 2 for size in missing),
        device=weight.device,
        dtype=weight.dtype,
    )
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    behind = [side for size in reversed(missing) for side in (0, size % 2)]
    if not any(behind):
        return layer
    zeros = [nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d][rank]
    return nn.Sequential(OrderedDict(zeros=zeros(tuple(behind), 0.0), conv=layer))


def convolutional(weights, biases, layout, activation, out_activation, rates):
    """Layers of a convolutional network, dropout included.

    Parameters
    ----------
    weights, biases : lists of tensors
        Of the convolutions and the dense layers; become the module's parameters, without a copy.
    layout : ConvLayout
    activation, out_activation : str
    rates : dict
        Dropout rates: ``"input"`` of one, ``"maps"`` and ``"elements"`` of each block,
        ``"hidden"`` of each hidden dense layer.

    Returns
    -------
    module : nn.Sequential
        In evaluation mode.
    """
    rank = len(layout.kernel_size) - 1
    spatial_dropout = [SpatialDropout1d, SpatialDropout2d, SpatialDropout3d][rank]
    pooling = [nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d][rank]
    layers = OrderedDict(samples=Samples(layout.input_shape))
    if rates["input"][0]:
        layers["input_dropout"] = nn.Dropout(float(rates["input"][0]))
    parameters = zip(weights, biases)
    for block in range(1, len(layout.filters) + 1):
        for place in range(1, layout.convs_per_block + 1):
            layers[f"conv_{block}_{place}"] = convolution(*next(parameters), layout.padding)
            layers[f"conv_activation_{block}_{place}"] = _ACTIVATION_LAYERS[activation]()
        if rates["maps"][block - 1]:
            layers[f"spatial_dropout_{block}"] = spatial_dropout(float(rates["maps"][block - 1]))
        if max(layout.pool_size) > 1:
            layers[f"pooling_{block}"] = pooling(layout.pool_size)
        if rates["elements"][block - 1]:
            layers[f"conv_dropout_{block}"] = nn.Dropout(float(rates["elements"][block - 1]))
    layers["flatten"] = nn.Flatten()
    n = len(layout.conv_shapes)
    _add_dense(layers, weights[n:], biases[n:], activation, rates["hidden"])
    layers["out_activation"] = _OUTPUT_LAYERS[out_activation]()
    return nn.Sequential(layers).eval()
