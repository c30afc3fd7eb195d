"""Initial weights and biases."""

from itertools import pairwise

import numpy as np

# Keras' defaults for its "normal" and "uniform" initialisers.
_NORMAL_STD = 0.05
_UNIFORM_BOUND = 0.05


def _glorot_factor(activation):
    """Numerator of Glorot & Bengio 2010, eq. 16; less for the logistic, as scikit-learn has it."""
    return 2.0 if activation == "logistic" else 6.0


INITIALIZERS = {
    "glorot_uniform": lambda rng, n_in, n_out, factor: _uniform(
        rng, (factor / (n_in + n_out)) ** 0.5, n_in, n_out
    ),
    "glorot_normal": lambda rng, n_in, n_out, factor: rng.normal(
        0.0, (factor / 3.0 / (n_in + n_out)) ** 0.5, (n_in, n_out)
    ),
    "he_uniform": lambda rng, n_in, n_out, factor: _uniform(rng, (6.0 / n_in) ** 0.5, n_in, n_out),
    "he_normal": lambda rng, n_in, n_out, factor: rng.normal(
        0.0, (2.0 / n_in) ** 0.5, (n_in, n_out)
    ),
    "normal": lambda rng, n_in, n_out, factor: rng.normal(0.0, _NORMAL_STD, (n_in, n_out)),
    "uniform": lambda rng, n_in, n_out, factor: _uniform(rng, _UNIFORM_BOUND, n_in, n_out),
}


def _uniform(rng, bound, *shape):
    return rng.uniform(-bound, bound, shape)


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
    factor = _glorot_factor(activation)
    weights, biases = [], []
    for n_in, n_out in pairwise(layer_sizes):
        weights.append(INITIALIZERS[weight_init](rng, n_in, n_out, factor))
        biases.append(_uniform(rng, np.sqrt(factor / (n_in + n_out)), n_out))
    return weights, biases


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
            _uniform(rng, _UNIFORM_BOUND, architecture.n_tokens, architecture.n_channels)
        )
    for n_out, n_in in architecture.weight_shapes[len(weights) : -1 : 2]:
        weights.append(draw(rng, n_in, n_out, factor).T)
        weights.append(_orthonormal_columns(rng, *architecture.weight_shapes[len(weights)]))
    weights.append(draw(rng, *architecture.weight_shapes[-1], factor))
    biases = [np.zeros(shape) for shape in architecture.bias_shapes]
    if architecture.cell == "lstm":
        for bias in biases[:-1]:
            bias[len(bias) // 4 : len(bias) // 2] = 1.0
    return weights, biases


def _orthonormal_columns(rng, n_rows, n_columns):
    """Uniform among such matrices (Mezzadri 2007): QR with the signs of R's diagonal."""
    q, r = np.linalg.qr(rng.standard_normal((n_rows, n_columns)))
    return q * np.sign(np.diag(r))
