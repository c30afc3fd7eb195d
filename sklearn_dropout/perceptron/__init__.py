"""Perceptrons that train in a compiled loop, one network at a time.

An accelerator: the modules of ``nn`` train to the same networks under autograd. Importing this
package does not import Numba, which takes a few tenths of a second.
"""

from functools import cache


@cache
def why_unavailable():
    """Why the compiled loop cannot be used: a sentence, or ``None`` if it can.

    Numba counts as missing if its import fails for any reason; a version that is too old for the
    installed NumPy may raise almost any error.
    """
    try:
        import numba  # noqa: F401
    except Exception as error:
        return f"Numba cannot be imported: {type(error).__name__}: {error}"
    return None
