"""What all estimators share: parameters, the way from `fit` to a network, fitted attributes."""

from copy import copy
from dataclasses import KW_ONLY, dataclass
from functools import cache
from numbers import Integral, Real

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer_names
from sklearn.utils.validation import check_is_fitted, validate_data

from ..checks.inputs import check_container, explain
from ..checks.validation import (
    CallbackSupportMixin,
    Interval,
    Options,
    StrOptions,
    as_array,
    check_device,
    check_pandas_support,
    named_callbacks,
    set_callback_params,
)
from ..dropout.kinds import KINDS, DropoutSettings
from ..dropout.schedules import SCHEDULES
from ..fit.events import fit_events
from ..fit.preparation import prepare
from ..fit.progress import report_progress
from ..fit.schedule import PLANNED
from ..fit.stages import FitCall
from ..fit.training import train
from ..nn.activations import ACTIVATIONS
from ..nn.initializers import INITIALIZERS
from ..nn.settings import errors_of_numpy_kept, in_threads, memory_errors
from ..nn.tensors import as_tensor, rows_as_tensor
from ..nn.training import ModuleTraining
from .monte_carlo import MonteCarlo

_ROWS_AT_ONCE = 1024


@dataclass(eq=False, repr=False)
class DropoutNetwork(CallbackSupportMixin, MonteCarlo, BaseEstimator):
    """Base of all estimators: every parameter they share, and `fit`.

    A family (`mlp.py`) adds what its network needs and says how to build it; a task
    (`classifier.py`, `regressor.py`) says what targets and answers are. Fitting happens on a
    shallow copy that hands its attributes back at the end, so a failure leaves the estimator as
    it was.
    """

    hidden_layer_sizes: object = (100,)
    activation: str = "relu"
    _: KW_ONLY
    dropout_rate: object = 0.2
    input_dropout_rate: object = 0.0
    spatial_dropout_rate: object = 0.0
    dropout_type: str = "bernoulli"
    dropout_schedule: object = "constant"
    input_noise_std: float = 0.0
    max_norm: float | None = None
    weight_init: str = "glorot_uniform"
    solver: object = "adam"
    alpha: float = 0.0001
    batch_size: object = "auto"
    learning_rate: str = "constant"
    learning_rate_init: float = 0.001
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    random_state: object = None
    tol: float = 1e-4
    verbose: object = False
    warm_start: bool = False
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: float = 10
    scoring: object = None
    callbacks: object = None
    device: object = "cpu"

    _parameter_constraints = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout_rate": [Real, "array-like"],
        "input_dropout_rate": [Real],
        "spatial_dropout_rate": [Real],
        "max_norm": [Interval(Real, 0, None, closed="neither"), None],
        "weight_init": [StrOptions(set(INITIALIZERS))],
        "solver": [StrOptions({"adam", "adamw", "sgd"}), type],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "dropout_type": [StrOptions(set(KINDS))],
        "input_noise_std": [Interval(Real, 0, None, closed="left")],
        "dropout_schedule": [StrOptions(set(SCHEDULES)), callable],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", *PLANNED})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "callbacks": [list, tuple, None],
        "device": [str, torch.device],
    }

    _remedies = {
        "nested": "Give every number a column of its own, in rows of one length.",
        "text": "Encode it, for example with sklearn.preprocessing.OneHotEncoder.",
    }

    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Train the network from new weights (or from the last ones with ``warm_start``).

        Parameters
        ----------
        X : {array-like, CSR matrix, DataFrame, torch tensor} of shape (n_samples, n_features)
            Training inputs. Computed in float32; sparse rows become dense a batch at a time.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or target values; an indicator matrix for multilabel classification.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss. Rows of weight zero are left out.
        X_val, y_val : like `X` and `y`, default=None
            Validation set, both or neither. Alone it only adds curves to `history_`; with
            ``early_stopping=True`` it takes the place of a random `validation_fraction`. A
            ``Pipeline`` passes it untransformed unless it is listed in `transform_input`.
        sample_weight_val : array-like of shape (n_val_samples,), default=None
            Weights of the validation rows in loss and score.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit(FitCall(X, y, sample_weight, (X_val, y_val, sample_weight_val)))

    def _fit(self, call):
        """Carry out a call of `fit` or `partial_fit`, or leave it to a search."""
        if "_fit_by" in vars(self):  # see nesting.fit_network_by
            self._fit_by(self, call)
        else:
            self._carry_out(call)
        return self

    def _carry_out(self, call, progress=None, keep_interrupted=True):
        """Check, train and keep what was learned; arguments as for `_train`."""
        with errors_of_numpy_kept(), fit_events(self, call) as events:
            self._check_params()
            fit = prepare(self, call)
            fit.finish(fit.learner._train(fit, progress, keep_interrupted, events))

    @classmethod
    @cache
    def _get_param_names(cls):
        return super()._get_param_names()  # which reads the signature anew each time

    def __sklearn_clone__(self):
        clone = super().__sklearn_clone__()
        if "_fit_by" in vars(self):  # see nesting.fit_network_by
            clone._fit_by = self._fit_by
        return clone

    def set_params(self, **params):
        """Set parameters, those of callbacks too.

        Parameters
        ----------
        **params : dict
            By name; ``callbacks__EarlyStopping__patience`` is a parameter of the callback of that
            class, or of that name where `callbacks` has pairs (name, callback).

        Returns
        -------
        self : object
            The estimator.
        """
        of_callbacks = {k: v for k, v in params.items() if k.startswith("callbacks__")}
        super().set_params(**{k: v for k, v in params.items() if k not in of_callbacks})
        if of_callbacks:
            set_callback_params(self.callbacks, of_callbacks)
        return self

    def _check_params(self):
        """Check types and ranges of the parameters, unless scikit-learn is told not to."""
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()

    def _train(self, fit, progress=None, keep_interrupted=True, events=None):
        """Train the network of a prepared fit of this estimator's copy.

        Parameters
        ----------
        fit : Fit
        progress : callable (records), default=None
            Told the records of the epochs that are done; by default shown as `verbose` asks for.
        keep_interrupted : bool, default=True
            Whether Ctrl-C ends training early, rather than being passed on.
        events : FitEvents, default=None
            Told of the epochs too.

        Returns
        -------
        outcome : Outcome
        """
        verbose = self.verbose if progress is None else 0
        with report_progress(verbose, fit.recipe.max_iter) as shown, memory_errors():
            return train(fit, progress or shown, keep_interrupted, events)

    def _asked_dropout(self):
        """Where the parameters ask for dropout, checked."""
        return DropoutSettings(self._rates(), self.dropout_type, float(self.input_noise_std))

    @property
    def _fitted_dropout(self):
        """Where the fitted network drops in training."""
        return DropoutSettings(*self._dropout)

    def _start_training(self, fit, n_threads):
        """Engine of a prepared fit, with its initial parameters, and what watches it, if any."""
        weights, biases = self._initial(fit)

        def pack(weights, biases):
            return self._module_to_train(fit, weights, biases)[0]

        module, sources = self._module_to_train(
            fit, *(_as_tensors(part, fit.recipe.device) for part in (weights, biases))
        )
        training = ModuleTraining(
            module,
            sources,
            sample=fit.train,
            recipe=fit.recipe,
            loss=fit.loss,
            bounded=self._bounded,
            unpack=self._parameters_of,
            pack=pack,
            values_per_row=self._work(fit)[0],
        )
        if not self.callbacks:
            return training, None
        from ..fit.callbacks import Monitor  # imports skorch, which takes a second

        training.monitor = Monitor(fit, training)
        return training, training.monitor

    def _validate(self, X, y="no_validation", *, reset):
        """`X` (and `y`) as scikit-learn checks them.

        Training is in float32; predictions are in the precision of `X`, so that a row's answer
        does not depend on its neighbours beyond rounding in that precision.
        """
        given = as_array(X)
        check_container(given)
        y = y if isinstance(y, str) else as_array(y, "y")
        try:
            X, y = self._as_numbers(given, y, reset)
        except (TypeError, ValueError) as error:
            explanation = explain(given, error, self._remedies)
            if explanation is None:
                raise
            raise ValueError(explanation) from error
        X = self._checked_table(X, reset)
        return X if isinstance(y, str) else (X, y)

    def _as_numbers(self, given, y, reset):
        """Inputs as a table of numbers, and targets, where there are any."""
        X = self._as_table(given, reset)
        holder, anew = self, reset
        if not reset and self._free_width(X, given):
            holder, anew = copy(self), True
        finite = "allow-nan" if self._may_be_missing(given) else True
        options = {"ensure_all_finite": finite, "accept_sparse": "csr", "order": "C", "reset": anew}
        if isinstance(y, str):
            return validate_data(holder, X, dtype=(np.float64, np.float32), **options), y
        options |= {"multi_output": True, "y_numeric": self._numeric_target}
        with np.errstate(over="ignore", invalid="ignore"):  # refused as infinite
            return validate_data(holder, X, y, dtype=np.float32, **options)

    def _outputs(self, X):
        """Outputs of the network before the output function: tensor (n_samples, n_outputs)."""
        check_is_fitted(self)
        return self._outputs_of(self._validate(X, reset=False))

    def _outputs_of(self, X):
        """The same for a table that is checked."""
        outputs, n_rows = self._forward(X)

        def part(start):
            with torch.inference_mode(), torch.autocast("cpu", enabled=False):
                return outputs(self._rows(X, start, start + n_rows))

        parts = in_threads(part, range(0, X.shape[0], n_rows))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def hidden_features(self, X, layer=-1, *, as_frame=False):
        """Activations of a hidden layer, with dropout off.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Inputs.
        layer : int, default=-1
            Which of `hidden_layer_sizes`, from 0; -1 is the last.
        as_frame : bool, default=False
            Whether to return a pandas data frame, with columns ``hidden0_0``, ``hidden0_1`` and so
            on: the number of the layer, and that of the unit.

        Returns
        -------
        features : ndarray or DataFrame of shape (n_samples, n_units)
            Of a recurrent network: the last states of the layer, of both directions where there
            are two. float32 for float32 `X`, else float64.

        Raises
        ------
        ValueError
            Where the network has no such layer.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        n_hidden = self._n_hidden_layers()
        if not isinstance(layer, Integral) or not -n_hidden <= layer < n_hidden:
            raise ValueError(
                f"layer={layer!r} is none of the {n_hidden} hidden layers of this network. Give an "
                f"int from {-n_hidden} to {n_hidden - 1}."
            )
        layer = int(layer) % n_hidden
        module = self._layers(*self._tensors(X.dtype), "identity")
        parts = []
        for start in range(0, X.shape[0], _ROWS_AT_ONCE):
            rows = rows_as_tensor(X, start, start + _ROWS_AT_ONCE)
            with torch.inference_mode(), torch.autocast("cpu", enabled=False):
                parts.append(self._hidden_states(module, layer)(rows).numpy())
        features = np.concatenate(parts) if parts else np.empty((0, 0), X.dtype)
        if not as_frame:
            return features
        pandas = check_pandas_support("hidden_features with as_frame=True")
        names = [f"hidden{layer}_{unit}" for unit in range(features.shape[1])]
        return pandas.DataFrame(features, columns=names)

    def _n_hidden_layers(self):
        """Dense layers before the output."""
        return len(self._dropout[0]["hidden"])

    def _hidden_states(self, module, layer):
        """The part of a network that ends with a hidden layer."""
        names = [name for name, _ in module.named_children()]
        return module[: names.index(f"activation_{layer + 1}") + 1]

    def _rows(self, X, start, stop):
        """Some rows of a checked table, as the network's forward pass takes them."""
        return rows_as_tensor(X, start, stop)

    def _tensors(self, dtype):
        """Weights and biases as tensors of a NumPy dtype."""
        return [[as_tensor(a.astype(dtype, copy=False)) for a in part] for part in self._parameters]

    def _as_table(self, X, reset):
        """`X` with one row for each sample, as the network's batches are made of."""
        return X

    def _on_tables(self):
        """A copy that takes tables which are checked already, for scorers."""
        taken = copy(self)
        vars(taken).pop("feature_names_in_", None)  # the table is an array
        return taken

    def _free_width(self, X, given):
        """Whether a table may have another number of columns than that of the fit.

        Parameters
        ----------
        X : the table
        given : what it was made from
        """
        return False

    def _may_be_missing(self, given):
        """Whether NaN may stand among the inputs."""
        return False

    def _checked_table(self, X, reset):
        """The table, once it is numbers, with what else the family asks of it."""
        return X

    def _public(self, module):
        """A network on what `predict` takes, from one on checked tables."""
        return module

    def _compiled(self):
        """Whether the compiled engine trains this network."""
        return False

    def _check_engine(self):
        """Refuse an engine that cannot train this network."""

    def _data_key(self):
        """Parameters that the checked data depend on."""
        return ()

    def _count_layers(self, weights):
        """Number of layers, input and output included."""
        return len(weights) + 1

    def _keep(self, fit, outcome):
        """Set the fitted attributes."""
        curves = outcome.curves
        n_iter = len(curves["train_loss"])
        past = self._curves if fit.continues else {"train_loss": []}
        monitor = fit.monitor
        if monitor is not None:  # callbacks may have loaded the epochs of another run
            names = curves.keys() | past.keys()
            past = {name: [row.get(name) for row in monitor.past] for name in names}
        n_past = len(past["train_loss"])
        self._curves = {  # None where an epoch was not evaluated
            name: past.get(name, [None] * n_past) + curves.get(name, [None] * n_iter)
            for name in past | curves
        }
        # A list of dicts, which every format can save; None where the curves say it all.
        self._history = None if monitor is None else monitor.rows
        self._parameters = tuple(
            [array.astype(fit.dtype, copy=False) for array in part]
            for part in (outcome.weights, outcome.biases)
        )
        rates, *others = self._dropout
        rates = {place: some.copy() for place, some in rates.items()}
        for (place, site), rate in outcome.rates:
            rates[place][site] = rate
        self._dropout = rates, *others
        # What the next call of partial_fit goes on with.
        self._partial_state = None
        if fit.partial:
            self._partial_state = (outcome.training_state, fit.streams.get_state())
        self.n_iter_ = n_iter
        self.t_ = (self.t_ if fit.continues else 0) + n_iter * fit.train.n_given
        self._weight_seen = fit.n_seen_before + n_iter * fit.train.total_weight
        self.n_layers_ = self._count_layers(outcome.weights)
        self.n_outputs_ = outcome.biases[-1].shape[0] // fit.loss.n_heads
        self.loss_curve_ = self._curves["train_loss"]
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else np.nan
        scores = None
        if fit.valid is not None:
            scores = [s for s in self._curves.get("valid_score", []) if s is not None]
        self.validation_scores_ = scores
        latest = [score for score in curves.get("valid_score", []) if not np.isnan(score)]
        self.best_validation_score_ = max(latest, default=np.nan) if scores else None
        self.best_loss_ = None if self.early_stopping else min(self.loss_curve_, default=np.nan)
        self._set_coefs()

    def _n_network_outputs(self):
        """Units of the last layer."""
        return len(self._parameters[1][-1])

    def _set_coefs(self):
        """Public weights: those of the network, its answers in the units of `y`."""
        weights, biases = self._parameters
        self.coefs_, self.intercepts_ = list(weights), list(biases)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_parameters")

    @property
    def dropout_rates_(self):
        """Dropout rates of each kind of place, as the network was fitted."""
        check_is_fitted(self)
        return {place: rates.copy() for place, rates in self._fitted_dropout.rates.items()}

    @property
    def history_(self):
        """Curves of training, as a skorch ``History``: one row for each epoch."""
        from skorch.history import History

        check_is_fitted(self)
        history = History()
        for epoch in range(len(self.loss_curve_)):
            history.new_epoch()
            history.record("epoch", epoch + 1)
            for name, values in self._curves.items():
                if values[epoch] is not None:
                    history.record(name, values[epoch])
        if self._history is not None:  # an interrupted epoch may be there, or lack its losses
            for row, recorded in zip(history, self._history):
                row |= recorded
        return history

    @property
    def module_(self):
        """The network as a plain ``torch.nn.Module`` that computes the same predictions.

        It takes what `predict` takes, as a tensor. Its output has shape (n_samples, n_outputs_):
        probabilities (of the second class only, where there are two), or targets in the units of
        `y`. Dropout layers are in their places and act in training mode, as usual.
        """
        check_is_fitted(self)
        module = self._layers(
            [torch.tensor(array, dtype=torch.float32) for array in self.coefs_],
            [torch.tensor(array, dtype=torch.float32) for array in self.intercepts_],
            self.out_activation_,
        )
        return self._public(module)

    @property
    def net_(self):
        """The network as a skorch ``NeuralNet`` around `module_`, ready to predict or to save."""
        from ..fit.callbacks import SkorchNet

        net = SkorchNet.around(self.module_, None, device=check_device(self.device))
        net.callbacks_ = named_callbacks(self.callbacks)
        net.history_ = self.history_
        return net

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _as_tensors(arrays, device):
    """New float32 tensors on a device."""
    return [torch.tensor(array, dtype=torch.float32, device=device) for array in arrays]
