"""Multilayer perceptrons with dropout."""

from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral

import numpy as np
import torch
from scipy.sparse import issparse

from ..checks.validation import (
    FIT_NEW,
    Interval,
    StrOptions,
    check_device,
    check_feature_groups,
    check_hidden_layer_sizes,
    check_rates,
)
from ..dropout.kinds import draw_passes
from ..dropout.masks import MaskSource
from ..dropout.streams import Use, generator
from ..nn.activations import ACTIVATIONS
from ..nn.initializers import initial_parameters
from ..nn.mlp import Buffers, forward
from ..nn.mlp_sampling import sample_outputs
from ..nn.module import bounded, parameters_of, perceptron
from ..nn.settings import threads_to_use
from ..perceptron import why_unavailable
from ..perceptron.data import TrainingRows
from .classifier import DropoutClassifier
from .docstrings import documented
from .regressor import DropoutRegressor

# Values of the widest layer that are computed at once in a prediction.
_CHUNK_VALUES = 1 << 18
_USES = {"input": Use.INPUT, "groups": Use.GROUPS, "hidden": Use.HIDDEN}
_ALL_USES = _USES | {"noise": Use.NOISE}


@dataclass(eq=False, repr=False, kw_only=True)
class MLPFamily:
    """Parameters and passes of multilayer perceptrons."""

    feature_groups: object = None
    engine: str = "auto"

    _family_constraints = {
        "engine": [StrOptions({"auto", "compiled", "torch"})],
        "feature_groups": [
            Interval(Integral, 1, None, closed="left"),
            "array-like",
            callable,
            None,
        ],
    }

    def _hidden(self):
        return check_hidden_layer_sizes(self.hidden_layer_sizes)

    def _rates(self):
        """Dropout rates of each kind of place, checked."""
        n_hidden = len(self._hidden())
        return {
            "input": check_rates("input_dropout_rate", self.input_dropout_rate, 1, "inputs"),
            "groups": check_rates("spatial_dropout_rate", self.spatial_dropout_rate, 1, "inputs"),
            "hidden": check_rates("dropout_rate", self.dropout_rate, n_hidden, "hidden layers"),
        }

    def _check_features(self, X):
        """Check what depends on the columns of `X`."""
        self._group_of_column = check_feature_groups(
            self.feature_groups, X.shape[1], getattr(self, "feature_names_in_", None)
        )

    def _why_not_compiled(self):
        """Why the compiled engine cannot train this network, or None."""
        if self.callbacks:
            return "callbacks are called for every batch"
        if self.dropout_type == "concrete":
            return "dropout_type='concrete' learns its rates by automatic differentiation"
        if isinstance(self.solver, type):
            return f"solver={self.solver.__name__} is a class of PyTorch"
        if check_device(self.device) != "cpu":
            return f"device={self.device!r} is not the CPU"
        return why_unavailable()

    def _compiled(self):
        """Whether the compiled engine trains this network."""
        return self.engine != "torch" and self._why_not_compiled() is None

    def _check_engine(self):
        """Refuse ``engine="compiled"`` if it cannot train this network."""
        why = self._why_not_compiled() if self.engine == "compiled" else None
        if why is not None:
            raise ValueError(
                f"engine='compiled' cannot train this network: {why}. Use engine='auto' or 'torch'."
            )

    def _layer_sizes(self, fit):
        train = fit.train
        return (train.X.shape[1], *self._hidden(), train.targets.shape[1])

    def _work(self, fit):
        """Number of values and multiplications in the forward pass of one row."""
        sizes = self._layer_sizes(fit)
        return sum(sizes), sum(n_in * n_out for n_in, n_out in pairwise(sizes))

    def _initial(self, fit):
        """Weights and biases that a fit starts from."""
        sizes = self._layer_sizes(fit)
        if fit.parameters is None:
            rng = generator(fit.seed, Use.WEIGHTS)
            return initial_parameters(sizes, self.activation, self.weight_init, rng)
        past = (fit.parameters[0][0].shape[0], *(len(bias) for bias in fit.parameters[1]))
        if past != sizes:
            raise ValueError(
                f"The fitted network has layers {past}, but hidden_layer_sizes="
                f"{self.hidden_layer_sizes!r} and the data require {sizes}. {FIT_NEW}"
            )
        return fit.parameters

    def _start_training(self, fit):
        """Engine of a prepared fit: the compiled loop if possible."""
        if not self._compiled():
            return super()._start_training(fit)
        from ..perceptron.training import PerceptronTraining  # imports Numba

        key = fit.seed, self._layer_sizes(fit), self.activation, self.weight_init
        weights, biases = fit.shared("parameters", key, lambda: _in_float32(self._initial(fit)))
        training = PerceptronTraining(
            weights,
            biases,
            activation=self.activation,
            sample=fit.shared("rows", fit.train, lambda: TrainingRows(fit.train)),
            recipe=fit.recipe,
            loss=fit.loss,
            dropout=fit.dropout,
            group_of_column=self._group_of_column,
            bit_generators={
                place: fit.streams.masks(use, "cpu")
                for place, use in _ALL_USES.items()
                if fit.dropout.needs(place)
            },
            n_threads=threads_to_use(),
        )
        return training, None

    def _module_to_train(self, fit, weights, biases):
        """The network as a module that draws its masks from the streams of a fit."""
        n_rows = fit.largest_batch
        groups, device = self._group_of_column, fit.recipe.device
        widths = {
            "input": [len(groups)],
            "groups": [int(groups.max()) + 1],
            "hidden": [len(bias) for bias in biases[:-1]],
            "noise": [len(groups)],
        }
        sources = {
            kind: MaskSource(widths[kind], n_rows, fit.streams.masks(use, device), device)
            for kind, use in _ALL_USES.items()
        }
        module = perceptron(
            weights, biases, self.activation, self.out_activation_, fit.dropout, groups, sources
        )
        return module, list(sources.values())

    def _parameters_of(self, module):
        """Weights and biases of a module, in the shapes of `coefs_` and `intercepts_`."""
        return parameters_of(module)

    def _bounded(self, module):
        """Weights that `max_norm` bounds, and the axes that belong to one unit."""
        return bounded(module)

    def _rows(self, X, rows):
        """Rows as a tensor; sparse rows stay sparse, since their products are faster."""
        return X[rows] if issparse(X) else super()._rows(X, rows)

    def _forward(self, X):
        """Function from rows to outputs, dropout off; and how many rows it takes."""
        weights, biases = self._tensors(X.dtype)
        activation = ACTIVATIONS[self._activation]
        widths = [weight.shape[1] for weight in weights] + [0 if issparse(X) else X.shape[1]]
        n_rows = max(1, _CHUNK_VALUES // max(widths))
        buffers = Buffers() if X.shape[0] > n_rows else None
        return lambda rows: forward(rows, weights, biases, activation, buffers), n_rows

    def _draw_masks(self, n_samples, streams):
        """Number of passes, and the noise of the inputs of each layer in each."""
        groups, dropout = self._group_of_column, self._fitted_dropout

        def draw(place, widths):
            bits = streams.masks(_USES[place], "cpu")
            return draw_passes(widths, dropout, place, n_samples, bits)

        (inputs,) = draw("input", [len(groups)])
        (of_groups,) = draw("groups", [int(groups.max()) + 1])
        hidden = draw("hidden", [len(bias) for bias in self._parameters[1][:-1]])
        if of_groups is not None:  # the noise of inputs and groups has no addend
            of_columns = of_groups[0][:, torch.from_numpy(groups)]
            inputs = (of_columns if inputs is None else inputs[0] * of_columns), None
        return n_samples, [inputs, *hidden]

    def _sample_outputs(self, X, masks):
        """Outputs with dropout on: tensor of shape (n_samples, n_rows, n_outputs)."""
        n_samples, noise = masks
        noise = [n and tuple(t if t is None else t.to(X.dtype) for t in n) for n in noise]
        weights, biases = self._tensors(X.numpy().dtype)
        activation = ACTIVATIONS[self._activation]
        return sample_outputs(X, weights, biases, activation, noise, n_samples)

    def _layers(self, weights, biases, out_activation):
        return perceptron(
            weights,
            biases,
            self._activation,
            out_activation,
            self._fitted_dropout,
            self._group_of_column,
        )


def _in_float32(parameters):
    """Weights and biases in the precision of training."""
    return [[array.astype(np.float32, copy=False) for array in part] for part in parameters]


_FAMILY_TEXTS = {
    "hidden_layer_sizes": "Units of each hidden layer.",
    "dropout_rate": """Fraction of the hidden units dropped at each training step [1]_: one rate for
        all hidden layers, or one for each (``[0, 0, 0.4]`` drops before the output only).""",
    "spatial_type": "float",
    "spatial_dropout_rate": """Fraction of the groups of columns dropped in full, in [0, 1); see
        `feature_groups`. Columns of a group carry the same information, so dropping one of them
        alone regularises little.""",
    "family_parameters": """
        feature_groups : int, array-like of shape (n_features,) or callable, default=None
            Which columns `spatial_dropout_rate` drops together: each column alone (``None``),
            blocks of that many consecutive columns (int), or columns with the same label (array).
            A callable takes the names of the columns and returns labels: see
            :func:`~sklearn_dropout.preprocessing.group_columns_by_source`.

        engine : {'auto', 'compiled', 'torch'}, default='auto'
            Engine that trains the network: a compiled loop on the CPU (Numba), or PyTorch.
            ``'auto'`` takes the compiled loop if possible: on a CPU, with a named `solver`, without
            `callbacks`, and if Numba can be imported. Both give the same network up to rounding.
        """,
    "coefs_shape": "(n_in, n_out)",
    "coefs": "Weights of each layer",
}


@documented(**_FAMILY_TEXTS)
@dataclass(eq=False, repr=False, kw_only=True)
class DropoutMLPClassifier(MLPFamily, DropoutClassifier):
    """Multilayer perceptron classifier with dropout.

    :class:`sklearn.neural_network.MLPClassifier` with dropout on inputs, groups of inputs and
    hidden layers: at each training step every unit is left out with a given probability, so that
    no unit can rely on another one [1]_. Kept units are scaled up meanwhile, and at prediction
    every unit takes part. The log-loss is minimised by stochastic gradient descent in float32.

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
    DropoutMLPRegressor : The same network for regression.
    sklearn.neural_network.MLPClassifier : scikit-learn's own, without dropout.

    Notes
    -----
    {notes}

    References
    ----------
    {references}

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_dropout import DropoutMLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> clf = DropoutMLPClassifier((32, 16), dropout_rate=[0, 0.2], batch_size=16, random_state=0)
    >>> clf.fit(X_train, y_train).score(X_test, y_test)
    0.97...
    >>> clf.predict(X_test[:3])
    array([2, 1, 0])
    """

    _parameter_constraints = {
        **DropoutClassifier._parameter_constraints,
        **MLPFamily._family_constraints,
    }


@documented(**_FAMILY_TEXTS)
@dataclass(eq=False, repr=False, kw_only=True)
class DropoutMLPRegressor(MLPFamily, DropoutRegressor):
    """Multilayer perceptron regressor with dropout.

    :class:`sklearn.neural_network.MLPRegressor` with dropout on inputs, groups of inputs and
    hidden layers [1]_. Targets are standardised inside `fit` and predictions are in their
    units, so learning rate and penalty do not depend on the scale of `y`.

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
    DropoutMLPClassifier : The same network for classification.
    sklearn.neural_network.MLPRegressor : scikit-learn's own, without dropout.

    Notes
    -----
    {notes}

    References
    ----------
    {references}

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_dropout import DropoutMLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> reg = DropoutMLPRegressor((50,), dropout_rate=0.1, random_state=0)
    >>> reg.fit(X_train, y_train).score(X_test, y_test)
    0.3...
    """

    _parameter_constraints = {
        **DropoutRegressor._parameter_constraints,
        **MLPFamily._family_constraints,
    }
