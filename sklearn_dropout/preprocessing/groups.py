"""Groups of the columns that transformers make of one variable."""

import re
from dataclasses import dataclass

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

# Suffix of the name of a column that follows the name of its variable.
_ENDING = re.compile(r"_(bin\d+|missing)$")
_INDICATOR = "missingindicator_"


@dataclass(frozen=True)
class ColumnSources:
    """Function from the names of columns to those of their variables.

    Attributes
    ----------
    sources : tuple of str
        Names of the variables; empty if they are unknown before the columns have names.
    steps : tuple of str
        Names of the transformers in a ``ColumnTransformer``, the prefixes of column names.
    """

    sources: tuple = ()
    steps: tuple = ()

    def __call__(self, names):
        """Labels of columns.

        Parameters
        ----------
        names : sequence of str

        Returns
        -------
        labels : list of str
        """
        return [self._source(str(name)) for name in names]

    def _source(self, name):
        step, separator, rest = name.partition("__")
        rest = rest if separator and step in self.steps else name
        rest = rest.removeprefix(_INDICATOR)
        known = [s for s in self.sources if rest == s or rest.startswith(f"{s}_")]
        if known:
            return max(known, key=len)
        if self.sources:
            return rest
        if _ENDING.search(rest):
            return _ENDING.sub("", rest)
        if rest.count("_") > 1:
            raise ValueError(
                f"feature_groups cannot tell the variable of the column {name!r} from its value. "
                "Fit the transformer before it is given to group_columns_by_source, or choose its "
                "columns by name in a ColumnTransformer."
            )
        return rest.rpartition("_")[0] or rest


def group_columns_by_source(transformer):
    """Labels for `feature_groups`, with which `spatial_dropout_rate` drops variables in full.

    The columns that an encoder makes of one variable, such as the one-hot columns of a category and
    the bins of a number, get the same label. Labels are derived from column names when a network is
    fitted, so a fold of a cross-validation may lack a category. The network needs the names: make
    the step before it return data frames, by ``set_output(transform="pandas")``.

    Parameters
    ----------
    transformer : ColumnTransformer, OneHotEncoder, PiecewiseLinearEncoder, or a Pipeline of such
        Fitted or not; an unfitted ``ColumnTransformer`` must choose its columns by name.

    Returns
    -------
    feature_groups : callable (names of columns) -> labels
        For the parameter of that name.

    Raises
    ------
    ValueError
        If an unfitted ``ColumnTransformer`` does not choose its columns by name.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
    >>> from sklearn_dropout import DropoutMLPClassifier
    >>> from sklearn_dropout.preprocessing import group_columns_by_source
    >>> X = pd.DataFrame({"age": [20, 30, 40, 50], "colour": ["red", "blue", "red", "grey"]})
    >>> columns = make_column_transformer(
    ...     (StandardScaler(), ["age"]), (OneHotEncoder(sparse_output=False), ["colour"])
    ... ).set_output(transform="pandas")
    >>> groups = group_columns_by_source(columns)
    >>> groups(columns.fit(X).get_feature_names_out())
    ['age', 'colour', 'colour', 'colour']
    >>> network = DropoutMLPClassifier(
    ...     (8,), spatial_dropout_rate=0.2, feature_groups=groups, max_iter=2, random_state=0
    ... )
    >>> model = make_pipeline(columns, network).fit(X, [0, 1, 0, 1])
    """
    if isinstance(transformer, type) or not hasattr(transformer, "transform"):
        raise TypeError(f"transformer={transformer!r} must be an instance of a transformer.")
    if isinstance(transformer, Pipeline):
        steps = [step for _, step in transformer.steps if hasattr(step, "transform")]
        known = map(group_columns_by_source, steps)
        named = [found for found in known if found.sources]
        return named[0] if named else ColumnSources()
    if hasattr(transformer, "feature_names_in_"):
        steps = [name for name, *_ in getattr(transformer, "transformers_", [])]
        return ColumnSources(tuple(map(str, transformer.feature_names_in_)), tuple(steps))
    if isinstance(transformer, ColumnTransformer):
        sources = []
        for name, _, columns in transformer.transformers:
            columns = [columns] if isinstance(columns, str) else columns
            if callable(columns) or not all(isinstance(column, str) for column in columns):
                raise ValueError(
                    f"The transformer {name!r} chooses its columns by {columns!r}, which has no "
                    "names before it is fitted. Fit it first, or choose columns by name."
                )
            sources += columns
        steps = (*(name for name, *_ in transformer.transformers), "remainder")
        return ColumnSources(tuple(sources), steps)
    return ColumnSources()
