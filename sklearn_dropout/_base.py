"""What all estimators share: parameters, the way from `fit` to a network, fitted attributes."""

from copy import copy
from dataclasses import KW_ONLY, dataclass
from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer_names
from sklearn.utils.validation import check_is_fitted, validate_data
from skorch.history import History

from ._monitor import Monitor, SkorchNet, progress_bar
from ._monte_carlo import MonteCarlo
from ._preparation import FitCall, prepare
from ._state import in_threads, memory_errors
from ._tensors import as_tensor, rows_as_tensor
from ._training import Trainer
from ._validation import Interval, Options, StrOptions, as_array, check_device
from .nn._activations import ACTIVATIONS
from .nn._initializers import INITIALIZERS


@dataclass(eq=False, repr=False)
class DropoutNetwork(MonteCarlo, BaseEstimator):
    """Base of all estimators: every parameter they share, and `fit`.

    A family (`_mlp.py`) adds what its network needs and says how to build it; a task
    (`_classifier.py`, `_regressor.py`) says what targets and answers are. Fitting happens on a
    shallow copy that hands its attributes back at the end, so a failure leaves the estimator as
    it was.
    """

    hidden_layer_sizes: object = (100,)
    activation: str = "relu"
    _: KW_ONLY
    dropout_rate: object = 0.2
    input_dropout_rate: object = 0.0
    spatial_dropout_rate: object = 0.0
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
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
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
            ``Pipeline`` hands it on as it is, but for what its `transform_input` names.
        sample_weight_val : array-like of shape (n_val_samples,), default=None
            Weights of the validation rows in loss and score.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit(FitCall(X, y, sample_weight, (X_val, y_val, sample_weight_val)))

    def _fit(self, call):
        """Carry out a call of `fit` or `partial_fit`, unless it is only to be taken down."""
        if "_calls" in vars(self):
            self._calls.append((self, call))
            return self
        self._check_params()
        prepared = prepare(self, call)
        (outcome,) = prepared.learner._train([prepared])
        prepared.finish(outcome)
        return self

    def __sklearn_clone__(self):
        clone = super().__sklearn_clone__()
        if "_calls" in vars(self):  # see _nesting.call_of_network
            clone._calls = self._calls
        return clone

    def _check_params(self):
        """Check types and ranges of the parameters, unless scikit-learn is told not to."""
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()

    def _train(self, prepared, progress=None, keep_interrupted=True):
        """Train the networks of several prepared fits as one stack.

        Parameters
        ----------
        prepared : list of Prepared
            Of estimators like this one that differ only in numbers that stack.
        progress : callable (n_epochs, losses), default=None
            Told how many network-epochs are done; by default a bar where `verbose` asks for one.
        keep_interrupted : bool, default=True
            Whether Ctrl-C ends training early, rather than being passed on.

        Returns
        -------
        outcomes : list of Outcome
        """
        recipe = prepared[0].recipe
        problems = [p.problem for p in prepared]
        watch = partial(Monitor, self) if self.callbacks else None
        n_epochs = recipe.max_iter * len(problems)
        bar = progress_bar(self.verbose and progress is None, n_epochs)
        with torch.inference_mode(False), bar as shown, memory_errors():
            trainer = Trainer(
                lambda places: self._build([prepared[place] for place in places]),
                problems,
                recipe,
                watch,
                progress or shown,
                keep_interrupted,
            )
            outcomes = trainer.run()
        if trainer.monitor is not None:
            prepared[0].history = trainer.monitor.net.history
        return outcomes

    def _validate(self, X, y="no_validation", *, reset):
        """`X` (and `y`) as scikit-learn checks them.

        Training is in float32; predictions are in the precision of `X`, so that a row's answer
        does not depend on its neighbours beyond rounding in that precision.
        """
        X = self._as_table(as_array(X), reset)
        holder = self
        if not reset and self._free_width(X):
            holder, reset = copy(self), True
        options = {"accept_sparse": "csr", "order": "C", "reset": reset}
        if isinstance(y, str):
            X = validate_data(holder, X, dtype=(np.float64, np.float32), **options)
            return self._checked_table(X)
        options |= {"multi_output": True, "y_numeric": self._numeric_target}
        with np.errstate(over="ignore", invalid="ignore"):  # refused as infinite
            X, y = validate_data(holder, X, as_array(y, "y"), dtype=np.float32, **options)
        return self._checked_table(X), y

    def _outputs(self, X):
        """Outputs of the network before the output function: tensor (n_samples, n_outputs)."""
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        outputs, n_rows = self._forward(X.dtype, X.shape[1])

        def part(start):
            with torch.inference_mode():
                return outputs(rows_as_tensor(X, start, start + n_rows))

        parts = in_threads(part, range(0, X.shape[0], n_rows))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _tensors(self, dtype):
        """Weights and biases as tensors of a NumPy dtype."""
        return [[as_tensor(a.astype(dtype, copy=False)) for a in part] for part in self._parameters]

    def _as_table(self, X, reset):
        """`X` with one row for each sample, as the network's batches are made of."""
        return X

    def _free_width(self, X):
        """Whether a table may have another number of columns than that of the fit."""
        return False

    def _checked_table(self, X):
        """The table, once it is numbers, with what else the family asks of it."""
        return X

    def _data_key(self):
        """Parameters that the checked data depend on."""
        return ()

    def _count_layers(self, weights):
        """Number of layers, input and output included."""
        return len(weights) + 1

    def _keep(self, prepared, outcome):
        """Set the fitted attributes."""
        problem, curves = prepared.problem, outcome.curves
        n_iter = len(curves["train_loss"])
        past = self._curves if prepared.continues else {"train_loss": []}
        n_past = len(past["train_loss"])
        self._curves = {  # None where an epoch was not evaluated
            name: past.get(name, [None] * n_past) + curves.get(name, [None] * n_iter)
            for name in past | curves
        }
        # A list of dicts, which every format can save; None where the curves say it all.
        self._history = None if prepared.history is None else prepared.history.to_list()
        self._parameters = tuple(
            [array.astype(prepared.dtype, copy=False) for array in part]
            for part in (outcome.weights, outcome.biases)
        )
        # What the next call of partial_fit goes on with.
        self._partial_state = None
        if prepared.call.partial:
            self._partial_state = (outcome.training_state, problem.streams.get_state())
        self.n_iter_ = n_iter
        self.t_ = (self.t_ if prepared.continues else 0) + n_iter * problem.train.n_given
        self._weight_seen = problem.n_seen_before + n_iter * problem.train.total_weight
        self.n_layers_ = self._count_layers(outcome.weights)
        self.n_outputs_ = outcome.biases[-1].shape[0]
        self.loss_curve_ = self._curves["train_loss"]
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else np.nan
        scores = None
        if problem.valid is not None:
            scores = [s for s in self._curves.get("valid_score", []) if s is not None]
        self.validation_scores_ = scores
        latest = [score for score in curves.get("valid_score", []) if not np.isnan(score)]
        self.best_validation_score_ = max(latest, default=np.nan) if scores else None
        self.best_loss_ = None if self.early_stopping else min(self.loss_curve_, default=np.nan)
        self._set_coefs()

    def _set_coefs(self):
        """Public weights: those of the network, its answers in the units of `y`."""
        weights, biases = self._parameters
        self.coefs_, self.intercepts_ = list(weights), list(biases)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_parameters")

    @property
    def history_(self):
        """Curves of training, as a skorch ``History``: one row for each epoch."""
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
        `y`. Dropout layers are in their places and act in training mode, as usual, but for
        recurrent connections, which PyTorch's layers cannot drop.
        """
        check_is_fitted(self)
        return self._layers(
            [torch.tensor(array, dtype=torch.float32) for array in self.coefs_],
            [torch.tensor(array, dtype=torch.float32) for array in self.intercepts_],
            self.out_activation_,
        )

    @property
    def net_(self):
        """The network as a skorch ``NeuralNet`` around `module_`, ready to predict or to save."""
        net = SkorchNet.around(self.module_, None, device=check_device(self.device))
        named = (c if isinstance(c, tuple) else (type(c).__name__, c) for c in self.callbacks or ())
        net.callbacks_ = list(named)
        net.history_ = self.history_
        return net

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
