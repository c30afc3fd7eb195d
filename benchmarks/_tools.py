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
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_dropout import DropoutMLPClassifier

from ._timing import seconds

# An epoch takes Keras tens of milliseconds however little there is to do.
MAX_KERAS_EPOCHS = 400


@dataclass(frozen=True)
class Settings:
    """One row of the table: data, network and training.

    Attributes
    ----------
    name : str
    data : callable () -> (float32 X, int64 y)
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


def layer_sizes(X, y, settings):
    """Units of every layer; one output speaks for two classes."""
    n_classes = len(np.unique(y))
    return (X.shape[1], *settings.hidden, 1 if n_classes == 2 else n_classes)


def here(X, y, settings):
    """The whole public fit, checks of the data and all."""
    estimator = DropoutMLPClassifier(
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
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    criterion = nn.CrossEntropyLoss()
    if model[-1].out_features == 1:
        criterion, y = nn.BCEWithLogitsLoss(), y[:, None].float()

    def fit():
        for _ in range(settings.epochs):
            for rows in torch.randperm(len(X)).split(settings.batch_size):
                optimizer.zero_grad()
                criterion(model(X[rows]), y[rows]).backward()
                optimizer.step()

    return seconds(fit) / settings.epochs


def skorch_net(X, y, settings):
    """As skorch's tutorial has it, silent and without a validation split."""
    sizes = (*layer_sizes(X, y, settings)[:-1], len(np.unique(y)))
    net = NeuralNetClassifier(
        nn.Sequential(*dropout_network(sizes, settings.rate), nn.Softmax(dim=-1)),
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
    estimator = MLPClassifier(
        settings.hidden,
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
    binary = n_outputs == 1
    model.add(keras.layers.Dense(n_outputs, activation="sigmoid" if binary else "softmax"))
    loss = "binary_crossentropy" if binary else "sparse_categorical_crossentropy"
    model.compile(optimizer="adam", loss=loss)
    fit = partial(model.fit, X, y, batch_size=settings.batch_size, verbose=0)
    fit(epochs=1)
    epochs = min(settings.epochs, MAX_KERAS_EPOCHS)
    return seconds(lambda: fit(epochs=epochs)) / epochs


def matrix_products(X, y, settings):
    """The products of the forward and backward pass and nothing else, batch by batch."""
    X = torch.from_numpy(X)
    weights = [
        torch.randn(shape) / shape[0] ** 0.5 for shape in pairwise(layer_sizes(X, y, settings))
    ]
    batches = X.split(settings.batch_size)
    products = {len(x): products_of_batch(weights, len(x)) for x in batches}

    def fit():
        for _ in range(settings.epochs):
            for x in batches:
                products[len(x)](x)

    with torch.inference_mode():
        return seconds(fit) / settings.epochs


def products_of_batch(weights, n_rows):
    """Function that multiplies what a step on a batch of `n_rows` rows multiplies."""
    outputs = [torch.empty(n_rows, weight.shape[1]) for weight in weights]
    deltas = [torch.randn(output.shape) for output in outputs]
    gradients = [torch.empty_like(weight) for weight in weights]

    def products(x):
        inputs = [x, *outputs[:-1]]
        for layer, weight in enumerate(weights):
            torch.mm(inputs[layer], weight, out=outputs[layer])
        for layer in reversed(range(len(weights))):
            torch.mm(inputs[layer].t(), deltas[layer], out=gradients[layer])
            if layer:
                torch.mm(deltas[layer], weights[layer].t(), out=deltas[layer - 1])

    return products


TOOLS = {
    "here": here,
    "PyTorch": plain_pytorch,
    "skorch": skorch_net,
    "scikit-learn": scikit_learn,
}


def available_tools():
    """Tools that can be imported, in the order of the columns."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keras = {}
    try:
        backend = importlib.import_module("keras").config.backend()
        keras[f"Keras ({backend})"] = keras_epochs
    except ImportError:  # of Keras, or of the backend it is set to
        pass
    return TOOLS | keras | {"products": matrix_products}
