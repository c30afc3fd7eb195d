"""The recurrent classifier and regressor."""

from dataclasses import dataclass

from .classifier import DropoutClassifier
from .docstrings import documented
from .regressor import DropoutRegressor
from .rnn_family import RNNFamily

_FAMILY_NOTES = """
`X` has the shape (n_samples, n_steps, n_channels), or two dimensions: see `input_shape` and
`n_tokens`; or it is a list of sequences, of shape (n_steps, n_channels) or (n_steps,), which may
differ in length. Lists, sequences of tokens and those given in three dimensions may have other
lengths in `predict` than in `fit`; `n_features_in_` counts the values of the longest in `fit`.

Padding changes no prediction and no training step: see `mask_zero` and `mask_value`. Lists are
padded internally, numbers with `mask_value` (NaN if it is ``None``), tokens with 0. The prediction
for a sequence without steps, such as an empty text, comes from the initial state, which is zero,
and so from the biases of the output layer alone.

Input kernels and the output layer start from `weight_init`, recurrent kernels with orthonormal
columns, embeddings uniform in [-0.05, 0.05], biases at zero, except for those of
an LSTM's forget gate at one. `max_norm` bounds each row of the input kernels and of the recurrent
kernels, which are the weights of one gate of one unit, but neither embeddings nor the output layer.
`alpha` penalises all weights, embeddings too.

An LSTM has one bias for each gate, the sum of PyTorch's two. A GRU has both of PyTorch's biases,
those of the inputs and then those of the hidden state.
"""

_FAMILY_TEXTS = {
    "hidden_layer_sizes": """Units of each recurrent layer; with `bidirectional`, of each
        direction.""",
    "dropout_rate": """Fraction of each recurrent layer's outputs dropped at each training step
        [1]_: one rate for all layers, or one for each. The outputs of a layer are the inputs of
        the next, and the last layer's those of the output layer, so every connection between
        layers has one mask.""",
    "spatial_type": "float",
    "spatial_dropout_rate": """Fraction of the channels (with `n_tokens`, of the components of the
        embedding) dropped for all steps of a sequence, in [0, 1), even if `variational` is
        false.""",
    "family_parameters": """
        cell : {'lstm', 'gru', 'rnn'}, default='lstm'
            Recurrent cell: long short-term memory, gated recurrent unit (both with the equations
            of PyTorch, with tanh and logistic functions), or a simple layer that applies
            `activation`, which 'lstm' and 'gru' do not use.

        bidirectional : bool, default=False
            Whether each layer also reads the sequence backwards, with separate weights.

        variational : bool, default=True
            Whether a sequence has one mask for all of its steps [2]_, or a new one at each step,
            on inputs, outputs and recurrent connections.

        recurrent_dropout_rate : float or array-like of float, default=0.0
            Fraction of the hidden units dropped as they enter the next step, in [0, 1): one
            rate for all layers, or one for each. All gates see the same units ("tied weights" in
            [2]_); each direction has its own mask. Steps are then computed one by one, which
            takes about twice as long as PyTorch's fused LSTM.

        input_shape : tuple (n_steps, n_channels), default=None
            How to cut the columns of two-dimensional `X` into steps: the channels of the first
            step, then those of the second. ``None`` takes each column as a step of one channel.

        n_tokens : int, default=None
            Number of different tokens, 0 included, if `X` contains tokens (integers below
            `n_tokens`). Each becomes a vector of `embedding_dim` learned numbers.

        embedding_dim : int, default=32
            Length of these vectors.

        embedding_dropout_rate : float, default=0.0
            Fraction of the word types dropped, in [0, 1): in each sequence a token is dropped
            wherever it occurs, or kept ([2]_, section 4.2).

        mask_zero : bool, default=True
            With `n_tokens`, whether token 0 is padding, at any position, and skipped. With
            ``False`` it is a token like any other. For sequences of numbers see `mask_value`.

        mask_value : float, default=None
            Value that marks padding in sequences of numbers, a number or NaN: steps at which all
            channels have this value are skipped, at any position (as in Keras' ``Masking``).
            With ``None`` no step of an array is padding, and NaN is refused.
        """,
    "coefs_shape": "(...)",
    "family_notes": _FAMILY_NOTES,
    "coefs": """Weights: of the embedding, (n_tokens, embedding_dim); for each layer and direction
        of the inputs, (n_gates * n_units, n_in), and of the hidden state,
        (n_gates * n_units, n_units), gates in PyTorch's order;
        of the output, (n_in, n_out)""",
}


