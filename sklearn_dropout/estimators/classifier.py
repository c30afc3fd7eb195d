"""The classifiers: encoding of classes, and probabilities."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from torch.nn.functional import logsigmoid

from ..checks.targets import check_classes, check_labels
from ..checks.validation import StrOptions
from ..checks.weights import check_sum, class_factors, label_factors
from ..fit.stages import FitCall
from ..nn.losses import LOSSES, OUT_ACTIVATIONS
from ..uncertainty.moments import ProbabilityMoments
from .base import DropoutNetwork

# Replaces weights of zero, whose sign could not encode the class.
_NO_WEIGHT = 1e-30


@dataclass(eq=False, repr=False, kw_only=True)
class DropoutClassifier(ClassifierMixin, DropoutNetwork):
    """Base of the classifiers."""

    class_weight: object = None

    _parameter_constraints = {
        **DropoutNetwork._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }
    _numeric_target = False
    _stratifies = True
    _default_scoring = "accuracy"

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Continue training for one epoch on the given rows.

        Calling it `max_iter` times on the same rows gives the same network as one `fit`. After
        `fit` the optimiser starts with a new state, since `fit` does not keep it.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Training inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Class labels, or an indicator matrix of zeros and ones.
        classes : array-like of shape (n_classes,), default=None
            All labels of this and later calls; required in the first call. For multilabel targets
            the numbers of the columns of `y`, or ``None``.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss.

        Returns
        -------
        self : object
            The estimator after one more epoch.
        """
        return self._fit(FitCall(X, y, sample_weight, partial=True, classes=classes))

    def _encode(self, y, continues, partial, classes):
        """Number of each row's class, or an indicator matrix; sets `classes_`."""
        y = check_labels(y)
        if continues:
            self._check_same_classes(y, partial, classes)
        else:
            self._multilabel = y.ndim == 2
            _warn_of_one_hot(y)
            self.classes_ = self._find_classes(y, partial, classes)
        return self._numbers(y, "y")

    def _find_classes(self, y, partial, classes):
        if self._multilabel:
            if partial and classes is not None:
                self._check_columns(y, classes)
            return np.arange(y.shape[1])
        if not partial:
            return np.unique(y)
        if classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return check_classes(classes)

    def _check_columns(self, y, classes):
        """Refuse `classes` that are not the numbers of the columns of an indicator matrix."""
        if not np.array_equal(check_classes(classes), np.arange(y.shape[1])):
            raise ValueError(
                f"classes={classes!r} are not the columns of y, which has shape {y.shape}: for "
                f"several labels pass classes=range({y.shape[1]}), or leave it out."
            )

    def _check_same_classes(self, y, partial, classes):
        if partial and classes is not None:
            if not np.array_equal(self.classes_, check_classes(classes)):
                raise ValueError(
                    f"classes={classes!r} is not the same as on the first call to partial_fit, "
                    f"which was {self.classes_!r}."
                )
        elif not partial and y.ndim == 1 and not np.array_equal(np.unique(y), self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {np.unique(y)}."
            )

    def _encode_more(self, y, name):
        """Like `_encode`, for the classes of the fit."""
        return self._numbers(check_labels(y, name), name)

    def _numbers(self, y, name):
        """Numbers of the classes of checked labels."""
        if self._multilabel != (y.ndim == 2) or (y.ndim == 2 and y.shape[1] != len(self.classes_)):
            expected = f"(n, {len(self.classes_)})" if self._multilabel else "(n,)"
            raise ValueError(f"{name} has shape {y.shape}, but {expected} was fitted.")
        if self._multilabel:
            return y.astype(np.float32)
        unseen = np.setdiff1d(y, self.classes_)
        if len(unseen):
            raise ValueError(
                f"{name} has classes {unseen.tolist()} that are not among the classes of the "
                f"estimator, {self.classes_.tolist()}."
            )
        return np.searchsorted(self.classes_, y)

    def _row_weights(self, weight, y, partial):
        """Sample weights times the weights of the rows' classes.

        Weights of several labels act in the loss instead, on the terms of their own label.
        """
        if self.class_weight is None:
            return weight
        if partial and self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported for partial_fit, which does not see all "
                "rows. Pass a dict with the weight of each class."
            )
        if self._multilabel:
            factors = label_factors(self.class_weight, y, weight)
            self._label_factors = check_sum(factors, self.class_weight)
            return weight
        self._class_factors = class_factors(self.class_weight, self.classes_, y, weight)
        return self._validation_weights(weight, y)

    def _validation_weights(self, weight, y):
        """Weights of more rows, by the class weights of the training rows."""
        if self.class_weight is None or self._multilabel:
            return weight
        factors = self._class_factors[y]
        return check_sum(factors if weight is None else weight * factors, self.class_weight)

    def _fit_target(self, y, weight, continues, partial):
        """Refuse to train on rows of one class."""
        if not partial and y.ndim == 1 and len(np.unique(y)) < 2:
            (only,) = self.classes_[y[:1]].tolist()
            raise ValueError(
                f"The rows to train on have one class only, {only!r}: a classifier "
                "needs at least 2 classes."
            )

    def _targets(self, y, name):
        """Distinct rows of zeros and ones, and the number of each row of `y` among them.

        If labels have weights, the rows contain these, negative if the row lacks the label.
        """
        if self._weighs_labels():
            without, having = self._label_factors
            signed = np.where(
                y > 0, np.maximum(having, _NO_WEIGHT), -np.maximum(without, _NO_WEIGHT)
            )
            return signed.astype(np.float32), np.arange(len(y))
        if self._multilabel:
            return y, np.arange(len(y))
        if len(self.classes_) == 2:
            return np.array([[0.0], [1.0]], dtype=np.float32), y
        return np.eye(len(self.classes_), dtype=np.float32), y

    def _decode_targets(self, targets, threshold=0.5):
        """Labels of rows of targets, or of outputs of the network with a threshold of zero."""
        if self._multilabel:
            return (targets > 0).astype(int)
        if len(self.classes_) == 2:
            return self.classes_[(targets[:, 0] > threshold).astype(int)]
        return self.classes_[targets.argmax(axis=1)]

    def _labels(self, targets):
        """Numbers of the classes of rows of targets, as a tensor; indicators of several labels."""
        if self._multilabel:
            return (targets > 0).to(targets.dtype)
        return targets[:, 0].long() if targets.shape[1] == 1 else targets.argmax(1)

    def _from_labels(self, numbers):
        """The labels of an array of what `_labels` gives."""
        numbers = numbers.astype(int)
        return numbers if self._multilabel else self.classes_[numbers]

    def _weighs_labels(self):
        return self._multilabel and self.class_weight is not None

    def _loss(self):
        if self._weighs_labels():
            return LOSSES["weighted_binary_log_loss"]
        exclusive = not self._multilabel and len(self.classes_) > 2
        return LOSSES["log_loss" if exclusive else "binary_log_loss"]

    def _default_score(self):
        exclusive = not self._multilabel and len(self.classes_) > 2
        return "top_class_accuracy" if exclusive else "accuracy"

    def predict(self, X):
        """Predict the most probable class of each row.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Class labels; for multilabel targets, an indicator matrix.
        """
        return self._decode_targets(self._outputs(X), threshold=0.0)

    def predict_proba(self, X):
        """Probabilities of the classes, with dropout off.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; float32 for float32 `X`, else float64. For multilabel
            targets, the probability of each label.
        """
        return self._outputs(X, self._answers)

    def predict_log_proba(self, X):
        """Logarithm of `predict_proba`, exact even if a probability rounds to 0 or 1.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; float32 for float32 `X`, else float64.
        """
        return self._outputs(X, self._log_probabilities)

    def _log_probabilities(self, z):
        if self.out_activation_ == "softmax":
            return torch.log_softmax(z, -1)
        return logsigmoid(self._both_sides(z))

    def _both_sides(self, z):
        """Logits of both classes, if a single output stands for two."""
        return z if self._multilabel else torch.cat([-z, z], dim=-1)

    def _answers(self, z):
        """Probabilities of the classes, or of each label."""
        if self.out_activation_ == "logistic":
            z = self._both_sides(z)
        return OUT_ACTIVATIONS[self.out_activation_](z)

    def _n_answers(self):
        return len(self.classes_)

    def _uncertainty(self, X, n_samples, streams):
        moments = ProbabilityMoments(X.shape[0], len(self.classes_), self._multilabel)
        return self._reduce(X, n_samples, streams, moments).uncertainty(X.dtype)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _warn_of_one_hot(y):
    """Warn that one-hot rows are trained as labels that do not exclude each other."""
    if y.ndim == 2 and (np.count_nonzero(y, axis=1) == 1).all():
        warnings.warn(
            f"y has shape {y.shape} and one label in every row. It is trained as an indicator "
            "matrix, whose labels do not exclude each other; for classes that do, pass "
            "y.argmax(axis=1).",
            stacklevel=2,
        )
