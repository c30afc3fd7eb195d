"""The classifier's half of an estimator: classes in, probabilities out."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from torch.nn.functional import logsigmoid

from ._base import DropoutNetwork
from ._preparation import FitCall
from ._uncertainty import ProbabilityMoments
from ._validation import StrOptions, as_array


@dataclass(eq=False, repr=False, kw_only=True)
class DropoutClassifier(ClassifierMixin, DropoutNetwork):
    """Base of the classifiers."""

    class_weight: object = None

    _parameter_constraints = {
        **DropoutNetwork._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }
    _numeric_target = False
    _stratifies = True
    _default_scoring = "accuracy"

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch on the given rows, from where the last call left off.

        As many calls as `max_iter` on the same rows give what `fit` gives. After `fit` the
        optimiser starts anew, since a fitted estimator keeps no state of it.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Training inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Class labels, or an indicator matrix.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed in the first call. For multilabel targets,
            the columns of `y`.
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
            self.classes_ = self._find_classes(y, partial, classes)
        return self._numbers(y, "y")

    def _find_classes(self, y, partial, classes):
        if self._multilabel:
            return np.arange(y.shape[1])
        if not partial:
            return np.unique(y)
        if classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        found = unique_labels(as_array(classes, "classes"))
        if len(found) < 2:
            raise ValueError(f"classes={classes!r} has one class only: at least 2 are needed.")
        return found

    def _check_same_classes(self, y, partial, classes):
        if partial and classes is not None:
            if not np.array_equal(self.classes_, unique_labels(as_array(classes, "classes"))):
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
        """Like `_encode`, for the classes there are."""
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
        """Sample weights times the weights of the rows' classes."""
        if self.class_weight is None:
            return weight
        if partial and self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported for partial_fit, which does not see all "
                "rows. Pass a dict with the weight of each class."
            )
        if self._multilabel:
            factors = compute_sample_weight(self.class_weight, y.astype(int))
        else:
            factors = self._class_factors(y, weight)[y]
        weight = factors if weight is None else weight * factors
        if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
            raise ValueError(
                f"class_weight={self.class_weight!r} gives weights from {weight.min()} to "
                f"{weight.max()}. Weights must be >= 0, finite, and not all 0."
            )
        return weight

    def _class_factors(self, y, weight):
        """Weight of each class; 0 for classes without any row of positive weight."""
        rows = slice(None) if weight is None else weight > 0
        present = np.unique(y[rows])
        factors = np.zeros(len(self.classes_))
        if self.class_weight != "balanced":
            present = np.arange(len(self.classes_))
        factors[present] = compute_class_weight(
            self.class_weight,
            classes=self.classes_[present],
            y=self.classes_[y[rows]],
            sample_weight=None if weight is None else weight[rows],
        )
        return factors

    def _fit_target(self, y, weight, continues, partial):
        """Refuse to train on rows of one class."""
        if not partial and y.ndim == 1 and len(np.unique(y)) < 2:
            (only,) = self.classes_[y[:1]].tolist()
            raise ValueError(
                f"The rows to train on have one class only, {only!r}: a classifier "
                "needs at least 2 classes."
            )

    def _targets(self, y, name):
        """Rows of zeros and ones that there are, and which of them each row of `y` has."""
        if self._multilabel:
            return y, np.arange(len(y))
        if len(self.classes_) == 2:
            return np.array([[0.0], [1.0]], dtype=np.float32), y
        return np.eye(len(self.classes_), dtype=np.float32), y

    def _decode_targets(self, targets, threshold=0.5):
        """Labels of rows of targets, or of outputs of the network with a threshold of zero."""
        if self._multilabel:
            return (targets > threshold).astype(int)
        if len(self.classes_) == 2:
            return self.classes_[(targets[:, 0] > threshold).astype(int)]
        return self.classes_[targets.argmax(axis=1)]

    def _labels(self, targets):
        """Numbers of the classes of rows of targets, as a tensor; indicators of several labels."""
        if self._multilabel:
            return targets
        return targets[:, 0].long() if targets.shape[1] == 1 else targets.argmax(1)

    def _loss_name(self):
        exclusive = not self._multilabel and len(self.classes_) > 2
        return "log_loss" if exclusive else "binary_log_loss"

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
        return self._decode_targets(self._outputs(X).numpy(), threshold=0.0)

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
        return self._answers(self._outputs(X)).numpy()

    def predict_log_proba(self, X):
        """Logarithm of `predict_proba`, exact also where a probability rounds to 0 or 1.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; float32 for float32 `X`, else float64.
        """
        z = self._outputs(X)
        if self.out_activation_ == "softmax":
            return torch.log_softmax(z, -1).numpy()
        return logsigmoid(self._both_sides(z)).numpy()

    def _both_sides(self, z):
        """Logits of both classes where one output speaks for two."""
        return z if self._multilabel else torch.cat([-z, z], dim=-1)

    def _answers(self, z):
        """Probabilities of the classes, or of each label."""
        if self.out_activation_ == "softmax":
            return torch.softmax(z, -1)  # the faster one depends on the number of threads
        return torch.sigmoid(self._both_sides(z))

    def _n_answers(self):
        return len(self.classes_)

    def _uncertainty(self, X, n_samples, streams):
        moments = ProbabilityMoments(X.shape[0], len(self.classes_), self._multilabel)
        return self._reduce(X, n_samples, streams, moments).uncertainty(X.dtype)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@np.errstate(invalid="ignore")  # where scikit-learn looks whether huge numbers are whole
def check_labels(y, name="y"):
    """Labels of shape (n,), or an indicator matrix of shape (n, n_labels), as an ndarray."""
    kind = type_of_target(y, input_name=name)
    if kind not in ("binary", "multiclass", "multiclass-multioutput", "multilabel-indicator"):
        check_classification_targets(y)  # says what is wrong
    if kind == "multilabel-indicator":
        return y.toarray() if sparse.issparse(y) else np.asarray(y)
    if kind == "multiclass-multioutput":
        raise ValueError(
            f"{name} has shape {np.shape(y)} with more than two values: several outputs with "
            "several classes each are not supported. Use one estimator for each output "
            "(sklearn.multioutput.MultiOutputClassifier)."
        )
    return column_or_1d(y, warn=True)
