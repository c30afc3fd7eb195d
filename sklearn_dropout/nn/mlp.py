"""The forward pass of a perceptron."""

import torch


def forward(x, weights, biases, activation):
    """Outputs of a perceptron without dropout, before the output function.

    Parameters
    ----------
    x : tensor or CSR matrix of shape (n_rows, n_features)
    weights : list of tensors of shape (n_in, n_out)
    biases : list of tensors of shape (1, n_out)
    activation : Activation

    Returns
    -------
    z : tensor of shape (n_rows, n_outputs)
    """
    last = len(weights) - 1
    for layer, (weight, bias) in enumerate(zip(weights, biases)):
        if torch.is_tensor(x):
            x = torch.matmul(x, weight).add_(bias)
        else:
            x = torch.from_numpy(x @ weight.numpy()).add_(bias)
        if layer < last:
            out = x if activation.from_output else torch.empty_like(x)
            activation.forward(x, out)
            x = out
    return x
