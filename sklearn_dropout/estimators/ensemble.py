"""Ensembles of networks that differ in their seeds, and in the fold that they leave out."""

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from ..checks.random_state import seed_from
from ..uncertainty.intervals import adaptive_scores, cv_plus_interval, cv_plus_set
from ..uncertainty.moments import Uncertainty, entropy, label_entropies
from .ensemble_family import Ensemble, documented_ensemble
from .mlp import DropoutMLPClassifier, DropoutMLPRegressor
from .nesting import find_network, inputs_of_network, last_estimator


@documented_ensemble(
    left_out_gives="""`oob_prediction_`, `noise_std_` and the intervals of
    :meth:`predict_interval`, which contain a given fraction of new targets, however good or bad the
    networks are [2]_.""",
    default="DropoutMLPRegressor",
    attributes="""oob_prediction_ : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Mean prediction of the networks that left the row out; with `cv` only.
    noise_std_ : ndarray of shape (n_outputs,)
        Root mean squared error of `oob_prediction_`; with `cv` only.""",
    reference=""".. [2] Barber, R. F., Candès, E. J., Ramdas, A., Tibshirani, R. J. (2021).
       "Predictive inference with the jackknife+." Annals of Statistics 49, 486-507.""",
)
class DropoutEnsembleRegressor(RegressorMixin, Ensemble):
    """Ensemble of regressors, with intervals of guaranteed coverage.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_dropout import DropoutEnsembleRegressor, DropoutMLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> network = DropoutMLPRegressor((32,), batch_size=32, max_iter=30)
    >>> ensemble = DropoutEnsembleRegressor(network, cv=5, random_state=0).fit(X[:300], y[:300])
    >>> lower, upper = ensemble.predict_interval(X[300:], coverage=0.9)
    >>> bool(((lower < y[300:]) & (y[300:] < upper)).mean() > 0.8)
    True
    """

    _default = DropoutMLPRegressor

    def _task_attributes(self, fitted):
        return {}

    def predict(self, X, return_std=False, n_samples=10, random_state=None):
        """Mean prediction of the networks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        return_std : bool, default=False
            Whether to return standard deviations too. Networks then predict with dropout on.
        n_samples : int, default=10
            Passes of each network, with `return_std` only.
        random_state : int, RandomState instance or None, default=None
            Determines the masks of the passes.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In the units of the training targets.
        y_std : ndarray of the same shape
            Standard deviation of a new target: `total` of `predict_uncertainty`. Only with
            `return_std`.
        """
        if return_std:
            uncertainty = self.predict_uncertainty(X, n_samples, random_state)
            return uncertainty.mean, uncertainty.total
        check_is_fitted(self)
        return np.mean([member.predict(X) for member in self.estimators_], axis=0)

    def predict_uncertainty(self, X, n_samples=10, random_state=None):
        """Predict, with the uncertainty of the predictions and its parts.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Inputs.
        n_samples : int, default=10
            Passes of each network with dropout on.
        random_state : int, RandomState instance or None, default=None
            Determines the masks, which all networks share.

        Returns
        -------
        uncertainty : Uncertainty
            Standard deviations in the units of `y`. The epistemic part is the spread of all passes
            of all networks, and the aleatoric part the root mean square of the networks' noise;
            with `cv`, and without ``loss='gaussian'``, that of `noise_std_`.
        """
        seed = seed_from(random_state)
        parts = [net.predict_uncertainty(Z, n_samples, seed) for net, Z in self._networks(X)]
        mean = np.mean([part.mean for part in parts], axis=0)
        spread = np.mean([part.epistemic**2 for part in parts], axis=0)
        spread = spread + np.var([part.mean for part in parts], axis=0)
        noise = np.mean([part.aleatoric**2 for part in parts], axis=0)
        if self._fold_of_row is not None and not self._has_heads():
            honest = self.noise_std_ if mean.ndim == 2 else self.noise_std_[0]
            noise = np.broadcast_to(honest**2, mean.shape)
        return Uncertainty(mean, *map(np.sqrt, (noise + spread, noise, spread)))

    def predict_interval(self, X, coverage=0.95):
        """Intervals that contain a new target with a given probability.

        Bounds are those of CV+ [1]_ (eq. 11), from the errors of the networks on the fold that they
        left out. They do not assume that the networks are accurate: a poor network gets wide
        intervals. With ``loss='gaussian'`` errors are divided by the standard deviation that the
        networks predict, so that intervals are wider where they predict more noise.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Inputs.
        coverage : float, default=0.95
            Fraction of new targets, in (0, 1). For exchangeable rows it is usually reached, and the
            paper proves at least 1 - 2 (1 - coverage).

        Returns
        -------
        lower, upper : ndarrays, each of the shape of ``predict(X)``
            Infinite if there are too few training rows for the coverage.

        Raises
        ------
        ValueError
            If the ensemble was fitted without `cv`.

        References
        ----------
        .. [1] Barber, R. F., Candès, E. J., Ramdas, A., Tibshirani, R. J. (2021). "Predictive
           inference with the jackknife+." Annals of Statistics 49, 486-507.
        """
        self._check_folds("predict_interval", coverage)
        answers = [self._of_fold(X, fold) for fold in range(self._n_folds)]
        mean, std = (np.stack(part) for part in zip(*answers))
        bounds = np.stack(
            [
                cv_plus_interval(
                    mean[..., o], std[..., o], self._fold_of_row, self._residuals[:, o], coverage
                )
                for o in range(mean.shape[2])
            ],
            axis=-1,
        )
        return tuple(bounds[..., 0] if bounds.shape[2] == 1 else bounds)

    def _has_heads(self):
        """Whether the members predict the noise of each row; target transformers do not."""
        last = last_estimator(self.estimators_[0])
        return getattr(last, "out_activation_", None) == "gaussian"

    def _of_fold(self, X, fold):
        """Mean and scale by the networks that left a fold out, of shape (n_rows, n_outputs)."""
        members = self._members_of_fold(fold)
        mean = np.mean([member.predict(X) for member in members], axis=0)
        mean = mean.reshape(len(mean), -1).astype(np.float64)
        if not self._has_heads():
            return mean, np.ones_like(mean)
        variances = []
        for member in members:
            network, _ = find_network(member)
            part = network.predict_uncertainty(inputs_of_network(member, X), 100, 0)
            variances.append(part.aleatoric.reshape(mean.shape).astype(np.float64) ** 2)
        return mean, np.sqrt(np.mean(variances, axis=0))

    def _keep_left_out(self, answers, folds, y):
        y = np.asarray(y, dtype=np.float64).reshape(len(self._fold_of_row), -1)
        mean, std = np.empty_like(y), np.empty_like(y)
        for rows, (of_fold, scale) in zip(folds, answers):
            mean[rows], std[rows] = of_fold, scale
        self._residuals = np.abs(y - mean) / np.maximum(std, np.finfo(np.float64).tiny)
        self.oob_prediction_ = mean[:, 0] if mean.shape[1] == 1 else mean
        self.noise_std_ = np.sqrt(np.mean((y - mean) ** 2, axis=0))


