"""From the arguments of `fit` to a fit that the training loop can run."""

import warnings
from copy import copy, deepcopy
from dataclasses import replace

import numpy as np
from scipy.sparse import issparse

from ..checks.callbacks import check_callbacks
from ..checks.random_state import seed_from
from ..checks.targets import check_objects_in_inputs, check_targets
from ..checks.validation import (
    FIT_NEW,
    check_device,
    check_solver,
    precision,
)
from ..checks.weights import check_penalty, check_weights
from ..dropout.schedules import rate_factors
from ..dropout.streams import Streams
from .held_out import hold_out, validation_rows, warn_of_other_scale
from .merging import merge_equal_rows, sort_by_content
from .samples import Sample
from .scoring import epoch_scores
from .stages import CheckedData, Fit, Recipe

_AUTO_BATCH_SIZE = 200


def check_data(learner, call, continues):
    """Check and encode the data of a call; sets attributes of `learner`.

    Returns
    -------
    checked : CheckedData
    """
    before = set(vars(learner))
    check_objects_in_inputs(call.X)
    if call.y is not None:
        check_targets(call.y, "y", learner._numeric_target)
    X, y = learner._validate(call.X, call.y, reset=not continues)
    y = learner._encode(y, continues, call.partial, call.classes)
    learned = {name: value for name, value in vars(learner).items() if name not in before}
    weight = check_weights(call.sample_weight, X)
    return CheckedData(X, y, weight, learned, learner._data_key())


def prepare(estimator, call, checked=None):
    """Check parameters and data, and choose the rows to train and validate on.

    Parameters
    ----------
    estimator : DropoutNetwork
        Not changed.
    call : FitCall
    checked : CheckedData, default=None
        Of an earlier fit of the same call by an unfitted estimator of the same class; reused if
        the same parameters checked it.

    Returns
    -------
    fit : Fit
    """
    learner, partial = copy(estimator), call.partial
    recipe = make_recipe(learner, partial)
    dropout = learner._asked_dropout()
    learner._check_engine()
    check_arguments(learner, call)
    continues = (partial or learner.warm_start) and learner.__sklearn_is_fitted__()
    if checked is None or checked.key != learner._data_key():
        checked = check_data(learner, call, continues)
    else:
        vars(learner).update(checked.learned)
    if continues:
        check_loss(learner)
        if dropout.learns_rates and learner._fitted_dropout.learns_rates:
            dropout = learner._fitted_dropout
    learner._activation, learner._dropout = learner.activation, dropout.as_tuple()
    learner._check_features(checked.X)
    check_noise(learner, checked.X)
    seed = seed_from(learner.random_state)
    train, valid = make_samples(learner, call, checked, recipe, continues, seed)
    fit = Fit(
        estimator=estimator,
        learner=learner,
        partial=partial,
        checked=checked,
        train=train,
        valid=valid,
        recipe=recipe,
        dropout=dropout,
        loss=learner._loss(),
        dtype=precision(call.X),
        learned={k: v for k, v in vars(learner).items() if k not in vars(estimator)},
        seed=seed,
        streams=Streams(seed),
    )
    _check_and_score(fit)
    if continues:
        _continue(fit)
    return fit


def prepare_same_rows(fit, network, dropout, seed):
    """Prepare a fit of the same rows by a network that differs in a few numbers.

    Parameters
    ----------
    fit : Fit
        Left as it is.
    network : DropoutNetwork
        Unfitted, with checked parameters; gets the attributes that are learned from the data.
    dropout : DropoutSettings
        Of the network.
    seed : int

    Returns
    -------
    fit : Fit
    """
    vars(network).update(fit.learned, _dropout=dropout.as_tuple())
    new = copy(fit)
    new.estimator = new.learner = network
    new.dropout, new.seed, new.streams = dropout, seed, Streams(seed)
    numbers = _changing_numbers(network)
    if any(getattr(fit.recipe, name) != number for name, number in numbers.items()):
        new.recipe = replace(fit.recipe, **numbers)
    _check_and_score(new)
    return new


def _check_and_score(fit):
    """Check the penalty against the weights of the rows, and choose the scores to record."""
    check_penalty(fit.learner, fit.train, fit.recipe.batch_size)
    fit.score, fit.scorers = epoch_scores(fit.learner, fit.train, fit.valid)


def _continue(fit):
    """Set the state that a fit continues from."""
    learner = fit.learner
    fit.parameters = _writeable(learner._parameters)
    fit.n_epochs_before = len(learner.loss_curve_)
    fit.n_seen_before = learner._weight_seen
    fit.streams = Streams(fit.seed, fit.n_epochs_before)
    if fit.partial and learner._partial_state is not None:
        # A copy, so that a call that fails leaves the state as it was.
        fit.training_state, streams = deepcopy(learner._partial_state)
        fit.streams = Streams.from_state(streams)


