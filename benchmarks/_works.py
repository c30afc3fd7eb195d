"""The networks and data of `benchmarks.fit`."""

from functools import partial

import numpy as np
from sklearn.datasets import load_breast_cancer, load_iris, make_circles
from sklearn.preprocessing import scale

from ._tools import Settings


def numbers(n_rows, n_features):
    """Noise, with a target that is a smooth function of it."""
    X = np.random.default_rng(0).standard_normal((n_rows, n_features), dtype=np.float32)
    return X, np.sin(X[:, 0]) + X[:, 1] * X[:, 2]


def circles():
    """The 30 training rows of the two-circles study."""
    X, y = make_circles(100, noise=0.1, random_state=1)
    return X[:30].astype(np.float32), y[:30]


def iris():
    X, y = load_iris(return_X_y=True)
    return X.astype(np.float32), y


def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X).astype(np.float32), y


def random_rows(n_rows, dtype=np.float32):
    """Noise in the shape of MNIST, with ten classes."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((n_rows, 784), dtype=dtype), rng.integers(10, size=n_rows)


def aims(scikit_learn, pytorch, skorch):
    """What the project promises: time of the tool over ours."""
    return {
        "scikit-learn": f">= {scikit_learn}",
        "PyTorch": f">= {pytorch}",
        "skorch": f">= {skorch}",
    }


def all_settings(quick):
    """The rows of the table of fits by name; with `quick` little of each."""
    large = partial(
        Settings,
        data=partial(random_rows, 500 if quick else 6_000),
        hidden=(256, 128, 64),
        rate=0.2,
        epochs=1 if quick else 3,
        unit="step",
    )
    rows = [
        Settings(
            "default", partial(numbers, 480, 9), (100,), 0.2, 200, 5 if quick else 100,
            aims(6, 8, 15),
        ),
        Settings("circles", circles, (500,), 0.4, 200, 20 if quick else 2_000, aims(9, 15, 40)),
        Settings("iris", iris, (16, 8), 0.2, 16, 4 if quick else 200, aims(30, 50, 100)),
        Settings("cancer", cancer, (64, 32), 0.2, 32, 2 if quick else 50, aims(12, 20, 40)),
        large("large32", batch_size=32, aims=aims(2.7, 1.4, 2.5)),
        large("large128", batch_size=128, aims=aims(1.8, 1.4, 2.5)),
        Settings(
            "tab", partial(numbers, 1_000 if quick else 10_000, 50), (256, 256), 0.2, 256,
            1 if quick else 5, aims(1.7, 1.4, 2), "step",
        ),
    ]  # fmt: skip
    return {settings.name: settings for settings in rows}
