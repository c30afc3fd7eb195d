"""Dropout masks from integer bits.

A mask costs what its random numbers cost. Uniform floats and Bernoulli draws are scalar work on
most processors; 64-bit words are not, and one word holds four 16-bit lanes, each of which decides
about one unit: compared in place with a threshold, it becomes the 0 or 1 of the mask. A rate is
therefore rounded to a multiple of 1 / 65536, and kept units are scaled by the inverse of the
fraction that is kept *exactly*, so the expectation has no bias. Masks made from integers are also
the same on every platform, which those of ``torch.nn.Dropout`` are not.

References
----------
Srivastava, N. et al. (2014). "Dropout: A simple way to prevent neural networks from overfitting."
JMLR 15, section 4 (the model) and section 10 (scaling at training time).
"""

from functools import lru_cache
from itertools import accumulate

import numpy as np
import torch

from .levels import LEVELS, dropped_levels, inverse_kept_fraction


def random_lanes(n_lanes, source, device="cpu"):
    """Draw independent 16-bit integers, uniform over all 65536 values.

    Parameters
    ----------
    n_lanes : int
        How many; rounded up to a multiple of four, one 64-bit word.
    source : numpy.random.BitGenerator, torch.Generator or None
        ``None`` is PyTorch's global generator. A ``BitGenerator`` of 64-bit words (any but
        MT19937) costs half of what a ``torch.Generator`` costs on the CPU.
    device : torch device, default="cpu"
        Where to draw, with a torch source.

    Returns
    -------
    lanes : int16 tensor of shape (4 * ceil(n_lanes / 4),)
    """
    n_words = -(-n_lanes // 4)
    if isinstance(source, np.random.BitGenerator) and n_words:
        return torch.from_numpy(source.random_raw(n_words).view(np.int16))
    words = torch.empty(n_words, dtype=torch.int64, device=device)
    if n_words:
        words.random_(-(2**63), None, generator=source)
    return words.view(torch.int16)


@lru_cache
def _threshold_and_scale(rate):
    """Lowest value of a lane that means "keep", and the factor of kept units."""
    return int(dropped_levels(rate)) - LEVELS // 2, float(inverse_kept_fraction(rate))


def factors(lanes, rate, dtype):
    """Factors of units: 0 if dropped, 1 / (1 - rate) if kept.

    Parameters
    ----------
    lanes : int16 tensor
        Not changed.
    rate : float
    dtype : torch dtype

    Returns
    -------
    factors : tensor of `dtype`, of the shape of `lanes`
    """
    # A comparison into booleans takes several times as long on a CPU.
    lowest, scale = _threshold_and_scale(float(rate))
    kept = torch.ge(lanes, lowest, out=torch.empty_like(lanes))
    return kept.to(dtype).mul_(scale)


def draw_lanes(widths, n_steps, bits):
    """Lanes of neighbouring sites for several steps, each of which begins at a new word.

    Parameters
    ----------
    widths : sequence of int
        Lanes that each site takes in a step.
    n_steps : int
    bits : numpy.random.BitGenerator or torch.Generator

    Returns
    -------
    lanes : tuple of int16 tensors of shape (n_steps, width), one for each site
    """
    sizes = [*widths, -sum(widths) % 4]
    drawn = random_lanes(n_steps * sum(sizes), bits)
    return drawn.view(n_steps, sum(sizes)).split(sizes, 1)[:-1]


class MaskSource:
    """Masks of neighbouring dropout sites, such as all hidden layers, step after step.

    The masks of all sites are drawn together when the first one is needed in a step. So the mask of
    a site depends neither on the rates of the others nor on the order of use, and is the same when
    used again in the same step.

    Parameters
    ----------
    widths : sequence of int
        Units that each site decides about.
    n_rows : int
        Rows of a full batch; a smaller one uses the first of them.
    bits : numpy.random.BitGenerator or torch.Generator
    device : torch device, default="cpu"
        Of the masks.
    """

    def __init__(self, widths, n_rows, bits, device="cpu"):
        self.n_rows = n_rows
        *self._starts, self._size = accumulate((n_rows * width for width in widths), initial=0)
        self._widths = widths
        self._bits = bits
        self._device = device
        self._lanes = None

    def next_step(self):
        """Forget the masks of this step."""
        self._lanes = None

    def lanes(self, site):
        """Lanes of one site in this step: int16 tensor of shape (n_rows, width)."""
        if self._lanes is None:
            self._lanes = random_lanes(self._size, self._bits, self._device)
        start, width = self._starts[site], self._widths[site]
        return self._lanes.as_strided((self.n_rows, width), (width, 1), start)


class PassSource:
    """Masks of stochastic passes, one for all rows of a pass.

    Parameters
    ----------
    lanes : sequence of int16 tensors of shape (n_samples, width), one for each site

    Attributes
    ----------
    passes : slice or int64 tensor
        The pass of each row of a batch; a single pass is broadcast.
    """

    def __init__(self, lanes):
        self._lanes = lanes
        self.passes = slice(0, 1)

    def lanes(self, site):
        """Lanes of one site, as in `MaskSource`."""
        return self._lanes[site][self.passes]
