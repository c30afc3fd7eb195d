"""Activations of hidden units and their derivatives, written into existing buffers."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

_aten = torch.ops.aten
# Klambauer et al. 2017, eq. 14: the fixed point of self-normalising networks.
_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


@dataclass(frozen=True)
class Activation:
    """One elementwise function.

    Attributes
    ----------
    forward : callable (z, out)
        Write the activation of `z` into `out`.
    backward : callable (d, saved)
        Multiply `d` in place by the derivative, given `saved` from the forward pass.
    from_output : bool
        Whether `saved` is the activation itself (then `out` may be `z`) or its argument.
    """

    forward: Callable
    backward: Callable
    from_output: bool = True


def _copy(z, out):
    if out is not z:
        out.copy_(z)


def _relu(z, out):
    _copy(z, out)
    out.relu_()


def _gelu(z, out):
    if out.is_contiguous():
        _aten.gelu.out(z, out=out)
    else:  # PyTorch 2.13 does not change such an `out` in float32
        out.copy_(_aten.gelu(z))


def _elu_backward(alpha, scale):
    return lambda d, a: _aten.elu_backward.grad_input(d, alpha, scale, 1.0, True, a, grad_input=d)


ACTIVATIONS = {
    "identity": Activation(_copy, lambda d, a: d),
    "logistic": Activation(
        lambda z, out: torch.sigmoid(z, out=out),
        lambda d, a: _aten.sigmoid_backward.grad_input(d, a, grad_input=d),
    ),
    "tanh": Activation(
        lambda z, out: torch.tanh(z, out=out),
        lambda d, a: _aten.tanh_backward.grad_input(d, a, grad_input=d),
    ),
    "relu": Activation(
        _relu,
        lambda d, a: _aten.threshold_backward.grad_input(d, a, 0, grad_input=d),
    ),
    "elu": Activation(lambda z, out: _aten.elu.out(z, out=out), _elu_backward(1.0, 1.0)),
    "selu": Activation(
        lambda z, out: _aten.elu.out(z, _SELU_ALPHA, _SELU_SCALE, out=out),
        _elu_backward(_SELU_ALPHA, _SELU_SCALE),
    ),
    "gelu": Activation(
        _gelu,
        lambda d, z: _aten.gelu_backward.grad_input(d, z, grad_input=d),
        from_output=False,
    ),
    "silu": Activation(
        lambda z, out: _aten.silu.out(z, out=out),
        lambda d, z: _aten.silu_backward.grad_input(d, z, grad_input=d),
        from_output=False,
    ),
}
