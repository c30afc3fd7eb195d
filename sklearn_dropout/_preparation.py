"""From the arguments of `fit` to a problem that the training loop can solve."""

from copy import copy, deepcopy
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np

from ._held_out import hold_out, validation_rows
from ._problem import Problem, Recipe
from ._random import Streams, seed_from
from ._samples import Sample
from ._scoring import epoch_scores
from ._validation import (
    START_ANEW,
    check_callbacks,
    check_device,
    check_solver,
    check_weights,
    merge_equal_rows,
    precision,
)
from .nn._losses import LOSSES

_AUTO_BATCH_SIZE = 200


@dataclass
class FitCall:
    """The arguments of a call of `fit` or `partial_fit`.

    Attributes
    ----------
    X, y, sample_weight : as in `fit`
    validation : tuple (X_val, y_val, sample_weight_val)
    partial : bool, default=False
        Whether this is `partial_fit`: one epoch that goes on where the last call left off.
    classes : array-like, default=None
        For the first call of `partial_fit`.
    """

    X: object
    y: object
    sample_weight: object = None
    validation: tuple = (None, None, None)
    partial: bool = False
    classes: object = None


@dataclass
class Prepared:
    """A fit that is ready to run.

    Attributes
    ----------
    estimator : DropoutNetwork
        Untouched until `finish`.
    learner : DropoutNetwork
        Its shallow copy, which holds what is learned from the data alone (classes, scales).
    call : FitCall
    checked : Checked
    problem : Problem
    recipe : Recipe
    rates : dict of ndarrays
        Dropout rates of each kind of place.
    loss : str
        Key of ``nn._losses.LOSSES``.
    parameters : (weights, biases) or None
        To start from; ``None`` draws new ones.
    dtype : dtype
        In which the weights are kept: that of the data as given, so that predicting data like
        them converts nothing.
    learned : dict
        Attributes of `learner` that came from the data.
    history : skorch History, default=None
        Filled by callbacks.
    """

    estimator: object
    learner: object
    call: FitCall
    checked: object
    problem: Problem
    recipe: Recipe
    rates: dict
    loss: str
    parameters: tuple | None
    dtype: type
    learned: dict
    history: object = None

    @property
    def continues(self):
        """Whether the fit goes on from an earlier call."""
        return self.parameters is not None

    def serves(self, estimator):
        """Whether `alike` holds: not where another seed holds out other rows."""
        if self.problem.valid is None or self.call.validation[0] is not None:
            return True
        return isinstance(estimator.random_state, Integral) and (
            seed_from(estimator.random_state) == self.problem.seed
        )

    def alike(self, estimator):
        """Prepare a fit of the same call by an estimator that differs in numbers that stack.

        The parameters are taken as checked.
        """
        learner = copy(estimator)
        rates = learner._rates()
        vars(learner).update(self.learned, _dropout_rates=rates)
        seed, old = seed_from(learner.random_state), self.problem
        problem = make_problem(learner, old.train, old.valid, seed, False, False)
        return replace(
            self, estimator=estimator, learner=learner, problem=problem, rates=rates, history=None
        )

    def finish(self, outcome):
        """Hand what was learned over to the estimator; a failed run raises and changes nothing."""
        if isinstance(outcome, Exception):
            raise outcome
        if outcome.error:
            raise ValueError(outcome.error)
        self.learner._keep(self, outcome)
        self.estimator.__dict__ = dict(vars(self.learner))  # at once, whatever interrupts


@dataclass
class Checked:
    """The data of a call, checked, and what is learned from them whatever the parameters.

    Attributes
    ----------
    X, y, weight : as `Sample` has them, before rows are chosen
    learned : dict
        Attributes of the learner.
    key : tuple
        Parameters of the learner that the data were checked by.
    """

    X: object
    y: np.ndarray
    weight: np.ndarray | None
    learned: dict
    key: tuple = ()


def check_data(learner, call, continues):
    """Check and encode the data of a call; sets attributes of `learner`.

    Returns
    -------
    checked : Checked
    """
    before = set(vars(learner))
    X, y = learner._validate(call.X, call.y, reset=not continues)
    y = learner._encode(y, continues, call.partial, call.classes)
    learned = {name: value for name, value in vars(learner).items() if name not in before}
    weight = check_weights(call.sample_weight, X)
    return Checked(X, y, weight, learned, learner._data_key())


def prepare(estimator, call, checked=None):
    """Check parameters and data, and make the problem of one network.

    Parameters
    ----------
    estimator : DropoutNetwork
        Not changed.
    call : FitCall
    checked : Checked, default=None
        Of an earlier fit of the same call by an estimator of the same class, new as this one;
        taken if it was checked by the same parameters.

    Returns
    -------
    prepared : Prepared
    """
    learner, partial = copy(estimator), call.partial
    recipe = make_recipe(learner, partial)
    rates = learner._rates()
    check_arguments(learner, call)
    continues = (partial or learner.warm_start) and learner.__sklearn_is_fitted__()
    if checked is None or checked.key != learner._data_key():
        checked = check_data(learner, call, continues)
    else:
        vars(learner).update(checked.learned)
    if continues:
        check_loss(learner)
    learner._activation, learner._dropout_rates = learner.activation, rates
    learner._check_features(checked.X)
    seed = seed_from(learner.random_state)
    train, valid = make_samples(learner, call, checked, recipe, continues, seed)
    return Prepared(
        estimator=estimator,
        learner=learner,
        call=call,
        checked=checked,
        problem=make_problem(learner, train, valid, seed, continues, partial),
        recipe=recipe,
        rates=rates,
        loss=learner._loss_name(),
        parameters=learner._parameters if continues else None,
        dtype=precision(call.X),
        learned={k: v for k, v in vars(learner).items() if k not in vars(estimator)},
    )


