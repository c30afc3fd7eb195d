"""A convolutional network with all its dropouts, beside PyTorch without any and other tools.

Run from the root of the repository: ``python -m benchmarks.cnn``, ``--quick`` to see that it runs.

The network is conv 32, conv 32, spatial dropout 0.2, max pooling, dropout 0.25, dense 128,
dropout 0.5, on 4,000 MNIST images in batches of 64. They are read from the folder ``mnist`` in that
of the environment variable ``SKLEARN_DROPOUT_DATA``; if there is none, the digits of scikit-learn
stand in, enlarged to their size.

The rows are measured in a process each, ``default`` with the threads that every tool takes by
default and ``one`` with one thread.
"""

import gzip
import importlib
import os
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_dropout import DropoutCNNClassifier

from . import _timing
from ._timing import seconds

MNIST = Path(os.environ.get("SKLEARN_DROPOUT_DATA", "nowhere")) / "mnist"
PACKAGES = ("sklearn-dropout", "numba", "numpy", "scikit-learn", "torch", "skorch", "keras")
SIDE, FILTERS, DENSE, BATCH_SIZE = 28, 32, 128, 64
SPATIAL, ELEMENTS, HIDDEN = 0.2, 0.25, 0.5
ROWS = {"default": None, "one": 1}
# Time of the tool over ours with all dropouts: 0.95 is ours taking 1.05 times as long.
AIMS = {"PyTorch, no dropout": ">= 0.95", "skorch": "> 1", "Keras": "> 1"}


def images(n_rows):
    """Images of shape (n_rows, 1, 28, 28) with values in [0, 1], their digits, and a name."""
    if MNIST.exists():
        pixels, digits = (
            np.frombuffer(gzip.decompress((MNIST / name).read_bytes()), np.uint8, offset=offset)
            for name, offset in [
                ("t10k-images-idx3-ubyte.gz", 16),
                ("t10k-labels-idx1-ubyte.gz", 8),
            ]
        )
        X, y, name = pixels.reshape(-1, 1, SIDE, SIDE) / 255, digits, "MNIST"
    else:
        pixels, y = load_digits(return_X_y=True)
        small = pixels.reshape(-1, 1, 8, 8) / 16
        X = np.pad(small.repeat(3, axis=2).repeat(3, axis=3), [(0, 0), (0, 0), (2, 2), (2, 2)])
        name = "enlarged digits of scikit-learn"
    rows = np.resize(np.arange(len(X)), n_rows)
    return X[rows].astype(np.float32), y[rows].astype(np.int64), name


def here(X, y, epochs, dropout=True):
    """The public fit, checks of the data included."""
    rates = {"spatial_dropout_rate": SPATIAL, "conv_dropout_rate": ELEMENTS}
    estimator = DropoutCNNClassifier(
        DENSE,
        dropout_rate=HIDDEN if dropout else 0,
        **rates if dropout else {},
        conv_layer_sizes=FILTERS,
        convs_per_block=2,
        batch_size=BATCH_SIZE,
        max_iter=epochs,
        random_state=0,
    )
    return seconds(lambda: estimator.fit(X, y)) / epochs


