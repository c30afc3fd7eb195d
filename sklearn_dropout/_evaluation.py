"""Loss and score of a stack of networks on rows, with dropout off."""

import numpy as np
import torch

from .nn._losses import OUT_ACTIVATIONS

_MAX_VALUES = 1 << 20


class Evaluator:
    """Loss and score of every network on its sample.

    Parameters
    ----------
    network : Stack
    sample : StackedSample
    score : key of SCORES, or None
    with_loss : bool, default=True
    """

    def __init__(self, network, sample, score=None, with_loss=True):
        self.network = network
        self.sample = sample
        self.score = score
        self.with_loss = with_loss
        self._parts = None

    def __call__(self):
        """Evaluate the networks as they are now.

        Returns
        -------
        loss, score : ndarrays of shape (n_networks,), or None where not asked for
            Weighted means over the rows.
        """
        parts = [(self.network.forward(x), y, weight) for x, y, weight in self._data()]
        z, y, weight = parts[0] if len(parts) == 1 else (torch.cat(p, 1) for p in zip(*parts))
        loss = score = None
        if self.with_loss:
            loss = (self.network.loss.rows(z, y) * weight).sum(1).cpu().numpy()
        if self.score is not None:
            prediction = OUT_ACTIVATIONS[self.network.loss.out_activation](z)
            score = SCORES[self.score](prediction, y, weight).cpu().numpy()
        return loss, score

    def noise(self):
        """Noise of the targets, as `noise` has it, around the outputs with dropout off."""
        one = np.ones((1, 1))
        parts = ((self.network.forward(x), y, weight) for x, y, weight in self._data())
        return noise(
            self.network.loss, ((z[None], y[None], w[None, ..., None], one) for z, y, w in parts)
        )

    def _data(self):
        """Inputs, targets and weights in parts; a sample of one part is gathered only once."""
        if self._parts is not None:
            return self._parts
        parts = ((b.x[0], b.y[0], self._share(b)) for b in self.sample.chunks(_MAX_VALUES))
        if self.sample.n_rows * self.sample.n_features * self.sample.n_networks <= _MAX_VALUES:
            parts = self._parts = list(parts)
        return parts

    def _share(self, block):
        """Weight of each row of a block in the whole sample: (n_networks, n_rows)."""
        share = torch.as_tensor(block.total_weight[0] / self.sample.total_weight)
        share = block.weight[0, ..., 0] * share.to(block.weight)[:, None]
        return share.expand(-1, block.x.shape[2])


def noise(loss, parts):
    """Variance of targets around outputs: weighted mean squared residual.

    With ``loss="poisson"`` it is the dispersion, what that variance is as a multiple of the mean:
    a ratio of sums, since Pearson's statistic is unstable where means are small.

    Parameters
    ----------
    loss : Loss
    parts : iterable of (z, y, weight, total_weight)
        Outputs before the output function and targets, of shape (n_steps, n_networks, n_rows,
        n_outputs); weights of the rows, with a sum of one in each step; weights of the steps, an
        ndarray that broadcasts to (n_steps, n_networks).

    Returns
    -------
    noise : float64 ndarray of shape (n_networks, n_outputs)
    """
    squares = variances = 0.0
    for z, y, weight, total_weight in parts:
        mean = OUT_ACTIVATIONS[loss.out_activation](z)
        total_weight = total_weight[..., None]
        squares = squares + _sum((mean - y).square_(), weight, total_weight)
        if loss.noise == "mean":
            variances = variances + _sum(mean, weight, total_weight)
        else:
            variances = variances + total_weight.sum(0)
    return squares / variances


def _sum(values, weight, total_weight):
    """Weighted sum over steps and rows: float64 ndarray of shape (n_networks, n_outputs)."""
    return ((values * weight).sum(2).cpu().numpy() * total_weight).sum(0)


def accuracy(prediction, y, weight):
    """Share of the rows whose outputs are all right.

    Parameters
    ----------
    prediction, y : tensors of shape (n_networks, n_rows, n_outputs)
        Probabilities, and targets of zeros and ones. A single output is the second of two
        classes; of several, softmax outputs exclude each other and logistic ones do not.
    weight : tensor of shape (n_networks, n_rows)
        Sums to one over the rows.
    """
    right = (prediction > 0.5) == (y > 0.5)
    return _share(right.all(-1), weight)


def top_class_accuracy(prediction, y, weight):
    """Share of the rows whose most probable class is right; arguments as for `accuracy`."""
    right = prediction.argmax(-1) == y.argmax(-1)
    return _share(right, weight)


def _share(right, weight):
    """Weighted share of right rows, in double precision: equal shares are to be equal numbers."""
    weight = weight.double()
    return (right * weight).sum(1) / weight.expand(right.shape).sum(1)


def r2(prediction, y, weight):
    """Coefficient of determination, averaged over the outputs; arguments as for `accuracy`."""
    weight = weight[..., None]
    residual = (weight * (y - prediction).square()).sum(1)
    spread = (weight * (y - (weight * y).sum(1, keepdim=True)).square()).sum(1)
    value = 1.0 - residual / spread
    # A constant target: 1 for a perfect prediction, else 0, as sklearn.metrics.r2_score.
    constant = (y == y[:, :1]).all(1)
    value = torch.where(constant, (residual == 0).to(value.dtype), value)
    return value.mean(-1)


SCORES = {"accuracy": accuracy, "top_class_accuracy": top_class_accuracy, "r2": r2}