@documented(**_FAMILY_TEXTS)
@dataclass(eq=False, repr=False, kw_only=True)
class DropoutRNNClassifier(RNNFamily, DropoutClassifier):
    """Recurrent network classifier with dropout before, after and inside its layers.

    LSTM, GRU or simple recurrent layers read a sequence, and a dense layer predicts from the last
    state of the last one (with `bidirectional`, from those of both directions). Dropout acts on
    word types, inputs, the outputs of each layer and the recurrent connections; with
    ``variational=True`` a sequence has one mask for all of its steps, as in a Bayesian network
    [2]_. The log-loss is minimised by stochastic gradient descent in float32.

    Parameters
    ----------
    {parameters}

    {class_weight}

    {family_parameters}

    Attributes
    ----------
    {classes_attribute}

    {attributes}

    See Also
    --------
    DropoutRNNRegressor : The same network for regression.
    sklearn_dropout.nn.VariationalDropout : One mask for all steps, for any PyTorch model.

    Notes
    -----
    {family_notes}
    {notes}

    References
    ----------
    {references}

    .. [2] Gal, Y., Ghahramani, Z. (2016). "A theoretically grounded application of dropout in
       recurrent neural networks." NIPS 29.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_dropout import DropoutRNNClassifier
    >>> X, y = load_digits(return_X_y=True)  # 8 rows of 8 pixels, read from top to bottom
    >>> X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    >>> clf = DropoutRNNClassifier(
    ...     (32,),
    ...     input_shape=(8, 8),
    ...     recurrent_dropout_rate=0.2,
    ...     learning_rate_init=0.01,
    ...     batch_size=64,
    ...     max_iter=15,
    ...     random_state=0,
    ... )
    >>> clf.fit(X_train, y_train).score(X_test, y_test)
    0.9...
    """

    _parameter_constraints = {
        **DropoutClassifier._parameter_constraints,
        **RNNFamily._family_constraints,
    }


@documented(**_FAMILY_TEXTS)
@dataclass(eq=False, repr=False, kw_only=True)
class DropoutRNNRegressor(RNNFamily, DropoutRegressor):
    """Recurrent network regressor with dropout before, after and inside its layers.

    LSTM, GRU or simple recurrent layers read a sequence, and a dense layer predicts from the last
    state of the last one (with `bidirectional`, from those of both directions). Dropout acts on
    word types, inputs, the outputs of each layer and the recurrent connections; with
    ``variational=True`` a sequence has one mask for all of its steps, as in a Bayesian network
    [2]_. Targets are standardised inside `fit` and predictions are in their units.

    Parameters
    ----------
    {parameters}

    {loss}

    {family_parameters}

    Attributes
    ----------
    {attributes}

    {noise_attribute}

    See Also
    --------
    DropoutRNNClassifier : The same network for classification.
    sklearn_dropout.nn.VariationalDropout : One mask for all steps, for any PyTorch model.

    Notes
    -----
    {family_notes}
    {notes}

    References
    ----------
    {references}

    .. [2] Gal, Y., Ghahramani, Z. (2016). "A theoretically grounded application of dropout in
       recurrent neural networks." NIPS 29.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dropout import DropoutRNNRegressor
    >>> series = np.sin(np.arange(200) / 4)
    >>> X = np.lib.stride_tricks.sliding_window_view(series, 12)
    >>> X, y = X[:-1], series[12:]  # the value after each window of 12
    >>> reg = DropoutRNNRegressor(
    ...     (16,), cell="gru", dropout_rate=0, learning_rate_init=0.01, max_iter=60, random_state=0
    ... )
    >>> reg.fit(X[:150], y[:150]).score(X[150:], y[150:])
    0.99...
    """

    _parameter_constraints = {
        **DropoutRegressor._parameter_constraints,
        **RNNFamily._family_constraints,
    }
