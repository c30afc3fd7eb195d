"""Many passes of one perceptron with dropout on.

A pass has one mask for all rows, so it is a thinned network and its masks can be folded into the
weights. The layers before the first dropout are the same in all passes and computed once; if a
single layer follows, all passes are one matrix product.
"""

import torch

# Values of a layer, for all rows and the passes computed together: they should stay in a cache.
_BLOCK_VALUES = 1 << 17


def sample_outputs(x, weights, biases, activation, noise, n_samples):
    """Outputs of thinned networks, before the output function.

    Parameters
    ----------
    x : tensor of shape (n_rows, n_features)
    weights : list of tensors of shape (n_in, n_out)
    biases : list of tensors of shape (n_out,)
    activation : Activation
    noise : list of (multiplier, addend or None), or None for each layer
        Of the inputs of each layer in each pass: tensors of shape (n_samples, n_in).
    n_samples : int

    Returns
    -------
    z : tensor of shape (n_samples, n_rows, n_outputs)
    """
    first = next((layer for layer, of in enumerate(noise) if of is not None), len(weights))
    for layer in range(first):
        x = torch.addmm(biases[layer], x, weights[layer])
        x = _activate(x, activation) if layer < len(weights) - 1 else x
    if first == len(weights):
        return x.expand(n_samples, -1, -1)
    n_rows = len(x)
    z = x.new_empty((n_rows, n_samples, weights[-1].shape[1]))
    widths = [weight.shape[1] for weight in weights[first:]]
    step = max(1, _BLOCK_VALUES // (n_rows * max(widths)))
    for start in range(0, n_samples, step):
        passes = slice(start, start + step)
        block = [of and tuple(t if t is None else t[passes] for t in of) for of in noise[first:]]
        z[:, passes] = _sample(x, weights[first:], biases[first:], activation, block)
    return z.transpose(0, 1)


def _activate(z, activation):
    out = z if activation.from_output else torch.empty_like(z)
    activation.forward(z, out)
    return out


def _sample(x, weights, biases, activation, noise):
    """Outputs of passes that are computed together, of shape (n_rows, n_passes, n_outputs).

    Parameters
    ----------
    x : tensor of shape (n_rows, n_in)
        The same in all passes.
    noise : list of (multiplier, addend or None), or None for each layer
        Not None for the first layer.
    """
    multiplier, addend = noise[0]
    z = _first_layer(x, weights[0], multiplier).add_(biases[0])
    if addend is not None:
        z.add_(addend @ weights[0])
    for weight, bias, of in zip(weights[1:], biases[1:], noise[1:]):
        x = _activate(z, activation)
        if of is not None:
            multiplier, addend = of
            x.mul_(multiplier)
            if addend is not None:
                x.add_(addend)
        z = torch.addmm(bias, x.flatten(0, 1), weight).view(*x.shape[:2], -1)
    return z


def _first_layer(x, weight, mask):
    """Weighted sums of dropped inputs: (n_rows, n_in) to (n_rows, n_passes, n_out).

    The mask is applied to the weights or to the inputs, whichever are fewer.
    """
    n_rows, n_out = len(x), weight.shape[1]
    if n_out <= n_rows:
        thinned = mask.t()[:, :, None] * weight[:, None]
        return (x @ thinned.flatten(1)).view(n_rows, len(mask), n_out)
    return (x[:, None] * mask) @ weight
