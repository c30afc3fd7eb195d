"""What all estimators share: their parameters and `fit`."""

from copy import copy
from dataclasses import KW_ONLY, dataclass
from functools import cache
from numbers import Integral, Real

import numpy as np
import torch
from sklearn import get_config
from sklearn.metrics import get_scorer_names
from sklearn.utils.validation import validate_data

from ..checks.callbacks import set_callback_params
from ..checks.inputs import are_plain_numbers, check_container, explain
from ..checks.validation import (
    CallbackSupportMixin,
    Interval,
    Options,
    StrOptions,
    as_array,
    validate_parameter_constraints,
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
from ..nn.settings import errors_of_numpy_kept, memory_errors
from ..nn.training import ModuleTraining
from .fitted import FittedNetwork


@dataclass(eq=False, repr=False)
class DropoutNetwork(CallbackSupportMixin, FittedNetwork):
    """Base of all estimators: every parameter they share, and `fit`.

    A family (`mlp.py`) adds the parameters of its network and builds it; a task (`classifier.py`,
    `regressor.py`) encodes targets and decodes outputs. A shallow copy is fitted, whose attributes
    become those of the estimator at the end, so a failed fit changes nothing.
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
        "max_iter": [Interval(Integral, 1, 2**31 - 1, closed="both")],
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
        "nested": "Put each number into its own column, in rows of equal length.",
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
        """Carry out a call of `fit` or `partial_fit`, or pass it to a search."""
        if "_fit_by" in vars(self):  # see nesting.fit_network_by
            self._fit_by(self, call)
        else:
            self._carry_out(call)
        return self

    def _carry_out(self, call, progress=None, keep_interrupted=True):
        """Check, train and set the fitted attributes; arguments as for `_train`."""
        with errors_of_numpy_kept(), fit_events(self, call) as events:
            self._check_params()
            fit = prepare(self, call)
            fit.finish(fit.learner._train(fit, progress, keep_interrupted, events))

    @classmethod
    @cache
    def _get_param_names(cls):
        return super()._get_param_names()  # which inspects the signature at each call

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
            class, or with that name if `callbacks` has pairs (name, callback).

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

    def _check_params(self, names=None):
        """Check types and ranges of the parameters, unless scikit-learn is configured not to.

        Parameters
        ----------
        names : collection of str, default=None
            Parameters to check; ``None`` for all.
        """
        if get_config()["skip_parameter_validation"]:
            return
        asked = [n for n in self._get_param_names() if names is None or n in names]
        params = {name: getattr(self, name) for name in asked}
        caller = type(self).__name__
        validate_parameter_constraints(self._parameter_constraints, params, caller_name=caller)

    def _train(self, fit, progress=None, keep_interrupted=True, events=None):
        """Train the network of a prepared fit of this estimator's copy.

        Parameters
        ----------
        fit : Fit
        progress : callable (records), default=None
            Called with the records of finished epochs; ``None`` shows them as `verbose` says.
        keep_interrupted : bool, default=True
            Whether Ctrl-C ends training early, rather than being passed on.
        events : FitEvents, default=None
            Called after the epochs too.

        Returns
        -------
        outcome : Outcome
        """
        verbose = self.verbose if progress is None else 0
        with report_progress(verbose, fit.recipe.max_iter) as shown, memory_errors():
            return train(fit, progress or shown, keep_interrupted, events)

    def _asked_dropout(self):
        """The dropout that the parameters describe, checked."""
        return DropoutSettings(self._rates(), self.dropout_type, float(self.input_noise_std))

    def _start_training(self, fit):
        """Engine of a prepared fit with its initial parameters, and its monitor or None."""
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
        """Check `X` (and `y`) as scikit-learn does.

        Training is in float32; predictions are in the precision of `X`, so that the prediction for
        a row depends on the other rows by no more than rounding in that precision.
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
        """Inputs as a table of numbers, and targets if given."""
        X = self._as_table(given, reset)
        if isinstance(y, str) and self._takes_as_it_is(X):
            return X, y
        holder, resets = self, reset
        if not reset and self._free_width(X, given):
            holder, resets = copy(self), True
        finite = "allow-nan" if self._may_be_missing(given) else True
        options = {
            "ensure_all_finite": finite,
            "accept_sparse": "csr",
            "order": "C",
            "reset": resets,
        }
        if isinstance(y, str):
            return validate_data(holder, X, dtype=(np.float64, np.float32), **options), y
        options |= {"multi_output": True, "y_numeric": self._numeric_target}
        with np.errstate(over="ignore", invalid="ignore"):  # infinite values are refused
            return validate_data(holder, X, y, dtype=np.float32, **options)

    def _takes_as_it_is(self, X):
        """Whether scikit-learn's checks of a table to predict would change nothing."""
        named = hasattr(self, "feature_names_in_")
        return not named and are_plain_numbers(X, getattr(self, "n_features_in_", None))

    def _as_table(self, X, reset):
        """`X` as a table with one row for each sample."""
        return X

    def _on_tables(self):
        """A copy that takes checked tables, for scorers."""
        taken = copy(self)
        vars(taken).pop("feature_names_in_", None)  # the table is an array
        return taken

    def _free_width(self, X, given):
        """Whether a table may differ from that of the fit in its number of columns.

        Parameters
        ----------
        X : the table
        given : `X` of the call
        """
        return False

    def _may_be_missing(self, given):
        """Whether inputs may be NaN."""
        return False

    def _checked_table(self, X, reset):
        """Check a table of numbers further, as the family needs."""
        return X

    def _public(self, module):
        """Turn a network on checked tables into one on the inputs of `predict`."""
        return module

    def _compiled(self):
        """Whether the compiled engine trains this network."""
        return False

    def _check_engine(self):
        """Refuse an engine that cannot train this network."""

    def _data_key(self):
        """Parameters that the checks of the data depend on."""
        return ()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _as_tensors(arrays, device):
    """New float32 tensors on a device, with the last axis innermost in memory."""
    arrays = (np.ascontiguousarray(array, np.float32) for array in arrays)
    return [torch.tensor(array, device=device) for array in arrays]
