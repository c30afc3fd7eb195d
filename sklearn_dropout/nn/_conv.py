"""Convolutions and max pooling, forward and backward, in the memory order that suits a CPU.

Channels lie innermost (PyTorch's ``channels_last``): convolution and pooling are then several
times faster than in PyTorch's default order. Signals are images of height one, because that order
exists for images and volumes only.
"""

import torch
from torch.nn.functional import pad

_aten = torch.ops.aten
_POOLING = {
    2: (_aten.max_pool2d_with_indices, _aten.max_pool2d_with_indices_backward),
    3: (_aten.max_pool3d_with_indices, _aten.max_pool3d_with_indices_backward),
}


def as_image(shape):
    """Sizes of a place, or a kernel's: those of signals with a height of one before them."""
    return (1, *shape) if len(shape) == 1 else tuple(shape)


def channels_last(shape, like):
    """Empty tensor of shape (n_rows, n_channels, *positions) with its channels innermost."""
    memory_format = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=memory_format)


class Convolution:
    """A convolution of stride one.

    Parameters
    ----------
    kernel_size : tuple of int, length 2 or 3
    padding : {"same", "valid"}
    """

    def __init__(self, kernel_size, padding):
        missing = [size - 1 if padding == "same" else 0 for size in kernel_size]
        n = len(kernel_size)
        self._options = ([1] * n, [size // 2 for size in missing], [1] * n, False, [0] * n, 1)
        # Kernels of even size need one position more behind than before, as in torch.nn.
        behind = [size % 2 for size in missing]
        self._behind = [v for size in reversed(behind) for v in (0, size)] if any(behind) else None

    def forward(self, x, weight, bias):
        """Maps of shape (n_rows, n_out, *positions) of x of shape (n_rows, n_in, *positions)."""
        if self._behind is not None:
            x = pad(x, self._behind)
        return _aten.convolution(x, weight, bias, *self._options)

    def backward(self, d, x, weight, needs_input):
        """Derivatives by `x` (None where not needed), weight and bias, from that by the maps."""
        shape = x.shape
        if self._behind is not None:
            x = pad(x, self._behind)
        needs = [needs_input, True, True]
        d_x, d_weight, d_bias = _aten.convolution_backward(
            d, x, weight, [len(weight)], *self._options, needs
        )
        if needs_input and self._behind is not None:
            d_x = d_x[tuple(slice(size) for size in shape)]
        return d_x, d_weight, d_bias


class MaxPooling:
    """The largest value of each window; windows do not overlap, and rests are left out.

    Parameters
    ----------
    size : tuple of int, length 2 or 3
    """

    def __init__(self, size):
        self.size = list(size)
        self._forward, self._backward = _POOLING[len(size)]
        self._options = ([0] * len(size), [1] * len(size), False)

    def forward(self, x):
        """Values, and where in `x` they are."""
        return self._forward(x, self.size, self.size)

    def backward(self, d, x, where):
        """Derivative by `x`."""
        return self._backward(d, x, self.size, self.size, *self._options, where)


class ConvBlock:
    """Convolutions, each with activation, and max pooling: what lies between places of dropout.

    A function that never falls commutes with the maximum, so such an activation comes after
    pooling, where there are fewer values.

    Parameters
    ----------
    n_convs : int
    kernel_size, pool_size : tuples of int, length 2 or 3
    padding : {"same", "valid"}
    activation : Activation
    """

    def __init__(self, n_convs, kernel_size, pool_size, padding, activation):
        self.n_convs = n_convs
        self.activation = activation
        self._convolution = Convolution(kernel_size, padding)
        self._pooling = MaxPooling(pool_size) if max(pool_size) > 1 else None

    @property
    def needs_masks(self):
        """Whether `backward` must be given a derivative that is zero where a unit is dropped."""
        return not (self.activation.gates and self.activation.monotone)

    def forward(self, x, weights, biases, tape=None):
        """What the block leaves of `x`.

        Parameters
        ----------
        x : tensor of shape (n_rows, n_channels, *positions)
        weights : list of tensors of shape (n_out, n_in, *kernel_size), length n_convs
        biases : list of tensors of shape (n_out,)
        tape : list, default=None
            Receives what `backward` needs. The result may then be multiplied by a mask of zeros
            and ones in place.
        """
        tape = [] if tape is None else tape
        for place, (weight, bias) in enumerate(zip(weights, biases)):
            z = self._convolution.forward(x, weight, bias)
            tape.append(x)
            if place < self.n_convs - 1:
                x = self._activate(z, tape)
        if self.activation.monotone:
            return self._activate(self._pool(z, tape), tape)
        return self._pool(self._activate(z, tape), tape)

    def _activate(self, z, tape):
        out = z if self.activation.from_output else torch.empty_like(z)
        self.activation.forward(z, out)
        tape.append(z)
        return out

    def _pool(self, x, tape):
        if self._pooling is None:
            return x
        values, where = self._pooling.forward(x)
        tape.append((x, where))
        return values

    def backward(self, d, weights, tape, needs_input):
        """Derivatives by weights and biases, from `d`, the derivative by what the block left.

        Parameters
        ----------
        d : tensor
            Overwritten.
        weights : as in `forward`
        tape : list
            Of `forward`; what this block wrote is taken off.
        needs_input : bool

        Returns
        -------
        d : derivative by the input, None where not needed
        gradients : list of pairs (by the weight, by the bias), one for each convolution
        """
        gradients = []
        for place in range(self.n_convs - 1, -1, -1):
            if place == self.n_convs - 1:
                d = self._leave(d, tape)
            else:
                self.activation.backward(d, tape.pop())
            d, *pair = self._convolution.backward(
                d, tape.pop(), weights[place], needs_input or place > 0
            )
            gradients.insert(0, pair)
        return d, gradients

    def _leave(self, d, tape):
        """Back through the last activation and pooling, in either order."""
        if self.activation.monotone:
            self.activation.backward(d, tape.pop())
        if self._pooling is not None:
            d = self._pooling.backward(d, *tape.pop())
        if not self.activation.monotone:
            self.activation.backward(d, tape.pop())
        return d
