"""Layout of images: position of the channels, and warnings of a layout that looks wrong."""

import warnings

import numpy as np
from scipy import sparse

from ..nn.conv_layout import looks_channels_last

# The smallest side of a square that is taken for an image of one channel.
_SMALLEST_SQUARE = 8
_CALLER = 2  # stack level of the warnings


def channels_first(X, shape):
    """Columns of a table in the order channels, then positions.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        Flattened samples with the channels last.
    shape : tuple (channels, *positions)
    """
    columns = np.arange(X.shape[1]).reshape(*shape[1:], shape[0])
    columns = np.moveaxis(columns, -1, 0).ravel()
    return X[:, columns].sorted_indices() if sparse.issparse(X) else np.take(X, columns, axis=1)


def hint_at_layout(shape, data_format):
    """Warn of samples that look like images with their channels on another axis.

    Parameters
    ----------
    shape : tuple (channels, *positions)
        As the network takes the samples.
    data_format : {"channels_first", "channels_last"}
    """
    silence = f"If the layout is right, pass input_shape={shape} to silence this warning."
    if data_format == "channels_first" and len(shape) > 2 and looks_channels_last(shape):
        warnings.warn(
            f"X has samples of shape {shape}, which are taken as {shape[0]} channels of "
            f"{' x '.join(map(str, shape[1:]))} positions. If the channels are the last axis, "
            f"pass data_format='channels_last'. {silence}",
            stacklevel=_CALLER,
        )
    if len(shape) == 2 and shape[0] == shape[1] >= _SMALLEST_SQUARE:
        axis = "X[:, None]" if data_format == "channels_first" else "X[..., None]"
        warnings.warn(
            f"X has samples of shape {shape}, which are taken as signals of {shape[0]} channels. "
            f"If they are images of one channel, pass {axis}. {silence}",
            stacklevel=_CALLER,
        )


def hint_at_pixels(X):
    """Warn of whole numbers from 0 to 255, whose largest is 200 or more.

    Parameters
    ----------
    X : ndarray or CSR matrix
    """
    values = X.data if sparse.issparse(X) else X
    if values.size == 0 or not 200 <= values.max() <= 255 or values.min() < 0:
        return
    if (values == np.rint(values)).all():
        warnings.warn(
            f"X looks like pixels: whole numbers from 0 to {values.max():.0f}. Networks learn "
            "slowly from numbers of this size: pass X / 255.",
            stacklevel=_CALLER,
        )
