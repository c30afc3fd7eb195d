"""Perceptrons that train in a compiled loop, one network at a time.

An accelerator: what it computes, the network of ``nn`` computes under autograd as well. Importing
this package does not import Numba, which takes a few tenths of a second.
"""

from functools import cache


@cache
def why_unavailable():
    """Why the compiled loop cannot be used: a sentence, or ``None`` where it can.

    A Numba that cannot be imported for whatever reason counts as missing: one that is too old for
    this NumPy, say, raises almost anything.
    """
    try:
        import numba  # noqa: F401
    except Exception as error:
        return f"Numba cannot be imported: {type(error).__name__}: {error}"
    return None