def network(dropout):
    """The network in PyTorch's layers."""

    def drop(layer, rate):
        return [layer(rate)] if dropout else []

    return nn.Sequential(
        nn.Conv2d(1, FILTERS, 3, padding="same"),
        nn.ReLU(),
        nn.Conv2d(FILTERS, FILTERS, 3, padding="same"),
        nn.ReLU(),
        *drop(nn.Dropout2d, SPATIAL),
        nn.MaxPool2d(2),
        *drop(nn.Dropout, ELEMENTS),
        nn.Flatten(),
        nn.Linear(FILTERS * (SIDE // 2) ** 2, DENSE),
        nn.ReLU(),
        *drop(nn.Dropout, HIDDEN),
        nn.Linear(DENSE, 10),
    )


def pytorch(X, y, epochs, dropout=True, channels_last=False):
    """The ordinary loop, well written: batches by index, the fused Adam."""
    model = network(dropout)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    criterion = nn.CrossEntropyLoss()

    def fit():
        for _ in range(epochs):
            for rows in torch.randperm(len(X)).split(BATCH_SIZE):
                x = X[rows]
                if channels_last:
                    x = torch.empty_like(x, memory_format=torch.channels_last).copy_(x)
                optimizer.zero_grad()
                criterion(model(x), y[rows]).backward()
                optimizer.step()

    return seconds(fit) / epochs


def skorch_net(X, y, epochs, dropout=True):
    """As skorch's tutorial has it, silent and without a validation split."""
    net = NeuralNetClassifier(
        nn.Sequential(*network(dropout), nn.Softmax(dim=-1)),
        optimizer=torch.optim.Adam,
        lr=0.001,
        max_epochs=epochs,
        batch_size=BATCH_SIZE,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    return seconds(lambda: net.fit(X, y)) / epochs


def keras_epochs(X, y, epochs):
    """Without the first epoch of a model, in which Keras compiles the step."""
    import keras
    from keras import layers

    keras.utils.clear_session()
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            layers.Conv2D(FILTERS, 3, padding="same", activation="relu"),
            layers.Conv2D(FILTERS, 3, padding="same", activation="relu"),
            layers.SpatialDropout2D(SPATIAL),
            layers.MaxPooling2D(2),
            layers.Dropout(ELEMENTS),
            layers.Flatten(),
            layers.Dense(DENSE, activation="relu"),
            layers.Dropout(HIDDEN),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    fit = partial(model.fit, np.moveaxis(X, 1, -1), y, batch_size=BATCH_SIZE, verbose=0)
    fit(epochs=1)
    return seconds(lambda: fit(epochs=epochs)) / epochs


TOOLS = {
    "here": here,
    "here, no dropout": partial(here, dropout=False),
    "PyTorch, no dropout": partial(pytorch, dropout=False),
    "PyTorch": pytorch,
    "PyTorch, channels last, no dropout": partial(pytorch, dropout=False, channels_last=True),
    "PyTorch, channels last": partial(pytorch, channels_last=True),
    "skorch": skorch_net,
}


def available_tools():
    """Tools that can be imported, and Keras under the name of its backend."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        backend = importlib.import_module("keras").config.backend()
    except ImportError:  # of Keras, or of the backend it is set to
        print("Keras is not installed here: left out.")
        return TOOLS
    return TOOLS | {f"Keras ({backend})": keras_epochs}


def measure(n_threads, n_rows, epochs, n_repeats):
    """Times of all tools on all threads, or on as many as given; in a separate process.

    Returns
    -------
    data : str
    threads : int
        Of PyTorch.
    times : dict of lists of float
    """
    with _timing.threads(n_threads):
        X, y, data = images(n_rows)
        tools = {name: partial(tool, X, y, epochs) for name, tool in available_tools().items()}
        return data, torch.get_num_threads(), _timing.interleave(tools, n_repeats, "cnn")


def lines(n_rows, data, n_threads, times):
    """Lines of the table about one number of threads."""
    ratios = {name: _timing.ratios(values, times["here"]) for name, values in times.items()}
    for place, (name, values) in enumerate(times.items()):
        first = f"{n_rows:,} images of {data}, torch threads: {n_threads}" if place == 0 else ""
        aim = AIMS.get(name.partition(" (")[0], "")
        yield [first, name, _timing.duration(values), _timing.spread(ratios[name]), aim]


def main():
    options = _timing.parse(_timing.argument_parser(__doc__, ROWS))
    n_rows, epochs = (640, 1) if options.quick else (4_000, 1)
    _timing.print_header(PACKAGES)
    rows = []
    for row in options.rows:
        n_threads = options.threads or ROWS[row]
        measured = _timing.in_new_process(measure, n_threads, n_rows, epochs, options.repeats)
        rows += lines(n_rows, *measured)
    _timing.print_table(
        "An epoch of a convolutional network",
        ["work", "tool", "time / epoch", "tool / here", "aim"],
        rows,
        f"Medians of {options.repeats} interleaved rounds (min-max). Dropout: of maps 0.2, of "
        "elements 0.25, of dense units 0.5. Keras without its first epoch.",
    )


if __name__ == "__main__":
    main()
