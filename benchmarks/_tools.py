"""The tools that train a perceptron with dropout, each a function (X, y, settings) -> seconds.

The seconds are those of an epoch. What a user does once before training, such as converting the
data or building the network, is not in them.
"""

import importlib
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier, MLPRegressor
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor
from sklearn_dropout.perceptron import why_unavailable

from ._timing import seconds

# An epoch takes Keras tens of milliseconds however little there is to do.
MAX_KERAS_EPOCHS = 400


@dataclass(frozen=True)
class Settings:
    """One row of the table: data, network and training.

    Attributes
    ----------
    name : str
    data : callable () -> (float32 X, y)
        With integers for classes and float32 for a regression.
    hidden : tuple of int
        Units of each hidden layer, with dropout at `rate` after it.
    aims : dict of str
        Column -> what the project promises there.
    unit : str
        Whether times are shown for an "epoch" or a "step".
    """

    name: str
    data: Callable
    hidden: tuple
    rate: float
    batch_size: int
    epochs: int
    aims: dict = field(default_factory=dict)
    unit: str = "epoch"


def are_numbers(y):
    """Whether targets are numbers and not classes."""
    return y.dtype.kind == "f"


def layer_sizes(X, y, settings):
    """Units of every layer; one output speaks for two classes."""
    n_outputs = 1 if are_numbers(y) else len(np.unique(y))
    return (X.shape[1], *settings.hidden, 1 if n_outputs == 2 else n_outputs)


def here(X, y, settings):
    """The public fit, checks of the data included."""
    kind = DropoutMLPRegressor if are_numbers(y) else DropoutMLPClassifier
    estimator = kind(
        settings.hidden,
        dropout_rate=settings.rate,
        batch_size=settings.batch_size,
        max_iter=settings.epochs,
        random_state=0,
    )
    return seconds(lambda: estimator.fit(X, y)) / settings.epochs


def dropout_network(sizes, rate):
    layers = []
    for n_in, n_out in pairwise(sizes[:-1]):
        layers += [nn.Linear(n_in, n_out), nn.ReLU(), nn.Dropout(rate)]
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:]))


def plain_pytorch(X, y, settings):
    """The ordinary loop, well written: batches by index, the fused Adam."""
    model = dropout_network(layer_sizes(X, y, settings), settings.rate)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    criterion = nn.CrossEntropyLoss()
    if are_numbers(y):
        criterion = nn.MSELoss()
    elif model[-1].out_features == 1:
        criterion = nn.BCEWithLogitsLoss()
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    if model[-1].out_features == 1:
        y = y[:, None].float()

    def fit():
        for _ in range(settings.epochs):
            for rows in torch.randperm(len(X)).split(settings.batch_size):
                optimizer.zero_grad()
                criterion(model(X[rows]), y[rows]).backward()
                optimizer.step()

    return seconds(fit) / settings.epochs


def skorch_net(X, y, settings):
    """As skorch's tutorial has it, silent and without a validation split."""
    sizes = layer_sizes(X, y, settings)
    if are_numbers(y):
        kind, module = NeuralNetRegressor, dropout_network(sizes, settings.rate)
        y = y[:, None]
    else:
        network = dropout_network((*sizes[:-1], len(np.unique(y))), settings.rate)
        kind, module = NeuralNetClassifier, nn.Sequential(*network, nn.Softmax(dim=-1))
    net = kind(
        module,
        optimizer=torch.optim.Adam,
        lr=0.001,
        max_epochs=settings.epochs,
        batch_size=settings.batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    return seconds(lambda: net.fit(X, y)) / settings.epochs


def scikit_learn(X, y, settings):
    """No dropout at all; neither convergence nor its absence ends the run."""
    kind = MLPRegressor if are_numbers(y) else MLPClassifier
    estimator = kind(
        hidden_layer_sizes=settings.hidden,
        batch_size=settings.batch_size,
        max_iter=settings.epochs,
        tol=0,
        n_iter_no_change=settings.epochs + 1,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no convergence; a batch larger than the data
        return seconds(lambda: estimator.fit(X, y)) / settings.epochs


def keras_epochs(X, y, settings):
    """Without the first epoch of a model, in which Keras compiles the step."""
    import keras

    keras.utils.clear_session()
    model = keras.Sequential([keras.Input(X.shape[1:])])
    for n_units in settings.hidden:
        model.add(keras.layers.Dense(n_units, activation="relu"))
        model.add(keras.layers.Dropout(settings.rate))
    n_outputs = layer_sizes(X, y, settings)[-1]
    output, loss = "softmax", "sparse_categorical_crossentropy"
    if are_numbers(y):
        output, loss = None, "mse"
    elif n_outputs == 1:
        output, loss = "sigmoid", "binary_crossentropy"
    model.add(keras.layers.Dense(n_outputs, activation=output))
    model.compile(optimizer="adam", loss=loss)
    fit = partial(model.fit, X, y, batch_size=settings.batch_size, verbose=0)
    fit(epochs=1)
    epochs = min(settings.epochs, MAX_KERAS_EPOCHS)
    return seconds(lambda: fit(epochs=epochs)) / epochs


def limit(X, y, settings):
    """Products, random bits and Adam alone, in the kernels of the compiled loop."""
    from . import _limit  # imports Numba

    sizes = layer_sizes(X, y, settings)
    return _limit.limit(X, sizes, settings.batch_size, settings.epochs, settings.rate > 0)


TOOLS = {
    "here": here,
    "limit": limit,
    "scikit-learn": scikit_learn,
    "PyTorch": plain_pytorch,
    "skorch": skorch_net,
}


def available_tools():
    """Tools that can be imported, in the order of the columns."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tools = dict(TOOLS)
    if why_unavailable():
        del tools["limit"]
    try:
        backend = importlib.import_module("keras").config.backend()
        tools[f"Keras ({backend})"] = keras_epochs
    except ImportError:  # of Keras, or of the backend it is set to
        pass
    return tools
