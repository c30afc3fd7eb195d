"""Where images have their channels, and the warnings about images that are not meant so."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import is_classifier

from sklearn_dropout import DropoutCNNClassifier, DropoutCNNRegressor, DropoutSearchCV

SMALL = {"conv_layer_sizes": (3,), "max_iter": 2, "random_state": 0, "input_dropout_rate": 0.1}
both = pytest.mark.parametrize("Est", [DropoutCNNClassifier, DropoutCNNRegressor])


def images(shape, n=24):
    """Samples with the channels first, then last, and targets of two kinds."""
    X = np.random.default_rng(0).standard_normal((n, *shape))
    return X, np.moveaxis(X, 1, -1), np.arange(n) % 2


def answers(est, X):
    predicted = est.predict_proba(X) if is_classifier(est) else est.predict(X)
    return predicted, est.sample_predictions(X, n_samples=3, random_state=0)


def assert_equal(got, expected):
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(2, 7), (3, 5, 4), (2, 3, 4, 5)])
@both
def test_channels_last_give_the_bits_of_channels_first(Est, shape):
    """Images of Keras trained a network whose channels were the rows of pixels.

    The data are brought into one order before anything is computed, hence equal bits.
    """
    first, last, y = images(shape)
    scored = SMALL | {"scoring": "neg_log_loss" if is_classifier(Est()) else "r2"}
    expected = Est((4,), **scored).fit(first, y, X_val=first, y_val=y)
    est = Est((4,), data_format="channels_last", **scored).fit(last, y, X_val=last, y_val=y)
    assert_equal(est.coefs_, expected.coefs_)
    assert_equal(answers(est, last), answers(expected, first))
    assert est.history_[:, "valid_loss"] == expected.history_[:, "valid_loss"]
    assert est.validation_scores_ == expected.validation_scores_
    with torch.no_grad():
        x, x_first = (torch.tensor(X.copy(), dtype=torch.float32) for X in (last, first))
        assert_equal([est.module_(x)], [expected.module_(x_first)])
    table = est.set_params(input_shape=shape).fit(last.reshape(len(y), -1), y)
    assert_equal(answers(table, last.reshape(len(y), -1)), answers(expected, first))
    parts = [Est((4,), data_format=f, **SMALL) for f in ("channels_first", "channels_last")]
    for X, part in zip((first, last), parts):
        for _ in range(2):
            part.partial_fit(X, y, **({"classes": [0, 1]} if is_classifier(part) else {}))
    assert_equal(answers(parts[1], last), answers(parts[0], first))


@both
def test_searches_over_images_with_channels_last(Est):
    first, last, y = images((2, 4, 3))
    y = y + 0.5 * (y == 1) if not is_classifier(Est()) else y
    grid = {"dropout_rate": [0.0, 0.4]}
    expected = DropoutSearchCV(Est((4,), **SMALL), grid, cv=2).fit(first, y)
    grid["data_format"] = ["channels_last"]
    search = DropoutSearchCV(Est((4,), **SMALL), grid, cv=2).fit(last, y)
    scores = [s.cv_results_["mean_test_score"] for s in (search, expected)]
    np.testing.assert_array_equal(*scores)


def test_a_fitted_network_keeps_its_data_format():
    first, last, y = images((2, 5, 4))
    est = DropoutCNNClassifier(**SMALL).fit(first, y).set_params(data_format="channels_last")
    assert est.predict(first).shape == y.shape
    with pytest.raises(ValueError, match=r"\(5, 4, 2\).*\(2, 5, 4\).*data_format='channels_first'"):
        est.predict(last)


SUSPECTS = {
    "color": ((8, 6, 3), "taken as 8 channels of 6 x 3 .*data_format='channels_last'"),
    "gray": ((8, 8), r"signals of 8 channels.* pass X\[:, None\]"),
}


@pytest.mark.parametrize(("shape", "message"), SUSPECTS.values(), ids=SUSPECTS)
@both
def test_samples_that_look_like_images_of_another_layout(Est, shape, message):
    """(n, 28, 28) and (n, 28, 28, 3) trained networks of 28 channels without a word."""
    X, _, y = images(shape)
    with pytest.warns(UserWarning, match=message):
        est = Est(**SMALL).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        est.predict(X)
        Est(input_shape=shape, **SMALL).fit(X, y)  # which says that the shape is meant


@pytest.mark.parametrize("input_shape", [None, (8, 8, 1)])
def test_channels_last_that_pooling_leaves_nothing_of(input_shape):
    X, _, y = images((8, 8, 1))
    X = X if input_shape is None else X.reshape(len(X), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(ValueError, match=r"pool_size.*leaves nothing.*channels_last"):
            DropoutCNNClassifier(input_shape=input_shape, **SMALL).fit(X, y)


@pytest.mark.parametrize(
    ("change", "warns"),
    [
        (lambda X: X, True),
        (lambda X: X.astype(float), True),
        (lambda X: X / 255, False),
        (lambda X: X // 10, False),
        (lambda X: X.astype(float) - 1, False),
        (lambda X: X + 0.5, False),
        (lambda X: X.astype(int) + 1, False),
    ],
    ids=["uint8", "float", "scaled", "few", "negative", "fractions", "larger"],
)
def test_unscaled_pixels(change, warns):
    """uint8 pixels trained a network that learned nothing, without a word."""
    X = np.random.default_rng(0).integers(0, 256, (20, 1, 6, 5), dtype=np.uint8)
    X[0, 0, 0, :2] = 0, 255
    y = np.arange(20) % 2
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        DropoutCNNClassifier(**SMALL).fit(change(X), y)
    assert [str(w.message)[:20] for w in caught] == ["X looks like pixels:"] * warns