def make_samples(learner, call, checked, recipe, continues, seed):
    """Choose the rows to train and to validate on, and encode their targets.

    Returns
    -------
    train : Sample
    valid : Sample or None
    """
    X, y = checked.X, checked.y
    weight = learner._row_weights(checked.weight, y, call.partial)
    rows = np.arange(X.shape[0]) if weight is None else np.flatnonzero(weight)
    weight = None if weight is None else weight[rows]
    n_given = len(rows)
    counts = weight is None  # then weights will only count equal rows
    rows, weight = merge_equal_rows(X, y, rows, weight, recipe.batch_size)
    held_out = None
    if recipe.early_stopping and call.validation[0] is None:
        rows, weight, held_out = hold_out(learner, y, rows, weight, seed)
        n_given = len(rows) if weight is None or not counts else int(weight.sum())
    learner._fit_target(y[rows], weight, continues, call.partial)
    learner.out_activation_ = LOSSES[learner._loss_name()].out_activation

    train = make_sample(learner, X, y, rows, weight)
    train.n_given, train.counts = n_given, counts and weight is not None
    if held_out is not None:
        valid = make_sample(learner, X, y, *held_out)
        valid.counts = counts and valid.weight is not None
        return train, valid
    if call.validation[0] is None:
        return train, None
    return train, make_sample(learner, *validation_rows(learner, *call.validation), name="y_val")


def make_problem(estimator, train, valid, seed, continues, partial):
    """What the network is to learn, and the numbers in which networks of a stack may differ."""
    score, scorers = epoch_scores(estimator, train, valid)
    problem = Problem(
        train=train,
        valid=valid,
        seed=seed,
        streams=Streams(seed),
        learning_rate_init=float(estimator.learning_rate_init),
        alpha=float(estimator.alpha),
        max_norm=np.inf if estimator.max_norm is None else float(estimator.max_norm),
        score=score,
        scorers=scorers,
    )
    if continues:
        problem.n_epochs_before = len(estimator.loss_curve_)
        problem.n_seen_before = estimator._weight_seen
        problem.streams = Streams(seed, problem.n_epochs_before)
        if partial and estimator._partial_state is not None:
            # A copy, so that a call that fails leaves the state as it was.
            problem.training_state, streams = deepcopy(estimator._partial_state)
            problem.streams = Streams.from_state(streams)
    return problem


def make_recipe(estimator, partial):
    """The parameters that all networks of a stack share, checked."""
    check_solver(estimator.solver)
    check_callbacks(estimator.callbacks)
    if estimator.epsilon < float(np.finfo(np.float32).tiny):
        raise ValueError(
            f"epsilon={estimator.epsilon!r} is zero in float32, in which networks are trained. "
            "Use 1e-8, or something of that size."
        )
    return Recipe(
        batch_size=rows_in_batch(estimator.batch_size),
        max_iter=1 if partial else int(estimator.max_iter),
        shuffle=bool(estimator.shuffle),
        solver=estimator.solver,
        beta_1=float(estimator.beta_1),
        beta_2=float(estimator.beta_2),
        epsilon=float(estimator.epsilon),
        momentum=float(estimator.momentum),
        nesterovs_momentum=bool(estimator.nesterovs_momentum) and estimator.momentum > 0,
        learning_rate=estimator.learning_rate,
        power_t=float(estimator.power_t),
        early_stopping=bool(estimator.early_stopping),
        n_iter_no_change=estimator.n_iter_no_change,
        tol=float(estimator.tol),
        device=check_device(estimator.device),
    )


def rows_in_batch(batch_size):
    """The parameter `batch_size` as a number of rows."""
    return _AUTO_BATCH_SIZE if batch_size == "auto" else int(batch_size)


def check_arguments(estimator, call):
    """Refuse arguments and parameters that do not go together."""
    X_val, y_val, sample_weight_val = call.validation
    if (X_val is None) != (y_val is None):
        given, missing = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
        raise ValueError(f"{given} is given but {missing} is None: pass both or neither.")
    if sample_weight_val is not None and X_val is None:
        raise ValueError("sample_weight_val is given but X_val is None: pass X_val and y_val too.")
    if call.partial and estimator.early_stopping:
        raise ValueError(
            "partial_fit does not support early_stopping=True: a single epoch has nothing to stop."
        )


def check_loss(learner):
    """Refuse to go on with targets that were scaled for another kind of loss."""
    if LOSSES[learner._loss_name()].out_activation != learner.out_activation_:
        raise ValueError(
            f"loss={learner.loss!r} scales targets otherwise than the loss that was fitted, and "
            f"cannot go on from there. {START_ANEW}"
        )


def make_sample(estimator, X, y, rows, weight, name="y"):
    """Rows with the targets that the network learns."""
    targets, codes = estimator._targets(y[rows], name)
    return Sample(X=X, rows=rows, targets=targets, codes=codes, weight=weight)
