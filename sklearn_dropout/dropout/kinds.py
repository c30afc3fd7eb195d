"""Kinds of dropout: the factor and the summand of each unit.

Each kind makes its noise from the same 16-bit lanes, one for each unit. So a seed has the same
streams whatever the kind, and both engines read them in the same order.

References
----------
Gaussian: Srivastava, N. et al. (2014). "Dropout: A simple way to prevent neural networks from
overfitting." JMLR 15, section 10. Alpha: Klambauer, G., Unterthiner, T., Mayr, A., Hochreiter, S.
(2017). "Self-normalizing neural networks." NeurIPS 30.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from .levels import (
    LEVELS,
    NORMAL_BITS,
    SELU_FLOOR,
    alpha_terms,
    dropped_levels,
    gaussian_std,
    normal_numbers,
)
from .masks import draw_lanes, factors


@lru_cache
def _table(dtype, device):
    return torch.from_numpy(normal_numbers()).to(device, dtype)


def normals(lanes, dtype):
    """Normal numbers from lanes, an int16 tensor: a tensor of `dtype` with the same shape."""
    places = (lanes.to(torch.int32) + LEVELS // 2) >> (16 - NORMAL_BITS)  # the upper bits
    return _table(dtype, lanes.device)[places]


def _bernoulli(lanes, rate, dtype):
    return factors(lanes, rate, dtype), None


def _gaussian(lanes, rate, dtype):
    return normals(lanes, dtype).mul_(float(gaussian_std(rate))).add_(1.0), None


def _alpha(lanes, rate, dtype):
    a, b = (float(term) for term in alpha_terms(rate))
    kept = factors(lanes, rate, dtype) > 0
    addend = torch.full_like(lanes, a * SELU_FLOOR + b, dtype=dtype).masked_fill_(kept, b)
    return kept.to(dtype).mul_(a), addend


@dataclass(frozen=True)
class Kind:
    """A kind of dropout.

    Attributes
    ----------
    noise : callable (lanes, rate, dtype) -> (multiplier, addend or None)
        Tensors of the shape of `lanes`.
    everywhere : bool
        Whether inputs, groups, feature maps and recurrent connections have this kind too, rather
        than Bernoulli dropout.
    """

    noise: object
    everywhere: bool


KINDS = {
    "bernoulli": Kind(_bernoulli, everywhere=True),
    "gaussian": Kind(_gaussian, everywhere=True),
    "alpha": Kind(_alpha, everywhere=False),
    "concrete": Kind(_bernoulli, everywhere=False),  # after training
}


# Places that have every kind of dropout.
_HIDDEN = "hidden", "elements"


@dataclass(frozen=True)
class DropoutSettings:
    """Where a network drops, how much, and how.

    Attributes
    ----------
    rates : dict of ndarrays
        Dropout rates of each kind of place: of inputs, groups, hidden units and so on.
    dropout_type : key of KINDS
    input_noise_std : float
        Of normal noise that is added to the inputs.
    block_size : int
        Side of the blocks in which elements of feature maps are dropped.
    """

    rates: dict
    dropout_type: str = "bernoulli"
    input_noise_std: float = 0.0
    block_size: int = 1

    def of_passes(self):
        """Settings of stochastic passes: no noise on the inputs, and Bernoulli for concrete."""
        kind = "bernoulli" if self.learns_rates else self.dropout_type
        return replace(self, dropout_type=kind, input_noise_std=0.0)

    @property
    def learns_rates(self):
        """Whether rates are parameters of the network."""
        return self.dropout_type == "concrete"

    def as_tuple(self):
        """Plain values, which every format can save."""
        return self.rates, self.dropout_type, self.input_noise_std, self.block_size

    def kind_of(self, place):
        """Which kind of dropout a place has."""
        everywhere = KINDS[self.dropout_type].everywhere
        return self.dropout_type if place in _HIDDEN or everywhere else "bernoulli"

    def drops(self, place):
        """Whether a place has any dropout."""
        return bool(dropped_levels(self.rates[place]).any())

    def needs(self, place):
        """Whether a place needs random numbers; ``"noise"`` stands for noise on the inputs."""
        return self.input_noise_std > 0 if place == "noise" else bool(self.rates[place].any())


def draw_passes(widths, dropout, place, n_samples, bits):
    """Noise of stochastic passes, the same for all rows of a pass.

    Parameters
    ----------
    widths : sequence of int
        Units of each site.
    dropout : DropoutSettings
    place : str
        Kind of the sites, a key of its rates.
    n_samples : int
        Passes.
    bits : numpy.random.BitGenerator

    Returns
    -------
    noise : list of (multiplier, addend or None), or None without dropout
        float64 tensors of shape (n_samples, width).
    """
    rates, noise = dropout.rates[place], KINDS[dropout.kind_of(place)].noise
    if not dropout.drops(place):
        return [None] * len(rates)
    sites = zip(draw_lanes(widths, n_samples, bits), rates)
    return [
        noise(lanes, rate, torch.float64) if dropped_levels(rate) else None for lanes, rate in sites
    ]
