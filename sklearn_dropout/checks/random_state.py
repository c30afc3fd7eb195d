"""From ``random_state`` to one integer."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state

_MAX_SEED = np.iinfo(np.int32).max
_LARGEST_SEED = np.iinfo(np.uint32).max


def seed_from(random_state):
    """One integer seed; ``None`` takes fresh entropy and leaves NumPy's global generator alone."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(_MAX_SEED))
    if not (isinstance(random_state, Integral) and 0 <= random_state <= _LARGEST_SEED):
        check_random_state(random_state)  # which says what is wrong
    return int(random_state)
