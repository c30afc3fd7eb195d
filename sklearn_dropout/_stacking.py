"""Training many prepared fits: those that can share a stack do."""

from collections import defaultdict

# Beyond this many activations in a step a network gains nothing from company; below, as many
# networks go together as keep the activations of a step in a core's cache.
_WIDE_NETWORK = 10_000
_STACK_VALUES = 400_000

# Parameters in which networks of a stack may differ.
STACKABLE = frozenset(
    {
        "alpha",
        "dropout_rate",
        "input_dropout_rate",
        "learning_rate_init",
        "max_norm",
        "random_state",
        "spatial_dropout_rate",
        "weight_init",
    }
)


def stack_size(n_rows, layer_sizes):
    """How many networks of one kind to train together.

    Parameters
    ----------
    n_rows : int
        Of a batch.
    layer_sizes : sequence of int
    """
    values = n_rows * sum(layer_sizes)
    return 1 if values > _WIDE_NETWORK else max(1, _STACK_VALUES // values)


def trains_alone(fit):
    """Whether a fit has something that belongs to one network: callbacks, an own optimiser, ..."""
    recipe, problem = fit.recipe, fit.problem
    return bool(
        not fit.learner._stacks
        or fit.learner.callbacks
        or problem.scorers
        or isinstance(recipe.solver, type)
        or (recipe.solver == "sgd" and recipe.learning_rate != "constant")
        or problem.training_state is not None
    )


def stack_key(fit):
    """What two fits must have in common to train in one stack."""
    if trains_alone(fit):
        return object()
    problem = fit.problem
    return (
        type(fit.learner),
        fit.recipe,
        fit.learner._stack_key(),
        fit.loss,
        problem.train.X.shape[1],
        len(problem.train.rows),
        None if problem.valid is None else len(problem.valid.rows),
        problem.train.targets.shape[1],
        problem.score,
        problem.alpha if fit.recipe.solver == "adamw" else None,
    )


def train_together(fits, progress=None):
    """Train prepared fits in as few stacks as make sense.

    Parameters
    ----------
    fits : list of Prepared
    progress : callable (n_epochs, losses), default=None
        Told how many network-epochs are done.

    Yields
    ------
    place, outcome : int, Outcome or Exception
        For each fit, not in order.
    """
    groups = defaultdict(list)
    for place, fit in enumerate(fits):
        groups[stack_key(fit)].append(place)
    for places in groups.values():
        # Networks with equal learning rates are updated together when they are neighbours.
        places.sort(key=lambda place: fits[place].problem.learning_rate_init)
        first = fits[places[0]]
        n_rows = min(first.recipe.batch_size, len(first.problem.train.rows))
        size = 1
        if len(places) > 1:
            size = stack_size(n_rows, first.learner._layer_sizes(first.problem.train))
        for start in range(0, len(places), size):
            part = places[start : start + size]
            outcomes = _train([fits[place] for place in part], progress)
            yield from zip(part, outcomes, strict=True)


def _train(fits, progress):
    """Outcomes of a stack; where it fails as a whole, of its networks one by one, or errors."""
    try:
        return fits[0].learner._train(fits, progress=progress, keep_interrupted=False)
    except Exception as error:
        if len(fits) == 1:
            return [error]
        for fit in fits:
            fit.problem.streams = fit.problem.streams.anew()
        return [_train([fit], progress)[0] for fit in fits]
