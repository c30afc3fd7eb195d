"""Loss and score of a network on rows, with dropout off."""

import numpy as np
import torch

from ..nn.losses import OUT_ACTIVATIONS
from ..nn.training import noise_sums


class Evaluator:
    """Loss and score of a network in training on a sample.

    Parameters
    ----------
    sample : Sample
    loss : Loss
    score : key of SCORES, or None
    with_loss : bool, default=True
    """

    def __init__(self, sample, loss, score=None, with_loss=True):
        self.sample = sample
        self.loss = loss
        self.score = score
        self.with_loss = with_loss
        self._y = sample.answers()
        self._weight, self._total_weight = sample.shares()

    def __call__(self, training):
        """Evaluate the network as it is now.

        Parameters
        ----------
        training : PerceptronTraining or ModuleTraining

        Returns
        -------
        loss, score : float, or None if not computed
            Weighted means over the rows.
        """
        z = self._outputs(training)
        loss = score = None
        if self.with_loss:
            loss = float((self.loss.rows(z, self._y) * self._weight).sum())
        if self.score is not None:
            prediction = OUT_ACTIVATIONS[self.loss.out_activation](z)
            score = float(SCORES[self.score](prediction, self._y, self._weight))
        return loss, score

    def _outputs(self, training):
        return torch.as_tensor(training.outputs(self.sample.X, self.sample.rows))

    def noise_sums(self, training):
        """Weighted sums as `noise` takes them, around the outputs with dropout off."""
        mean = OUT_ACTIVATIONS[self.loss.out_activation](self._outputs(training))
        return noise_sums(mean, self._y, self._weight) * self._total_weight


def noise(loss, sums, total_weight):
    """Variance of targets around outputs: weighted mean squared residual.

    With ``loss="poisson"`` it is the dispersion, the variance as a multiple of the mean: a ratio
    of sums, since Pearson's statistic is unstable for small means.

    Parameters
    ----------
    loss : Loss
    sums : float64 ndarray of shape (2, n_outputs)
        Weighted sums of squared residuals and of means.
    total_weight : float
        Sum of the weights.

    Returns
    -------
    noise : float64 ndarray of shape (n_outputs,)
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[0] / (sums[1] if loss.noise == "mean" else total_weight)


def accuracy(prediction, y, weight):
    """Fraction of the rows whose outputs are all correct.

    Parameters
    ----------
    prediction, y : tensors of shape (n_rows, n_outputs)
        Logistic outputs: one for two classes, or one for each label. Targets are above zero if the
        row has the class or label.
    weight : tensor of shape (n_rows,)
        Sums to one over the rows.
    """
    right = (prediction > 0.5) == (y > 0)
    return _share(right.all(-1), weight)


def top_class_accuracy(prediction, y, weight):
    """Fraction of the rows whose most probable class is correct; shapes as for `accuracy`."""
    right = prediction.argmax(-1) == y.argmax(-1)
    return _share(right, weight)


def _share(right, weight):
    """Weighted fraction of correct rows, in double precision: equal fractions compare equal."""
    weight = weight.double()
    return (right * weight).sum() / weight.sum()


def r2(prediction, y, weight):
    """Coefficient of determination, averaged over the outputs; shapes as for `accuracy`."""
    weight, y = weight[:, None], y[:, : prediction.shape[1]]
    residual = (weight * (y - prediction).square()).sum(0)
    spread = (weight * (y - (weight * y).sum(0)).square()).sum(0)
    value = 1.0 - residual / spread
    # A constant target: 1 for a perfect prediction, else 0, as sklearn.metrics.r2_score.
    constant = (y == y[:1]).all(0)
    value = torch.where(constant, (residual == 0).to(value.dtype), value)
    return value.mean()


SCORES = {"accuracy": accuracy, "top_class_accuracy": top_class_accuracy, "r2": r2}