@documented_ensemble(
    left_out_gives="""`oob_prediction_` and the sets of
    :meth:`predict_set`, which contain the label of a given fraction of new rows [2]_.""",
    default="DropoutMLPClassifier",
    attributes="""classes_ : ndarray of shape (n_classes,)
        Class labels; for multilabel targets, the columns' numbers.
    oob_prediction_ : ndarray of shape (n_samples, n_classes)
        Mean probabilities by the networks that left the row out; with `cv` only.""",
    reference=""".. [2] Romano, Y., Sesia, M., Candès, E. J. (2020). "Classification with valid and
       adaptive coverage." NeurIPS 33.""",
)
class DropoutEnsembleClassifier(ClassifierMixin, Ensemble):
    """Ensemble of classifiers, with sets of labels of guaranteed coverage.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_dropout import DropoutEnsembleClassifier, DropoutMLPClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> network = DropoutMLPClassifier((16,), batch_size=32, max_iter=30)
    >>> model = make_pipeline(StandardScaler(), network)
    >>> ensemble = DropoutEnsembleClassifier(model, cv=5, random_state=0).fit(X, y)
    >>> ensemble.predict_set(X[:2], coverage=0.9).shape
    (2, 3)
    """

    _default = DropoutMLPClassifier

    def _task_attributes(self, fitted):
        classes = [member.classes_ for member in fitted]
        if any(not np.array_equal(classes[0], some) for some in classes[1:]):
            raise ValueError(
                f"cv={self.cv!r} has a fold whose training rows lack a class. Use a stratified "
                "splitter, or fewer folds."
            )
        return {"classes_": classes[0]}

    def predict(self, X):
        """Predict the most probable class of each row from the mean probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Class labels; for multilabel targets, an indicator matrix.
        """
        probabilities = self.predict_proba(X)
        if self._multilabel:
            return (probabilities > 0.5).astype(int)
        return self.classes_[probabilities.argmax(axis=1)]

    def predict_proba(self, X):
        """Mean probabilities of the networks, with dropout off.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        check_is_fitted(self)
        return np.mean([member.predict_proba(X) for member in self.estimators_], axis=0)

    def predict_uncertainty(self, X, n_samples=10, random_state=None):
        """Mean probabilities, with their uncertainty and its parts.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Inputs.
        n_samples : int, default=10
            Passes of each network with dropout on.
        random_state : int, RandomState instance or None, default=None
            Determines the masks, which all networks share.

        Returns
        -------
        uncertainty : Uncertainty
            In nats: entropy of the mean, mean entropy of all passes of all networks, and their
            difference, the mutual information.
        """
        seed = seed_from(random_state)
        parts = [net.predict_uncertainty(Z, n_samples, seed) for net, Z in self._networks(X)]
        mean = np.mean([part.mean for part in parts], axis=0)
        total = (label_entropies if self._multilabel else entropy)(mean)
        aleatoric = np.mean([part.aleatoric for part in parts], axis=0)
        return Uncertainty(mean, total, aleatoric, np.maximum(total - aleatoric, 0.0))

    def predict_set(self, X, coverage=0.95):
        """Sets of labels that contain the label of a new row with a given probability.

        Adaptive sets [1]_ from the probabilities of the networks on the fold that they left out.
        Sets are larger if the networks are less certain. If the most probable class is right more
        often than `coverage`, each set has that class alone.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Inputs.
        coverage : float, default=0.95
            Fraction of new rows, in (0, 1).

        Returns
        -------
        sets : bool ndarray of shape (n_rows, n_classes)
            Whether the class is in the set; each set has at least one.

        Raises
        ------
        ValueError
            If the ensemble was fitted without `cv`, or targets are multilabel.

        References
        ----------
        .. [1] Romano, Y., Sesia, M., Candès, E. J. (2020). "Classification with valid and adaptive
           coverage." NeurIPS 33.
        """
        self._check_folds("predict_set", coverage)
        if self._multilabel:
            raise ValueError(
                "predict_set needs rows with one class each; this ensemble is multilabel."
            )
        probabilities = np.stack([self._of_fold(X, fold) for fold in range(self._n_folds)])
        return cv_plus_set(probabilities, self._fold_of_row, self._scores, coverage)

    @property
    def _multilabel(self):
        network, _ = find_network(self.estimators_[0])
        return network._multilabel

    def _of_fold(self, X, fold):
        """Mean probabilities by the networks that left a fold out."""
        answers = [member.predict_proba(X) for member in self._members_of_fold(fold)]
        return np.mean(answers, axis=0)

    def _keep_left_out(self, answers, folds, y):
        probabilities = np.empty((len(self._fold_of_row), len(self.classes_)))
        for rows, of_fold in zip(folds, answers):
            probabilities[rows] = of_fold
        self.oob_prediction_ = probabilities
        if not self._multilabel:
            numbers = np.searchsorted(self.classes_, np.asarray(y).ravel())
            self._scores = adaptive_scores(probabilities)[np.arange(len(numbers)), numbers]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
