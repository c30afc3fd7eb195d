"""Dropout masks from integer bits, for many networks and many training steps at once.

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

import numpy as np
import torch

LEVELS = 1 << 16
_LOWEST_LANE = -(1 << 15)


def dropped_levels(rates):
    """Number of the 65536 values of a lane that mean "drop", for rates in [0, 1)."""
    levels = np.rint(np.asarray(rates, dtype=np.float64) * LEVELS)
    return np.minimum(levels, LEVELS - 1).astype(np.int64)


def inverse_kept_fraction(rates):
    """Factor that keeps a dropped layer unbiased: 1 / (1 - rate), for the rate as rounded."""
    return LEVELS / (LEVELS - dropped_levels(rates))


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
        words = torch.from_numpy(source.random_raw(n_words).view(np.int64))
    else:
        words = torch.empty(n_words, dtype=torch.int64, device=device)
        if n_words:
            words.random_(-(2**63), None, generator=source)
    return words.view(torch.int16)


class MaskSource:
    """Masks of neighbouring dropout sites, such as all hidden layers, for a stack of networks.

    Networks on one stream see the same bits, each compared with its own rate. All sites are drawn
    together or not at all, and each step starts at a new word of the stream. So a network's masks
    depend neither on the other networks of the stack nor on how many steps are drawn at once.

    Parameters
    ----------
    rates : array-like of shape (n_networks, n_sites)
        Fraction dropped by each network at each site.
    widths : sequence of int, length n_sites
        Units that each site decides about.
    n_rows : int
        Rows of a batch.
    streams : list of numpy.random.BitGenerator or torch.Generator
        Sources of bits.
    stream_of_network : int64 tensor of shape (n_networks,)
        The stream each network reads.
    device : torch device, default="cpu"
        Of the masks.

    Attributes
    ----------
    scales : ndarray of shape (n_sites, n_networks)
        What kept units are to be multiplied by: 1 / (1 - rate).
    drops : list of bool
        Whether any network drops anything at each site.
    """

    def __init__(self, rates, widths, n_rows, streams, stream_of_network, device="cpu"):
        rates = np.asarray(rates, dtype=np.float64)
        self.drops = (dropped_levels(rates) > 0).any(axis=0).tolist()
        self.streams = streams
        self.stream_of_network = stream_of_network
        self.device = device
        self.scales = inverse_kept_fraction(rates).T
        self._shapes = [(-1, len(rates), n_rows, width) for width in widths]
        self._sizes = [n_rows * width for width in widths]
        padding = -sum(self._sizes) % 4
        if padding:
            self._sizes.append(padding)
        lowest_kept = torch.from_numpy(dropped_levels(rates) + _LOWEST_LANE)
        self._lowest_kept = self._per_lane(lowest_kept.to(device=device, dtype=torch.int16))

    @classmethod
    def of_one(cls, rates, widths, n_rows, stream, device="cpu"):
        """Masks of one network, with rates of shape (n_sites,)."""
        only = torch.zeros(1, dtype=torch.int64, device=device)
        return cls(rates[None], widths, n_rows, [stream], only, device)

    def _per_lane(self, values):
        """Spread (n_networks, n_sites) over the lanes of a step, unless all sites agree."""
        if values.shape[1] == 0 or bool((values == values[:, :1]).all()):
            return values[:, :1]
        if len(self._sizes) > values.shape[1]:
            values = torch.cat([values, values[:, -1:]], dim=1)
        return values.repeat_interleave(torch.tensor(self._sizes, device=self.device), dim=1)

    def draw(self, n_steps):
        """Masks of the next steps: 0 where dropped, 1 where kept.

        Returns
        -------
        masks : list of int16 tensors of shape (n_steps, n_networks, n_rows, width), or None
            One entry for each site; None where no network drops anything.
        """
        if not any(self.drops):
            return [None] * len(self.drops)
        per_step = sum(self._sizes)
        lanes = [random_lanes(n_steps * per_step, s, self.device) for s in self.streams]
        if len(lanes) == len(self._lowest_kept) == 1:
            lanes = lanes[0].view(n_steps, 1, per_step)
        else:
            lanes = torch.stack(lanes).view(-1, n_steps, per_step).transpose(0, 1)
            lanes = lanes.index_select(1, self.stream_of_network)
        sites = lanes.ge_(self._lowest_kept).split(self._sizes, -1)
        return [
            mask.view(shape) if drops else None
            for mask, shape, drops in zip(sites, self._shapes, self.drops)
        ]
