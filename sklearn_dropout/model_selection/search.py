"""Searches over parameters, for estimators of this package and any other."""

from sklearn.model_selection import (
    GridSearchCV,
    ParameterGrid,
    ParameterSampler,
    RandomizedSearchCV,
)

from .shared_fits import SharedFits


class DropoutSearchCV(SharedFits, GridSearchCV):
    """Grid search that shares work between fits.

    A drop-in replacement for :class:`sklearn.model_selection.GridSearchCV` with another engine. The
    data of a fold are checked once, and prepared once for all candidates that differ only in
    `dropout_rate`, `input_dropout_rate`, `spatial_dropout_rate`, `alpha`, `learning_rate_init`,
    `max_norm`, `weight_init` or, if no rows are held out of the training rows, `random_state`.
    Perceptrons that train in compiled code train side by side in threads of this process, and
    accuracy and R² come straight from their outputs. Estimators of this package are found at the
    end of a ``Pipeline`` and in a ``TransformedTargetRegressor``; preprocessing is then fitted
    once for each fold and each of its own parameters. Any other estimator is fitted as usual.

    With an int as `random_state` of the estimator the networks are those of ``GridSearchCV``, and
    so are the scores, up to rounding.

    Parameters
    ----------
    estimator : estimator object
        Cloned for each candidate and fold.

    param_grid : dict of str to sequence, or sequence of such
        Parameters and the values to try; several dicts are searched one after the other.

    scoring : str, callable, list, tuple or dict, default=None
        As in ``GridSearchCV``; ``None`` is the estimator's own score.

    n_jobs : int, default=None
        Fits at a time; ``None`` is one, unless :func:`joblib.parallel_config` says otherwise.
        Perceptrons that train in compiled code run in threads, anything else in joblib's workers,
        which are processes by default. If ``joblib.parallel_config`` names a backend, everything
        runs there: processes, threads, or a Dask cluster. Each worker computes with one thread.

    refit : bool, str or callable, default=True
        As in ``GridSearchCV``.

    cv : int, cross-validation generator or iterable, default=None
        As in ``GridSearchCV``; ``None`` is 5-fold.

    verbose : int, default=0
        1 or more prints the number of fits and shows a bar over the epochs of all networks, with
        the time left.

    pre_dispatch : int or str, default='2*n_jobs'
        Pieces of work that are dispatched to joblib's workers in advance.

    error_score : 'raise' or numeric, default=np.nan
        Score of a candidate that fails.

    return_train_score : bool, default=False
        Whether `cv_results_` has training scores.

    Attributes
    ----------
    cv_results_ : dict of ndarrays
        As in ``GridSearchCV``. The time of shared work is that of the first candidate which needs
        it.
    best_estimator_ : estimator
        Fitted on all data, unless `refit` is False.
    best_score_ : float
    best_params_ : dict
    best_index_ : int
    scorer_ : callable or dict
    n_splits_ : int
    refit_time_ : float
        Seconds.
    multimetric_ : bool
    classes_ : ndarray of shape (n_classes,)
        Of the best estimator.
    n_features_in_ : int
        Of the best estimator.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Of the best estimator.

    See Also
    --------
    DropoutRandomizedSearchCV : Samples candidates from distributions.
    sklearn.model_selection.GridSearchCV : One fit at a time.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dropout import DropoutMLPClassifier, DropoutSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = DropoutMLPClassifier((16, 8), batch_size=16, max_iter=40, random_state=0)
    >>> search = DropoutSearchCV(clf, {"dropout_rate": [0.0, 0.1, 0.2, 0.3]}, cv=3).fit(X, y)
    >>> search.cv_results_["mean_test_score"].shape
    (4,)
    """

    def _candidates(self):
        return ParameterGrid(self.param_grid)


class DropoutRandomizedSearchCV(SharedFits, RandomizedSearchCV):
    """Randomized search that shares work between fits.

    A drop-in replacement for :class:`sklearn.model_selection.RandomizedSearchCV` with the engine of
    :class:`DropoutSearchCV`. Draws from distributions cover several parameters with fewer fits than
    a grid of the same resolution [1]_: rates of different places, `alpha` and
    `learning_rate_init` at once, for example.

    With an int as `random_state` here and of the estimator, candidates and networks are those of
    ``RandomizedSearchCV``, and so are the scores, up to rounding.

    Parameters
    ----------
    estimator : estimator object
        Cloned for each candidate and fold.

    param_distributions : dict of str to distribution or sequence, or sequence of such
        Distribution of each parameter: an object with a method ``rvs``, such as those of
        ``scipy.stats``, or a sequence whose values are equally likely. From several dicts one is
        drawn first. If all are sequences, candidates are drawn without replacement.

    n_iter : int, default=10
        Candidates.

    scoring, n_jobs, refit, cv, verbose, pre_dispatch : see :class:`DropoutSearchCV`

    random_state : int, RandomState instance or None, default=None
        Determines the candidates. The networks have a `random_state` of their own.

    error_score, return_train_score : see :class:`DropoutSearchCV`

    Attributes
    ----------
    cv_results_, best_estimator_, best_score_, best_params_, best_index_ : see DropoutSearchCV
    scorer_, n_splits_, refit_time_, multimetric_ : see DropoutSearchCV
    classes_, n_features_in_, feature_names_in_ : see DropoutSearchCV

    See Also
    --------
    DropoutSearchCV : Tries every combination of given values.
    sklearn.model_selection.RandomizedSearchCV : One fit at a time.

    References
    ----------
    .. [1] Bergstra, J., Bengio, Y. (2012). "Random search for hyper-parameter optimization." JMLR
       13, 281-305.

    Examples
    --------
    >>> from scipy.stats import loguniform, uniform
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dropout import DropoutMLPClassifier, DropoutRandomizedSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = DropoutMLPClassifier((16, 8), batch_size=16, max_iter=40, random_state=0)
    >>> distributions = {"dropout_rate": uniform(0, 0.6), "alpha": loguniform(1e-5, 1e-1)}
    >>> search = DropoutRandomizedSearchCV(clf, distributions, n_iter=8, cv=3, random_state=0)
    >>> search.fit(X, y).cv_results_["mean_test_score"].shape
    (8,)
    """

    def _candidates(self):
        return ParameterSampler(
            self.param_distributions, self.n_iter, random_state=self.random_state
        )
