"""Checks and names of skorch callbacks."""


def check_callbacks(callbacks):
    """Refuse entries of `callbacks` that skorch cannot call."""
    for entry in callbacks or ():
        named = isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str)
        if not hasattr(entry[1] if named else entry, "on_train_begin"):
            raise TypeError(
                f"callbacks={callbacks!r} has {entry!r}, which is not a skorch callback. Give a "
                "list of skorch callbacks, or of pairs (name, callback)."
            )


def named_callbacks(callbacks):
    """Pairs (name, callback): given names, or those of the classes, numbered if they repeat."""
    pairs = [c if isinstance(c, tuple) else (type(c).__name__, c) for c in callbacks or ()]
    names = [name for name, _ in pairs]
    return [
        (name if names.count(name) == 1 else f"{name}_{names[: index + 1].count(name)}", callback)
        for index, (name, callback) in enumerate(pairs)
    ]


def set_callback_params(callbacks, params):
    """Set parameters of callbacks, by names such as ``callbacks__EarlyStopping__patience``."""
    check_callbacks(callbacks)
    named = dict(named_callbacks(callbacks))
    for key, value in params.items():
        name, _, parameter = key.removeprefix("callbacks__").partition("__")
        if name not in named or not parameter:
            raise ValueError(
                f"Invalid parameter {key!r}: use callbacks__<name>__<parameter>, with the name of "
                f"one of the callbacks, which are {list(named)}."
            )
        named[name].set_params(**{parameter: value})


def check_monitors(callbacks, validated):
    """Refuse callbacks that follow the validation set if there is none.

    Parameters
    ----------
    callbacks : list of pairs (name, callback)
    validated : bool
    """
    recorded = {getattr(callback, "name", None) for _, callback in callbacks}
    for name, callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if not isinstance(monitor, str) or validated or monitor in recorded:
            continue
        if monitor.removesuffix("_best") in ("valid_loss", "valid_score"):
            raise ValueError(
                f"callbacks has {name} with monitor={monitor!r}, but there are no validation rows. "
                "Pass X_val and y_val to fit, or use early_stopping=True, or monitor "
                f"{monitor.replace('valid', 'train').replace('score', 'loss')!r}."
            )
