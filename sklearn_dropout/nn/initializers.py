"""Initial weights and biases."""

from itertools import pairwise

import numpy as np
import torch

# Keras' defaults for its "normal" and "uniform" initialisers.
_NORMAL_STD = 0.05
_UNIFORM_BOUND = 0.05


def _glorot_factor(activation):
    """Numerator of Glorot & Bengio 2010, eq. 16; smaller for the logistic, as in scikit-learn."""
    return 2.0 if activation == "logistic" else 6.0


INITIALIZERS = {
    "glorot_uniform": lambda rng, shape, n_in, n_out, factor: _uniform(
        rng, (factor / (n_in + n_out)) ** 0.5, shape
    ),
    "glorot_normal": lambda rng, shape, n_in, n_out, factor: rng.normal(
        0.0, (factor / 3.0 / (n_in + n_out)) ** 0.5, shape
    ),
    "he_uniform": lambda rng, shape, n_in, n_out, factor: _uniform(rng, (6.0 / n_in) ** 0.5, shape),
    "he_normal": lambda rng, shape, n_in, n_out, factor: rng.normal(
        0.0, (2.0 / n_in) ** 0.5, shape
    ),
    "lecun_uniform": lambda rng, shape, n_in, n_out, factor: _uniform(
        rng, (3.0 / n_in) ** 0.5, shape
    ),
    "lecun_normal": lambda rng, shape, n_in, n_out, factor: rng.normal(
        0.0, (1.0 / n_in) ** 0.5, shape
    ),
    "normal": lambda rng, shape, n_in, n_out, factor: rng.normal(0.0, _NORMAL_STD, shape),
    "uniform": lambda rng, shape, n_in, n_out, factor: _uniform(rng, _UNIFORM_BOUND, shape),
}


def _uniform(rng, bound, shape):
    return rng.uniform(-bound, bound, shape)


def initial_layer(shape, n_in, n_out, n_units, activation, weight_init, rng):
    """Draw the parameters of one layer.

    Parameters
    ----------
    shape : tuple of int
        Of the weight.
    n_in, n_out : int
        Number of weights that enter a unit, and that leave it.
    n_units : int
    activation, weight_init, rng : as for `initial_parameters`

    Returns
    -------
    weight : float64 array of shape `shape`
    bias : float64 array of shape (n_units,)
    """
    factor = _glorot_factor(activation)
    weight = INITIALIZERS[weight_init](rng, shape, n_in, n_out, factor)
    return weight, _uniform(rng, np.sqrt(factor / (n_in + n_out)), n_units)


def initial_convolution(shape, activation, weight_init, rng):
    """Draw the parameters of one convolution, weights of shape (n_out, n_in, *kernel).

    A position of a feature map has one weight of each kernel position for each map below, and
    takes part in as many sums for each map above.
    """
    n_out, n_in, *kernel = shape
    n_taps = int(np.prod(kernel))
    return initial_layer(shape, n_in * n_taps, n_out * n_taps, n_out, activation, weight_init, rng)


def initial_parameters(layer_sizes, activation, weight_init, rng):
    """Draw the parameters of one perceptron.

    Parameters
    ----------
    layer_sizes : sequence of int
        Units of the input, of each hidden layer and of the output.
    activation : str
        Of the hidden units.
    weight_init : str
        A key of ``INITIALIZERS``.
    rng : numpy.random.Generator

    Returns
    -------
    weights : list of float64 arrays of shape (n_in, n_out)
    biases : list of float64 arrays of shape (n_out,)
        Uniform within Glorot's bound, as in scikit-learn's MLP: with biases of zero every ReLU
        unit would bend at the origin.
    """
    layers = [
        initial_layer((n_in, n_out), n_in, n_out, n_out, activation, weight_init, rng)
        for n_in, n_out in pairwise(layer_sizes)
    ]
    return [weight for weight, _ in layers], [bias for _, bias in layers]


def initial_recurrent_parameters(architecture, weight_init, rng):
    """Draw the parameters of one recurrent network.

    Parameters
    ----------
    architecture : Architecture
    weight_init : str
        A key of ``INITIALIZERS``, for input kernels and the output layer.
    rng : numpy.random.Generator

    Returns
    -------
    weights : list of float64 arrays
        Recurrent kernels have orthonormal columns, as in Keras; embeddings are uniform.
    biases : list of float64 arrays
        Zero, but 1 for the forget gates of an LSTM, which begins by remembering (Jozefowicz et al.
        2015, "An empirical exploration of recurrent network architectures", ICML, section 4.1).
    """
    draw, factor = INITIALIZERS[weight_init], _glorot_factor("tanh")
    weights = []
    if architecture.n_tokens is not None:
        weights.append(
            _uniform(rng, _UNIFORM_BOUND, (architecture.n_tokens, architecture.n_channels))
        )
    for n_out, n_in in architecture.weight_shapes[len(weights) : -1 : 2]:
        weights.append(draw(rng, (n_in, n_out), n_in, n_out, factor).T)
        weights.append(_orthonormal_columns(rng, *architecture.weight_shapes[len(weights)]))
    output = architecture.weight_shapes[-1]
    weights.append(draw(rng, output, *output, factor))
    biases = [np.zeros(shape) for shape in architecture.bias_shapes]
    if architecture.cell == "lstm":
        for bias in biases[:-1]:
            bias[len(bias) // 4 : len(bias) // 2] = 1.0
    return weights, biases


def _orthonormal_columns(rng, n_rows, n_columns):
    """Uniform among such matrices (Mezzadri 2007): QR with the signs of R's diagonal.

    Computed by PyTorch, since NumPy's threads spin for 50 ms afterwards and slow down training.
    """
    q, r = torch.linalg.qr(torch.from_numpy(rng.standard_normal((n_rows, n_columns))))
    return (q * r.diagonal().sign()).numpy()