def _writeable(parameters):
    """Parameters that training may write to: those of a model that was loaded with
    ``mmap_mode="r"`` are copied.
    """
    return tuple([a if a.flags.writeable else np.array(a) for a in part] for part in parameters)


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
    counts = weight is None  # then weights are only counts of equal rows
    one_batch = len(rows) <= recipe.batch_size
    held_out = None
    if recipe.early_stopping and call.validation[0] is None:
        if one_batch:  # then nothing may depend on the order of the data, not even the split
            rows, weight = sort_by_content(X, y, rows, weight)
        rows, weight, held_out = hold_out(learner, y, rows, weight, seed)
    n_given = len(rows)
    if one_batch:
        rows, weight = merge_equal_rows(X, y, rows, weight)
    learner._fit_target(y[rows], weight, continues, call.partial)
    learner.out_activation_ = learner._loss().out_activation

    train = make_sample(learner, X, y, rows, weight)
    train.n_given, train.counts = n_given, counts and weight is not None
    if held_out is not None:
        return train, make_sample(learner, X, y, *held_out)
    if call.validation[0] is None:
        return train, None
    validation = validation_rows(learner, *call.validation)
    warn_of_other_scale(X, validation[0])
    return train, make_sample(learner, *validation, name="y_val")


def make_recipe(estimator, partial):
    """How to train the network, from checked parameters."""
    check_solver(estimator.solver)
    check_callbacks(estimator.callbacks)
    if estimator.epsilon < float(np.finfo(np.float32).tiny):
        raise ValueError(
            f"epsilon={estimator.epsilon!r} is zero in float32, the precision of training. "
            "Use a value such as 1e-8."
        )
    return Recipe(
        **_changing_numbers(estimator),
        batch_size=rows_in_batch(estimator.batch_size),
        max_iter=1 if partial else int(estimator.max_iter),
        n_planned=int(estimator.max_iter),
        shuffle=bool(estimator.shuffle),
        solver=estimator.solver,
        beta_1=float(estimator.beta_1),
        beta_2=float(estimator.beta_2),
        epsilon=float(estimator.epsilon),
        momentum=float(estimator.momentum),
        nesterovs_momentum=bool(estimator.nesterovs_momentum) and estimator.momentum > 0,
        learning_rate=estimator.learning_rate,
        dropout_factors=_dropout_factors(estimator),
        power_t=float(estimator.power_t),
        early_stopping=bool(estimator.early_stopping),
        n_iter_no_change=estimator.n_iter_no_change,
        tol=float(estimator.tol),
        device=check_device(estimator.device),
    )


def _changing_numbers(estimator):
    """The numbers in which recipes of fits of the same rows may differ."""
    return {
        "learning_rate_init": float(estimator.learning_rate_init),
        "alpha": float(estimator.alpha),
        "max_norm": np.inf if estimator.max_norm is None else float(estimator.max_norm),
    }


def _dropout_factors(estimator):
    """Factors of the dropout rates over the epochs; None if they are constant."""
    if estimator.dropout_schedule == "constant":
        return None
    if estimator.dropout_type == "concrete":
        raise ValueError(
            f"dropout_schedule={estimator.dropout_schedule!r} changes rates that dropout_type="
            "'concrete' learns. Use dropout_schedule='constant'."
        )
    return rate_factors(estimator.dropout_schedule, int(estimator.max_iter))


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


def check_noise(learner, X):
    """Refuse noise on sparse rows, and warn of alpha dropout without SELU units."""
    if learner.input_noise_std and issparse(X):
        raise ValueError(
            f"input_noise_std={learner.input_noise_std!r} would make the sparse X dense. Use "
            "input_noise_std=0, input_dropout_rate, or a dense X."
        )
    if learner.dropout_type == "alpha" and learner.activation != "selu":
        has = f"activation={learner.activation!r}. Use"
        if getattr(learner, "cell", "rnn") != "rnn":
            has = f"cell={learner.cell!r} has other units. Use cell='rnn',"
        warnings.warn(
            f"dropout_type='alpha' keeps mean and variance of SELU units only, but {has} "
            "activation='selu' and weight_init='lecun_normal', or dropout_type='bernoulli'.",
            stacklevel=2,
        )


def check_loss(learner):
    """Refuse to continue with targets that were scaled for another kind of loss."""
    if learner._loss().out_activation != learner.out_activation_:
        raise ValueError(
            f"loss={learner.loss!r} scales targets differently from the loss that was "
            f"fitted. {FIT_NEW}"
        )


def make_sample(estimator, X, y, rows, weight, name="y"):
    """Rows with the targets that the network learns."""
    targets, codes = estimator._targets(y[rows], name)
    return Sample(X=X, rows=rows, targets=targets, codes=codes, weight=weight)
