"""The regressors: standard units of targets, and predictions in those of the user."""

from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d

from ..checks.validation import Interval, StrOptions
from ..fit.stages import FitCall
from ..nn.losses import LOSSES, OUT_ACTIVATIONS, mean_and_log_variance, pinball
from ..uncertainty.moments import TargetMoments
from .base import DropoutNetwork

# Predictions may be in float32, and lie somewhat outside of the targets.
_LARGEST_TARGET = 1e36
_LOSSES = {"squared_error", "absolute_error", "huber", "poisson", "gaussian", "quantile"}


@dataclass(eq=False, repr=False, kw_only=True)
class DropoutRegressor(RegressorMixin, DropoutNetwork):
    """Base of the regressors."""

    loss: str = "squared_error"
    quantile: float = 0.5

    _parameter_constraints = {
        **DropoutNetwork._parameter_constraints,
        "loss": [StrOptions(_LOSSES)],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
    }
    _numeric_target = True
    _stratifies = False
    _default_scoring = "r2"
    # Value of each column of targets that has not varied so far, NaN for the others.
    _target_constant = None

    def partial_fit(self, X, y, sample_weight=None):
        """Continue training for one epoch on the given rows.

        Calling it `max_iter` times on the same rows gives the same network as one `fit`. After
        `fit` the optimiser starts with a new state, since `fit` does not keep it.

        The first call with targets that vary fixes their scale. Until then the prediction is their
        single value.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Training inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss.

        Returns
        -------
        self : object
            The estimator after one more epoch.
        """
        return self._fit(FitCall(X, y, sample_weight, partial=True))

    def _encode(self, y, continues, partial, classes):
        """Targets as float64 of shape (n_samples, n_outputs)."""
        if continues:
            return self._encode_more(y, "y")
        return self._as_columns(y, "y")

    def _encode_more(self, y, name):
        """Like `_encode`, for the number of outputs of the fit."""
        y = self._as_columns(y, name)
        n_outputs = len(self._target_scale)
        if y.shape[1] != n_outputs:
            raise ValueError(f"{name} has {y.shape[1]} outputs, but {n_outputs} were fitted.")
        return y

    def _as_columns(self, y, name):
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        y = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        if not (np.abs(y) < _LARGEST_TARGET).all():
            raise ValueError(
                f"{name} has values as large as {np.abs(y).max()}, near or beyond what float32 "
                "can hold. Use other units."
            )
        return y

    def _row_weights(self, weight, y, partial):
        return weight

    def _validation_weights(self, weight, y):
        return weight

    def _fit_target(self, y, weight, continues, partial):
        """Find location and scale of the targets: y = location + scale * (network's unit).

        For a column that has not varied so far they are found once it does: the network keeps its
        weights, and its outputs change their unit.
        """
        known = self._target_constant if continues else np.full(y.shape[1], np.nan)
        if known is None:
            return
        location, scale, constant = _units(y, weight, self.loss)
        if continues:
            # One new value beside the old one: only these two tell of the spread.
            moved = ~np.isnan(known) & ~np.isnan(constant) & (known != constant)
            pair = np.stack([known, constant])
            for found, of_pair in zip((location, scale, constant), _units(pair, None, self.loss)):
                found[moved] = of_pair[moved]
            settled = np.isnan(known) | (known == constant)
            location[settled] = self._target_location[settled]
            scale[settled] = self._target_scale[settled]
            constant[settled] = known[settled]
        self._target_location, self._target_scale = location, scale
        self._target_constant = None if np.isnan(constant).all() else constant

    def _targets(self, y, name):
        """Distinct targets in the network's units, and the number of each row's among them."""
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError(
                f"{name} has negative values (the smallest is {y.min()}), which loss='poisson' "
                "does not allow. Use loss='squared_error'."
            )
        with np.errstate(over="ignore"):  # far from the fitted targets: an infinite loss
            standard = (y - self._target_location) / self._target_scale
            standard = standard.astype(np.float32)
        # As wide as the outputs of the network: see `nn.losses`.
        filled = np.zeros((len(y), y.shape[1] * (self._loss().n_heads - 1)), dtype=np.float32)
        return np.hstack([standard, filled]), np.arange(len(y))

    def _decode_targets(self, targets):
        """Targets in the units of `y`: shape (n,) for one output, else (n, n_outputs)."""
        return self._squeezed(self._in_units(targets))

    def _in_units(self, targets):
        """Targets of shape (..., n_outputs) in the units of `y`; further outputs are left out."""
        targets = targets[..., : len(self._target_scale)]
        answers = targets * self._target_scale + self._target_location
        if self._target_constant is not None:
            answers = np.where(self._varies(), answers, self._target_constant)
        return answers.astype(targets.dtype)

    def _varies(self):
        """Whether each column of the targets has varied so far."""
        return True if self._target_constant is None else np.isnan(self._target_constant)

    def _squeezed(self, y):
        """Flatten to one value for each row if there is one output."""
        return y[:, 0] if y.shape[1] == 1 else y

    def _labels(self, targets):
        return targets[:, : len(self._target_scale)]

    def _from_labels(self, targets):
        """Targets in the units of `y`."""
        return self._decode_targets(targets)

    def _loss(self):
        return pinball(float(self.quantile)) if self.loss == "quantile" else LOSSES[self.loss]

    def _default_score(self):
        return "r2"

    def _set_coefs(self):
        """Public weights, whose outputs are in the units of `y`."""
        super()._set_coefs()
        n, dtype = len(self._target_scale), self.coefs_[-1].dtype
        weight, bias = self.coefs_[-1][:, :n], self.intercepts_[-1][:n]
        of_variances = self.coefs_[-1][:, n:], self.intercepts_[-1][n:]
        constant = self._target_constant
        if self.out_activation_ == "exp":
            bias = bias + np.log(self._target_scale)
            with np.errstate(divide="ignore"):  # the exponential of minus infinity is 0
                constant = None if constant is None else np.log(constant)
        else:
            bias = bias * self._target_scale + self._target_location
            weight = weight * self._target_scale
        if constant is not None:
            bias, weight = np.where(self._varies(), bias, constant), weight * self._varies()
        self.coefs_[-1] = np.hstack([weight, of_variances[0]]).astype(dtype, copy=False)
        self.intercepts_[-1] = np.hstack([bias, of_variances[1]]).astype(dtype)

    def predict(self, X, return_std=False, n_samples=100, random_state=None):
        """Predict the targets: with dropout off, or mean and standard deviation with dropout on.

        A ``Pipeline`` passes the last three arguments to the regressor at its end. A
        ``TransformedTargetRegressor`` cannot transform a pair back; it is not needed, since
        targets are standardised anyway.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Inputs.
        return_std : bool, default=False
            Whether to return standard deviations too. The mean is then that of the passes.
        n_samples : int, default=100
            Passes with dropout on, as in `sample_predictions`; used with `return_std` only.
        random_state : int, RandomState instance or None, default=None
            Determines the masks of the passes; ``None`` for new ones in each call.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In the units of the training targets; float32 for float32 `X`, else float64.
        y_std : ndarray of the same shape
            Standard deviation of a new target, noise included: `total` of
            `predict_uncertainty`. Only with `return_std`.
        """
        if return_std:
            uncertainty = self.predict_uncertainty(X, n_samples, random_state)
            return uncertainty.mean, uncertainty.total
        return self._decode_targets(self._outputs(X, self._scaled_targets))

    def sample_predictions(self, X, n_samples=100, random_state=None, return_std=False):
        """Predictions with dropout on: samples from the predictive distribution of the network.

        Each pass predicts all rows with one thinned network [1]_, so a pass is one draw of a
        function, and the samples of a row do not depend on the other rows. Only dropout is on. If
        all rates are 0, every sample equals the prediction without dropout.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_rows, n_features)
            Inputs.
        n_samples : int, default=100
            Passes; the error of a mean over them falls with their square root.
        random_state : int, RandomState instance or None, default=None
            Determines the masks; ``None`` for new ones in each call.
        return_std : bool, default=False
            Whether to return standard deviations too.

        Returns
        -------
        samples : ndarray of shape (n_samples, n_rows, n_outputs)
            Targets in the units of `y`, without the noise of a single target; float32 for float32
            `X`, else float64.
        std : ndarray of the same shape
            Standard deviation of a target around each sample: with ``loss='gaussian'`` predicted by
            the thinned network, else ``noise_std_``. Only with `return_std`.

        References
        ----------
        .. [1] Gal, Y., Ghahramani, Z. (2016). "Dropout as a Bayesian approximation: Representing
           model uncertainty in deep learning." ICML, section 4.
        """
        if not return_std:
            return super().sample_predictions(X, n_samples, random_state)
        X, streams = self._check_sampling(X, n_samples, random_state)
        n, gaussian = self.n_outputs_, self.out_activation_ == "gaussian"
        samples = np.empty((n_samples, X.shape[0], 2 * n if gaussian else n))

        def keep(passes, rows, block):
            samples[passes, rows] = block

        self._sample(X, n_samples, streams, keep, self._means_and_variances if gaussian else None)
        means = samples[..., :n]
        variances = samples[..., n:] if gaussian else self._noise_variance(means)
        return means.astype(X.dtype), np.sqrt(variances).astype(X.dtype)

    def _noise_variance(self, mean):
        """Variance of targets around their means, of shape (..., n_outputs)."""
        noise = self.noise_std_**2
        noise = noise * mean if self.out_activation_ == "exp" else noise
        return np.broadcast_to(noise, mean.shape)

    def _scaled_targets(self, z):
        """Targets in the units of the network."""
        return OUT_ACTIVATIONS[self.out_activation_](z)

    def _answers(self, z):
        """Targets in the units of `y`."""
        return torch.from_numpy(self._in_units(self._scaled_targets(z).numpy()))

    def _means_and_variances(self, z):
        """Means and variances of a network that predicts both, in the units of `y`."""
        mean, log = mean_and_log_variance(z)
        variance = np.exp(log.double().numpy()) * np.square(self._target_scale)
        variance = np.where(self._varies(), variance, 0.0)
        return torch.from_numpy(np.concatenate([self._in_units(mean.numpy()), variance], axis=-1))

    def _n_answers(self):
        return self.n_outputs_

    def _uncertainty(self, X, n_samples, streams):
        if self.out_activation_ == "gaussian":
            moments = TargetMoments(X.shape[0], 2 * self.n_outputs_)
            self._reduce(X, n_samples, streams, moments, self._means_and_variances)
            return moments.uncertainty_of_heads(X.dtype)
        moments = TargetMoments(X.shape[0], self.n_outputs_)
        self._reduce(X, n_samples, streams, moments)
        return moments.uncertainty(self._noise_variance(moments.mean), X.dtype)

    def _keep(self, fit, outcome):
        super()._keep(fit, outcome)
        noise, scale = np.sqrt(outcome.noise), self._target_scale
        # With loss="poisson" the noise is a multiple of the mean, not a variance.
        noise = noise * (np.sqrt(scale) if self.out_activation_ == "exp" else scale)
        self.noise_std_ = np.where(self._varies(), noise, 0.0)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _units(y, weight, loss):
    """Location and scale of columns of targets, and which of them do not vary.

    Parameters
    ----------
    y : float64 ndarray of shape (n_rows, n_outputs)
    weight : ndarray of shape (n_rows,), or None
    loss : str

    Returns
    -------
    location, scale : float64 ndarrays of shape (n_outputs,)
        The scale is above 0.
    constant : float64 ndarray of shape (n_outputs,)
        The value of columns whose rows are all equal (up to rounding), else NaN.
    """
    low, high = y.min(axis=0), y.max(axis=0)
    mean = np.clip(
        np.average(y, axis=0, weights=weight), low, high
    )  # the mean may be rounded beyond them
    far = np.abs(y - mean).max(axis=0)
    far = np.where(far > 0, far, 1.0)
    # Relative to the largest deviation, since squares of small numbers underflow.
    std = far * np.sqrt(np.average(((y - mean) / far) ** 2, axis=0, weights=weight))
    constant = np.where(std <= 10 * np.finfo(np.float64).eps * np.abs(mean), mean, np.nan)
    if loss == "poisson":
        return np.zeros_like(mean), np.where(mean > 0, mean, 1.0), constant
    return mean, np.where(np.isnan(constant), std, 1.0), constant
