"""What a check does with its input, for comparisons of two checks."""

import warnings


def outcome(check, given):
    """What a check returns and what it warns of, or how it refuses.

    Parameters
    ----------
    check : callable (given) -> object that can be compared
    given : object

    Returns
    -------
    found : object, or str of the error
    messages : list of str
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = check(given)
        except (TypeError, ValueError) as error:
            found = str(error)
    return found, [str(warning.message) for warning in caught]
