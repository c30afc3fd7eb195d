"""Piecewise linear encoding of numbers."""

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from ..checks.validation import Interval, StrOptions, _check_feature_names_in


class PiecewiseLinearEncoder(TransformerMixin, BaseEstimator):
    """Encode each number by its position in each of several bins.

    Networks learn slowly how a target depends on small changes in one column. Here each bin becomes
    a column: 1 for bins below the number, 0 for bins above it, and in its own bin the position
    between the edges, from 0 to 1 [1]_ (eq. 1). A single layer can then learn any piecewise linear
    function of a column. Numbers outside of the training range continue the first or the last
    piece.

    Parameters
    ----------
    n_bins : int, default=16
        Maximum number of bins of each column. Columns with fewer distinct values have fewer bins.

    strategy : {'quantile', 'tree'}, default='quantile'
        Edges of the bins: quantiles, or the thresholds of a decision tree with `n_bins` leaves that
        predicts `y` from the column.

    handle_missing : {'error', 'bin'}, default='error'
        What to do with NaN: raise an error, or encode it as 1 in an additional column (and 0 in the
        other columns of the variable).

    Attributes
    ----------
    bin_edges_ : list of ndarray of shape (n_bins_of_column + 1,)
        Edges of the bins of each column.
    n_features_in_ : int
        Number of columns of `X`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if all are strings.

    See Also
    --------
    sklearn.preprocessing.SplineTransformer : Smooth pieces.
    sklearn.preprocessing.KBinsDiscretizer : Bins without a position in them.

    References
    ----------
    .. [1] Gorishniy, Y., Rubachev, I., Babenko, A. (2022). "On embeddings for numerical features in
       tabular deep learning." NeurIPS 35, section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dropout.preprocessing import PiecewiseLinearEncoder
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    >>> encoder = PiecewiseLinearEncoder(n_bins=2).fit(X)
    >>> encoder.transform([[1.0], [3.0], [5.0]])
    array([[0.5, 0. ],
           [1. , 0.5],
           [1. , 1.5]])
    """

    _parameter_constraints = {
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "strategy": [StrOptions({"quantile", "tree"})],
        "handle_missing": [StrOptions({"error", "bin"})],
    }

    def __init__(self, n_bins=16, *, strategy="quantile", handle_missing="error"):
        self.n_bins = n_bins
        self.strategy = strategy
        self.handle_missing = handle_missing

    def fit(self, X, y=None):
        """Find the edges of the bins.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers.
        y : array-like of shape (n_samples,), default=None
            Targets, for ``strategy='tree'``. Floating-point numbers are targets of a
            regression, all others are classes.

        Returns
        -------
        self : object
            The fitted encoder.
        """
        self._validate_params()
        X = self._checked(X, reset=True)
        edges_of = self._quantiles
        if self.strategy == "tree":
            if y is None:
                raise ValueError(
                    "PiecewiseLinearEncoder with strategy='tree' requires y to be passed, but the "
                    "target y is None. Pass y, or use strategy='quantile'."
                )
            edges_of = self._splits(np.asarray(y))
        self.bin_edges_ = [edges_of(x, ~np.isnan(x)) for x in X.T]
        return self

    def _checked(self, X, reset):
        finite = "allow-nan" if self.handle_missing == "bin" else True
        return validate_data(
            self, X, dtype=(np.float64, np.float32), ensure_all_finite=finite, reset=reset
        )

    def _quantiles(self, x, known):
        """Distinct quantiles of a column; at least two edges."""
        if not known.any():
            return np.array([0.0, 0.0])
        edges = np.quantile(x[known].astype(np.float64), np.linspace(0, 1, self.n_bins + 1))
        edges = np.unique(edges)
        return edges if len(edges) > 1 else edges.repeat(2)

    def _splits(self, y):
        """Function that finds the thresholds of a tree, with the smallest and largest value."""
        kinds = "binary", "multiclass", "multilabel-indicator"
        are_numbers = y.dtype.kind == "f" or type_of_target(y) not in kinds
        Tree = DecisionTreeRegressor if are_numbers else DecisionTreeClassifier

        def edges_of(x, known):
            if self.n_bins == 1 or not known.any():
                return self._quantiles(x, known)[[0, -1]]
            tree = Tree(max_leaf_nodes=self.n_bins, random_state=0)
            tree = tree.fit(x[known, None], y[known]).tree_
            thresholds = tree.threshold[tree.feature >= 0]
            low, high = x[known].min(), x[known].max()
            edges = np.unique([low, *thresholds, high])
            return edges if len(edges) > 1 else edges.repeat(2)

        return edges_of

    def transform(self, X):
        """Encode numbers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers.

        Returns
        -------
        encoded : ndarray of shape (n_samples, n_columns)
            The columns of the first feature, then those of the second, and so on.
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        return np.hstack([self._encode(x, edges) for x, edges in zip(X.T, self.bin_edges_)])

    def _encode(self, x, edges):
        """Columns of one feature."""
        missing = np.isnan(x)
        width = np.diff(edges)
        share = (np.where(missing, edges[0], x)[:, None] - edges[:-1]) / np.where(width, width, 1)
        share[:, 1:] = np.maximum(share[:, 1:], 0)
        share[:, :-1] = np.minimum(share[:, :-1], 1)
        share[:, width == 0] = 0  # a constant column
        if self.handle_missing == "bin":
            share = np.column_stack([share, missing])
        return share.astype(x.dtype, copy=False)

    def get_feature_names_out(self, input_features=None):
        """Names of the encoded columns: name of the feature and number of the bin.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the features; ``None`` takes `feature_names_in_`, or ``x0``, ``x1`` and so on.

        Returns
        -------
        names : ndarray of str objects
        """
        check_is_fitted(self)
        names = []
        for name, edges in zip(_check_feature_names_in(self, input_features), self.bin_edges_):
            names += [f"{name}_bin{k}" for k in range(len(edges) - 1)]
            names += [f"{name}_missing"] * (self.handle_missing == "bin")
        return np.array(names, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.handle_missing == "bin"
        tags.target_tags.required = self.strategy == "tree"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
