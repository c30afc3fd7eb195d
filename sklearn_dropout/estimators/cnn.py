"""Convolutional networks with spatial dropout."""

from dataclasses import dataclass

from .classifier import DropoutClassifier
from .cnn_family import CNNFamily
from .docstrings import documented
from .regressor import DropoutRegressor

_FAMILY_TEXTS = {
    "hidden_layer_sizes": "Units of each hidden dense layer, after the convolutions.",
    "dropout_rate": """Fraction of the hidden dense units dropped at each training step [1]_: one
        rate for all hidden layers, or one for each.""",
    "spatial_type": "float or array-like of float",
    "spatial_dropout_rate": """Fraction of the feature maps dropped in full, in [0, 1), one rate
        for all blocks or one for each [2]_. Neighbouring positions of a map carry the same
        information, so dropping one of them alone (`conv_dropout_rate`) regularises less.""",
    "family_parameters": """
        conv_layer_sizes : int or array-like of int, default=(32,)
            Filters (feature maps) of each block. A block is convolution and activation,
            dropout of feature maps, max pooling, dropout of single elements.

        convs_per_block : int, default=1
            Convolutions of each block, each with its activation.

        kernel_size : int or array-like of int, default=3
            Positions that a filter sees, in every dimension or one number for each.

        pool_size : int or array-like of int, default=2
            Positions of which max pooling keeps the largest value, in every dimension or one
            number for each; 1 pools nothing. Positions that fill no window are left out.

        padding : {'same', 'valid'}, default='same'
            Whether convolutions see zeros around the sample and keep its size ('same'), or
            shrink it by one less than the kernel ('valid').

        conv_dropout_rate : float or array-like of float, default=0.0
            Fraction of the single elements dropped after pooling, in [0, 1), one rate for all
            blocks or one for each.

        conv_block_size : int, default=1
            Side of the blocks in which `conv_dropout_rate` drops neighbouring elements (DropBlock,
            Ghiasi et al. 2018): segments of signals, squares of images, cubes of volumes. 1 drops
            single elements.

        input_shape : array-like of int, default=None
            Shape of a sample, (channels, length), (channels, height, width) or (channels, depth,
            height, width), for two-dimensional `X`, as after a scaler. ``None`` takes the
            rows of a two-dimensional `X` as signals of one channel.

        data_format : {'channels_first', 'channels_last'}, default='channels_first'
            Where `X` has its channels: (n_samples, channels, \\*positions), or
            (n_samples, \\*positions, channels) as in Keras. A table is taken as such samples,
            flattened. `input_shape` is (channels, \\*positions) in either case.
        """,
    "coefs_shape": "(n_out, n_in, \\*kernel_size) or (n_in, n_out)",
    "coefs": "Weights of convolutions, then of dense layers",
}


@documented(**_FAMILY_TEXTS)
@dataclass(eq=False, repr=False, kw_only=True)
class DropoutCNNClassifier(CNNFamily, DropoutClassifier):
    """Convolutional classifier of signals, images and volumes, with spatial dropout.

    Blocks of convolutions, then dense layers. Dropout may act on the inputs, on feature maps [2]_,
    on single elements after pooling, and on dense units [1]_; dropped units are left out of a
    training step, and at prediction every unit takes part. The log-loss is minimised by
    stochastic gradient descent in float32.

    `X` has shape (n_samples, channels, length), (n_samples, channels, height, width) or
    (n_samples, channels, depth, height, width), or is a table (n_samples, n_features) of flattened
    samples with their `input_shape`.

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
    DropoutCNNRegressor : The same network for regression.
    DropoutMLPClassifier : A perceptron, for columns in any order.

    Notes
    -----
    {notes}

    References
    ----------
    {references}

    .. [2] Tompson, J., Goroshin, R., Jain, A., LeCun, Y., Bregler, C. (2015). "Efficient object
       localization using convolutional networks." CVPR, section 3.2.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_dropout import DropoutCNNClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    >>> clf = DropoutCNNClassifier(
    ...     (64,),
    ...     conv_layer_sizes=(16,),
    ...     spatial_dropout_rate=0.1,
    ...     input_shape=(1, 8, 8),
    ...     batch_size=16,
    ...     learning_rate_init=0.003,
    ...     max_iter=10,
    ...     random_state=0,
    ... )
    >>> clf.fit(X_train, y_train).score(X_test, y_test)
    0.98...
    >>> images = X_test.reshape(-1, 1, 8, 8)
    >>> bool((clf.predict(images) == clf.predict(X_test)).all())
    True
    """

    _parameter_constraints = {
        **DropoutClassifier._parameter_constraints,
        **CNNFamily._family_constraints,
    }


@documented(**_FAMILY_TEXTS)
@dataclass(eq=False, repr=False, kw_only=True)
class DropoutCNNRegressor(CNNFamily, DropoutRegressor):
    """Convolutional regressor on signals, images and volumes, with spatial dropout.

    Blocks of convolutions, then dense layers. Dropout may act on the inputs, on feature maps [2]_,
    on single elements after pooling, and on dense units [1]_. Targets are standardised inside
    `fit` and predictions are in their units, so learning rate and penalty do not depend on the
    scale of `y`.

    `X` has shape (n_samples, channels, length), (n_samples, channels, height, width) or
    (n_samples, channels, depth, height, width), or is a table (n_samples, n_features) of flattened
    samples with their `input_shape`.

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
    DropoutCNNClassifier : The same network for classification.
    DropoutMLPRegressor : A perceptron, for columns in any order.

    Notes
    -----
    {notes}

    References
    ----------
    {references}

    .. [2] Tompson, J., Goroshin, R., Jain, A., LeCun, Y., Bregler, C. (2015). "Efficient object
       localization using convolutional networks." CVPR, section 3.2.

    Examples
    --------
    The frequency of noisy waves of any phase:

    >>> import numpy as np
    >>> from sklearn_dropout import DropoutCNNRegressor
    >>> rng = np.random.default_rng(0)
    >>> frequency = rng.uniform(1, 4, 400)
    >>> angle = frequency[:, None] * np.linspace(0, 6.28, 50) + rng.uniform(0, 6.28, (400, 1))
    >>> X = np.sin(angle)[:, None] + 0.2 * rng.standard_normal((400, 1, 50))
    >>> reg = DropoutCNNRegressor((32,), kernel_size=5, batch_size=32, max_iter=30, random_state=0)
    >>> reg.fit(X[:300], frequency[:300]).score(X[300:], frequency[300:])
    0.9...
    """

    _parameter_constraints = {
        **DropoutRegressor._parameter_constraints,
        **CNNFamily._family_constraints,
    }
