"""The regressor's half of an estimator: targets in standard units inside, in the user's outside."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d

from ._base import DropoutNetwork
from ._preparation import FitCall
from ._uncertainty import TargetMoments
from ._validation import StrOptions
from .nn._losses import OUT_ACTIVATIONS

# Predictions may be asked for in float32, and lie somewhat outside of the targets.
_LARGEST_TARGET = 1e36


@dataclass(eq=False, repr=False, kw_only=True)
class DropoutRegressor(RegressorMixin, DropoutNetwork):
    """Base of the regressors."""

    loss: str = "squared_error"

    _parameter_constraints = {
        **DropoutNetwork._parameter_constraints,
        "loss": [StrOptions({"squared_error", "absolute_error", "huber", "poisson"})],
    }
    _numeric_target = True
    _stratifies = False
    _default_scoring = "r2"

    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch on the given rows, from where the last call left off.

        As many calls as `max_iter` on the same rows give what `fit` gives. After `fit` the
        optimiser starts anew, since a fitted estimator keeps no state of it.

        The first call fixes the scale of the targets.

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
        """Like `_encode`, for the number of outputs there is."""
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

    def _fit_target(self, y, weight, continues, partial):
        """Find location and scale of the targets: y = location + scale * (network's unit)."""
        if continues:
            return
        mean = np.average(y, axis=0, weights=weight)
        if self.loss == "poisson":
            if not (mean > 0).all():
                raise ValueError(
                    f"y has a mean of {mean.min()}: loss='poisson' needs a mean above 0."
                )
            self._target_location, self._target_scale = np.zeros_like(mean), mean
            return
        std = np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weight))
        constant = std <= 10 * np.finfo(np.float64).eps * np.abs(mean)
        self._target_location = mean
        self._target_scale = np.where(constant, 1.0, std)

    def _targets(self, y, name):
        """Targets in the network's units, and which of them each row has."""
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError(
                f"{name} has negative values (the smallest is {y.min()}), which loss='poisson' "
                "cannot have. Use loss='squared_error'."
            )
        standard = (y - self._target_location) / self._target_scale
        with np.errstate(over="ignore"):  # far from what was fitted: an infinite loss
            return standard.astype(np.float32), np.arange(len(y))

    def _decode_targets(self, targets):
        """Targets in the units of `y`: shape (n,) for one output, else (n, n_outputs)."""
        return self._squeezed(self._in_units(targets))

    def _in_units(self, targets):
        """Targets of shape (..., n_outputs) in the units of `y`."""
        return (targets * self._target_scale + self._target_location).astype(targets.dtype)

    def _squeezed(self, y):
        """One value for each row where there is one output."""
        return y[:, 0] if y.shape[1] == 1 else y

    def _labels(self, targets):
        return targets

    def _loss_name(self):
        return self.loss

    def _default_score(self):
        return "r2"

    def _set_coefs(self):
        """Public weights, which answer in the units of `y`."""
        super()._set_coefs()
        if self.out_activation_ == "exp":
            bias = self.intercepts_[-1] + np.log(self._target_scale)
        else:
            bias = self.intercepts_[-1] * self._target_scale + self._target_location
            weight = self.coefs_[-1] * self._target_scale
            self.coefs_[-1] = weight.astype(self.coefs_[-1].dtype)
        self.intercepts_[-1] = bias.astype(self.intercepts_[-1].dtype)

    def predict(self, X, return_std=False, n_samples=100, random_state=None):
        """Predict the targets: with dropout off, or mean and standard deviation with dropout on.

        The last three arguments reach the regressor at the end of a ``Pipeline``. A
        ``TransformedTargetRegressor`` cannot transform a pair back, whatever regressor is in it;
        targets are standardised here anyway.

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
        z = self._outputs(X)
        return self._decode_targets(OUT_ACTIVATIONS[self.out_activation_](z).numpy())

    def _answers(self, z):
        """Targets in the units of `y`."""
        return torch.from_numpy(self._in_units(OUT_ACTIVATIONS[self.out_activation_](z).numpy()))

    def _n_answers(self):
        return self.n_outputs_

    def _uncertainty(self, X, n_samples, streams):
        moments = TargetMoments(X.shape[0], self.n_outputs_)
        self._reduce(X, n_samples, streams, moments)
        noise = self.noise_std_**2
        if self.out_activation_ == "exp":
            noise = noise * moments.mean
        return moments.uncertainty(noise, X.dtype)

    def _keep(self, prepared, outcome):
        super()._keep(prepared, outcome)
        scale = self._target_scale
        # With loss="poisson" the noise is a multiple of the mean, not a variance.
        scale = scale if self.out_activation_ == "exp" else scale**2
        self.noise_std_ = np.sqrt(outcome.noise * scale)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
