"""From the arguments of `fit` to a problem that the training loop can solve."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from ._problem import Problem, Recipe
from ._random import Use, bits, seed_from
from ._samples import Sample
from ._scoring import epoch_scores
from ._validation import check_device, check_solver, check_weights, merge_equal_rows

_AUTO_BATCH_SIZE = 200


@dataclass
class Prepared:
    """A fit that is ready to run.

    Attributes
    ----------
    problem : Problem
    recipe : Recipe
    rates : dict of ndarrays
        Dropout rates of each kind of place.
    loss : str
        Key of ``nn._losses.LOSSES``.
    parameters : (weights, biases) or None
        To start from; ``None`` draws new ones.
    partial, continues : bool
        Whether this is one epoch of `partial_fit`; whether it goes on from an earlier call.
    history : skorch History, default=None
        Filled by callbacks.
    """

    problem: Problem
    recipe: Recipe
    rates: dict
    loss: str
    parameters: tuple | None
    partial: bool
    continues: bool
    history: object = None


def prepare(estimator, X, y, sample_weight, validation, *, partial=False, classes=None):
    """Check parameters and data, and make the problem of one network.

    Writes what is learned from the data alone (classes, scales) to `estimator`.

    Parameters
    ----------
    estimator : DropoutNetwork
    X, y, sample_weight : as in `fit`
    validation : tuple (X_val, y_val, sample_weight_val)
    partial : bool, default=False
        One epoch that continues the last call.
    classes : array-like, default=None
        For the first call of `partial_fit`.

    Returns
    -------
    prepared : Prepared
    """
    recipe = make_recipe(estimator, partial)
    rates = estimator._rates()
    check_arguments(estimator, validation, partial)
    continues = (partial or estimator.warm_start) and estimator.__sklearn_is_fitted__()
    X, y = estimator._validate(X, y, reset=not continues)
    estimator._activation, estimator._dropout_rates = estimator.activation, rates
    estimator._check_features(X)
    y = estimator._encode(y, continues, partial, classes)
    weight = check_weights(sample_weight, X)
    weight = estimator._row_weights(weight, y, partial)
    rows = np.arange(X.shape[0]) if weight is None else np.flatnonzero(weight)
    weight = None if weight is None else weight[rows]
    rows, weight = merge_equal_rows(X, y, rows, weight, recipe.batch_size)
    seed = seed_from(estimator.random_state)
    (X_val, y_val, _), held_out = validation, None
    if recipe.early_stopping and X_val is None:
        rows, weight, held_out = hold_out(estimator, y, rows, weight, seed)
    estimator._fit_target(y[rows], weight, continues, partial)

    train = make_sample(estimator, X, y, rows, weight)
    valid = None
    if held_out is not None:
        valid = make_sample(estimator, X, y, *held_out)
    elif X_val is not None:
        X_val, y_val, *kept = validation_rows(estimator, *validation)
        valid = make_sample(estimator, X_val, y_val, *kept)
    return describe(estimator, recipe, rates, train, valid, seed, partial, continues)


def describe(estimator, recipe, rates, train, valid, seed, partial, continues):
    """Put the parts of a fit together: see `prepare`."""
    score, scorers = epoch_scores(estimator, train, valid)
    problem = Problem(
        train=train,
        valid=valid,
        seed=seed,
        learning_rate_init=float(estimator.learning_rate_init),
        alpha=float(estimator.alpha),
        max_norm=np.inf if estimator.max_norm is None else float(estimator.max_norm),
        score=score,
        scorers=scorers,
    )
    parameters = None
    if continues:
        parameters = estimator._parameters
        problem.n_epochs_before = len(estimator.loss_curve_)
        problem.n_seen_before = estimator.t_
        problem.optimizer_state = estimator._optimizer_state if partial else None
    return Prepared(
        problem=problem,
        recipe=recipe,
        rates=rates,
        loss=estimator._loss_name(),
        parameters=parameters,
        partial=partial,
        continues=continues,
    )


def make_recipe(estimator, partial):
    """The parameters that all networks of a stack share, checked."""
    check_solver(estimator.solver)
    batch_size = estimator.batch_size
    return Recipe(
        batch_size=_AUTO_BATCH_SIZE if batch_size == "auto" else int(batch_size),
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


def check_arguments(estimator, validation, partial):
    """Refuse arguments and parameters that do not go together."""
    X_val, y_val, sample_weight_val = validation
    if (X_val is None) != (y_val is None):
        given, missing = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
        raise ValueError(f"{given} is given but {missing} is None: pass both or neither.")
    if sample_weight_val is not None and X_val is None:
        raise ValueError("sample_weight_val is given but X_val is None: pass X_val and y_val too.")
    if partial and estimator.early_stopping:
        raise ValueError(
            "partial_fit does not support early_stopping=True: a single epoch has nothing to stop."
        )


def hold_out(estimator, y, rows, weight, seed):
    """Split rows into training and validation, stratified by class where there is one.

    Returns
    -------
    rows, weight : of the training rows
    held_out : tuple (rows, weight) of the validation rows
    """
    try:
        train, valid = train_test_split(
            np.arange(len(rows)),
            test_size=estimator.validation_fraction,
            stratify=y[rows] if estimator._stratifies and y.ndim == 1 else None,
            random_state=int(bits(seed, Use.SPLIT).random_raw()) >> 33,
        )
    except ValueError as error:
        raise ValueError(
            f"early_stopping=True cannot hold out validation_fraction="
            f"{estimator.validation_fraction!r} of {len(rows)} rows: {error} "
            "Pass X_val and y_val, or use early_stopping=False."
        ) from error
    if len(valid) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' (now "
            f"{estimator.validation_fraction!r}) or the size of your dataset ({len(rows)} rows)."
        )
    parts = [(rows[part], None if weight is None else weight[part]) for part in (train, valid)]
    return *parts[0], parts[1]


def validation_rows(estimator, X_val, y_val, sample_weight_val):
    """Check a validation set: X, y, and the rows that have a weight with their weights."""
    X_val, y_val = estimator._validate(X_val, y_val, reset=False)
    y_val = estimator._encode_more(y_val, "y_val")
    weight = check_weights(sample_weight_val, X_val, "sample_weight_val")
    rows = np.arange(X_val.shape[0]) if weight is None else np.flatnonzero(weight)
    return X_val, y_val, rows, None if weight is None else weight[rows]


def make_sample(estimator, X, y, rows, weight):
    """Rows with the targets that the network learns."""
    targets, codes = estimator._targets(y[rows])
    return Sample(X=X, rows=rows, targets=targets, codes=codes, weight=weight)
