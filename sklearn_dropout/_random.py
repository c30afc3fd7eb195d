"""From ``random_state`` to independent streams of random numbers.

Each use of randomness in a fit has a stream of its own, so that whether a network drops inputs
changes neither its batches nor the masks of its hidden layers. That is what lets networks with
different dropout rates train as one stack and still equal single fits.
"""

from enum import IntEnum

import numpy as np
import torch
from sklearn.utils import check_random_state

_MAX_SEED = np.iinfo(np.int32).max


class Use(IntEnum):
    """What a stream is for; the numbers are part of what a seed means."""

    WEIGHTS = 0
    SPLIT = 1
    ORDER = 2
    INPUT = 3
    GROUPS = 4
    HIDDEN = 5


def seed_from(random_state):
    """One integer seed; ``None`` takes fresh entropy and leaves NumPy's global generator alone."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(_MAX_SEED))
    check_random_state(random_state)
    return int(random_state)


def bits(seed, use, n_epochs=0):
    """NumPy bit generator of one use of a seed, from the given epoch on."""
    return np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(int(use), n_epochs)))


def generator(seed, use, n_epochs=0):
    """NumPy generator of one use of a seed, from the given epoch on."""
    return np.random.Generator(bits(seed, use, n_epochs))


def mask_bits(seed, use, n_epochs, device):
    """Source of mask bits: NumPy's on the CPU, the device's own elsewhere."""
    source = bits(seed, use, n_epochs)
    if torch.device(device).type == "cpu":
        return source
    return torch.Generator(device).manual_seed(int(source.random_raw()) >> 1)


def distinct(keys):
    """Each key once, in order of appearance, and the place of every key among them.

    Networks with the same key share a stream.
    """
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return list(places), [places[key] for key in keys]
