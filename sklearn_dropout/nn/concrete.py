"""Concrete dropout: the rate is a parameter, learned with the weights."""

import math
from numbers import Real

import torch
from torch import nn

from ..dropout.levels import LEVELS
from .layers import Dropout

# Gal, Hron & Kendall 2017, section 3: masks are nearly 0 or 1.
_TEMPERATURE = 0.1


class ConcreteDropout(Dropout):
    """Drops single elements, with a rate that is learned.

    Masks are a continuous relaxation of Bernoulli's, so that the loss has a derivative by the rate
    [1]_ (eq. 5). Add `regularizer` to the loss, or the rate will fall to zero.

    Parameters
    ----------
    rate : float, default=0.5
        Rate to start from, in (0, 1).
    generator : torch.Generator, default=None
        Source of randomness, on the device of the inputs; ``None`` is PyTorch's global one.
    variational : bool, default=False
        Whether sequences, (n_samples, n_steps, n_channels), have one mask for all steps.

    Attributes
    ----------
    logit : nn.Parameter
        Logarithm of rate / (1 - rate).

    Notes
    -----
    Inputs and outputs are tensors of the same shape, which may be any. In evaluation mode nothing
    happens.

    References
    ----------
    .. [1] Gal, Y., Hron, J., Kendall, A. (2017). "Concrete dropout." NeurIPS 30.

    Examples
    --------
    >>> import torch
    >>> from sklearn_dropout.nn import ConcreteDropout
    >>> layer = ConcreteDropout(0.2, generator=torch.Generator().manual_seed(0))
    >>> x = layer(torch.ones(100, 100))
    >>> round(float(x.detach().mean()), 1), round(layer.rate, 3)
    (1.0, 0.2)
    >>> x.mean().backward()
    >>> layer.logit.grad is not None
    True
    """

    place = None

    def __init__(self, rate=0.5, generator=None, variational=False):
        nn.Module.__init__(self)
        self.logit = nn.Parameter(torch.zeros(()))
        self.rate = rate
        self.generator = generator
        self.variational = variational
        self.tie(None)

    @property
    def rate(self):
        """Fraction dropped at present."""
        return 1 / (1 + math.exp(-float(self.logit.detach())))  # inverts the logit exactly

    @rate.setter
    def rate(self, rate):
        if not isinstance(rate, Real):
            raise TypeError(f"rate={rate!r} must be a number in (0, 1).")
        if not 0 < rate < 1:
            raise ValueError(
                f"rate={rate!r} is outside (0, 1). It is the fraction of units dropped to start "
                "from."
            )
        with torch.no_grad():
            self.logit.fill_(math.log(rate) - math.log1p(-rate))

    @property
    def active(self):
        """Whether the layer is in training mode."""
        return self.training

    def extra_repr(self):
        """Arguments shown in the representation."""
        return f"rate={self.rate:.3g}"

    def _perturb(self, x, shape):
        if self.variational and x.dim() == 3:
            shape = (x.shape[0], 1, x.shape[2])
        lanes = self._lanes(shape, x).to(x.dtype)
        uniform = (lanes + (LEVELS // 2 + 0.5)) / LEVELS
        logit = self.logit.to(x.dtype)
        dropped = torch.sigmoid((logit + torch.logit(uniform)) / _TEMPERATURE)
        return x * ((1 - dropped) / (1 - torch.sigmoid(logit)))

    def regularizer(self, weights, alpha, entropy):
        r"""Penalty that balances the rate, as a scalar tensor.

        :math:`\frac{\alpha}{2 (1 - p)} \|W\|^2 - \epsilon K H(p)` for a rate p, weights W that
        follow the dropout, and K units, with the entropy H of a mask [1]_ (eq. 3, 4).

        Parameters
        ----------
        weights : list of tensors
            Of the next layer.
        alpha, entropy : float
            Strength of the two parts. In the paper's terms, for a loss that is a mean negative
            log-likelihood over N rows, they are the squared length scale and 1, over N.

        References
        ----------
        .. [1] Gal, Y., Hron, J., Kendall, A. (2017). "Concrete dropout." NeurIPS 30.
        """
        rate = torch.sigmoid(self.logit)
        squares = sum(weight.square().sum() for weight in weights)
        n_units = weights[0].shape[1]
        log, log_kept = torch.nn.functional.logsigmoid(torch.stack([self.logit, -self.logit]))
        bits = -(rate * log + (1 - rate) * log_kept)
        return 0.5 * alpha * squares / (1 - rate) - entropy * n_units * bits


def concrete_layers(module):
    """Layers of a network with learned rates, each with the weights after it.

    Returns
    -------
    pairs : list of (ConcreteDropout, list of nn.Parameter)
    """
    pairs, waiting = [], None
    for layer in module.modules():
        if isinstance(layer, ConcreteDropout):
            waiting = layer
        elif waiting is not None and not list(layer.children()):
            names = [n for n, p in layer.named_parameters() if p.dim() > 1]
            names = [n for n in names if not n.startswith("weight_hh")]
            if names:
                pairs.append((waiting, [getattr(layer, name) for name in names]))
                waiting = None
    return pairs
