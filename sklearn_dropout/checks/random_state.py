"""From ``random_state`` to one integer."""

from numbers import Integral

import numpy as np

_MAX_SEED = np.iinfo(np.int32).max
_LARGEST_SEED = np.iinfo(np.uint32).max


def seed_from(random_state):
    """One integer seed, itself a valid ``random_state``; ``None`` takes fresh entropy.

    NumPy's global generator is left alone.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(_MAX_SEED))
    if not (isinstance(random_state, Integral) and 0 <= random_state <= _LARGEST_SEED):
        raise ValueError(
            f"random_state={random_state!r} must be an int from 0 to {_LARGEST_SEED}, a "
            "numpy.random.RandomState or None."
        )
    return int(random_state)
