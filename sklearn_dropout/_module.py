"""A fitted or training perceptron as plain PyTorch layers."""

from collections import OrderedDict

from torch import nn

from .nn._layers import Exp, FeatureGroupDropout

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
    for place, rate in enumerate(rates["hidden"], 1):
        layers[f"hidden_{place}"] = linear(weights[place - 1], biases[place - 1])
        layers[f"activation_{place}"] = _ACTIVATION_LAYERS[activation]()
        if rate:
            layers[f"dropout_{place}"] = nn.Dropout(float(rate))
    layers["output"] = linear(weights[-1], biases[-1])
    layers["out_activation"] = _OUTPUT_LAYERS[out_activation]()
    return nn.Sequential(layers).eval()
