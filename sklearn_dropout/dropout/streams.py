"""From one integer to independent streams of random numbers.

Each use of randomness in a fit has a stream of its own, so that whether a network drops inputs
changes neither its batches nor the masks of its hidden layers.
"""

from enum import IntEnum
from functools import lru_cache

import numpy as np
import torch


class Use(IntEnum):
    """What a stream is for; changing the numbers changes the networks of a seed."""

    WEIGHTS = 0
    SPLIT = 1
    ORDER = 2
    INPUT = 3
    GROUPS = 4
    HIDDEN = 5
    CONV = 6
    RECURRENT = 7
    EMBEDDING = 8
    NOISE = 9


def bits(seed, use, n_epochs=0):
    """NumPy bit generator of one use of a seed, from the given epoch on."""
    return np.random.SFC64(_sequence(seed, int(use), n_epochs))


@lru_cache(256)
def _sequence(seed, *key):
    """Entropy of one use of a seed; making it takes longer than making its generator."""
    return np.random.SeedSequence(seed, spawn_key=key)


def generator(seed, use, n_epochs=0):
    """NumPy generator of one use of a seed, from the given epoch on."""
    return np.random.Generator(bits(seed, use, n_epochs))


class Streams:
    """The streams of one training run, each made at its first use.

    Parameters
    ----------
    seed : int
    n_epochs : int, default=0
        Epochs of earlier runs, so that random numbers are not used twice.
    """

    def __init__(self, seed, n_epochs=0):
        self.key = seed, n_epochs
        self._sources = {}
        self._states = {}

    def get_state(self):
        """State of the streams, in numbers, strings and arrays that every format can save."""
        states = {use.name: _state_of(source) for use, source in self._sources.items()}
        return {"key": list(self.key), "states": self._states | states}

    @classmethod
    def from_state(cls, state):
        """Streams that continue from what `get_state` returned."""
        streams = cls(*state["key"])
        streams._states = dict(state["states"])
        return streams

    def order(self):
        """Generator of the order of rows."""
        if Use.ORDER not in self._sources:
            seed, n_epochs = self.key
            self._sources[Use.ORDER] = generator(seed, Use.ORDER, n_epochs)
            self._resume(Use.ORDER)
        return self._sources[Use.ORDER]

    def masks(self, use, device):
        """Source of mask bits: NumPy's on the CPU, the device's own elsewhere."""
        if use not in self._sources:
            seed, n_epochs = self.key
            source = bits(seed, use, n_epochs)
            if torch.device(device).type != "cpu":
                source = torch.Generator(device).manual_seed(int(source.random_raw()) >> 1)
            self._sources[use] = source
            self._resume(use)
        return self._sources[use]

    def _resume(self, use):
        """Restore the state of a new source, unless that state is of another kind of device."""
        state, source = self._states.pop(use.name, None), self._sources[use]
        if isinstance(source, torch.Generator):
            if isinstance(state, np.ndarray):
                source.set_state(torch.from_numpy(state.copy()))
        elif isinstance(state, dict):
            _bit_generator(source).state = state


def _bit_generator(source):
    return source.bit_generator if isinstance(source, np.random.Generator) else source


def _state_of(source):
    """State of a NumPy generator as a dict, of one of PyTorch as an array."""
    if isinstance(source, torch.Generator):
        return source.get_state().numpy()
    return _bit_generator(source).state
