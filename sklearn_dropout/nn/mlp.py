"""The forward pass of a perceptron."""

import threading

import torch


class Buffers(threading.local):
    """Memory for the sums of hidden layers, which each thread uses again for the next rows.

    Memory that is returned and asked for again has to be cleared by the system each time, which
    may take as long as the arithmetic.
    """

    def __init__(self):
        self._numbers = {}

    def take(self, key, shape, dtype):
        """An uninitialised tensor, whose memory belongs to the last one with this key."""
        n_numbers = shape[0] * shape[1]
        held = self._numbers.get(key)
        if held is None or held.numel() < n_numbers:
            held = self._numbers[key] = torch.empty(n_numbers, dtype=dtype)
        return held[:n_numbers].view(shape)


def forward(x, weights, biases, activation, buffers=None):
    """Outputs of a perceptron without dropout, before the output function.

    Parameters
    ----------
    x : tensor or CSR matrix of shape (n_rows, n_features)
    weights : list of tensors of shape (n_in, n_out)
    biases : list of tensors of shape (n_out,)
    activation : Activation
    buffers : Buffers, default=None
        ``None`` takes new memory.

    Returns
    -------
    z : tensor of shape (n_rows, n_outputs)
    """
    last = len(weights) - 1
    for layer, (weight, bias) in enumerate(zip(weights, biases)):
        if not torch.is_tensor(x):
            x = torch.from_numpy(x @ weight.numpy()).add_(bias)
        else:
            out = None
            if buffers is not None and layer < last:
                out = buffers.take(layer % 2, (len(x), len(bias)), x.dtype)
            x = torch.addmm(bias, x, weight, out=out)
        if layer < last:
            out = x if activation.from_output else torch.empty_like(x)
            activation.forward(x, out)
            x = out
    return x
