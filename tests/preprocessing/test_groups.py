"""`group_columns_by_source`, and `feature_groups` as a function of names."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_dropout import DropoutMLPClassifier, DropoutSearchCV
from sklearn_dropout.preprocessing import PiecewiseLinearEncoder, group_columns_by_source

pd = pytest.importorskip("pandas")
FRAME = pd.DataFrame(
    {
        "age": [20.0, np.nan, 40.0, 50.0, 60.0, 35.0],
        "size": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "eye_colour": ["blue_grey", "brown", "green", "brown", "green", "brown"],
        "eye": ["left", "right", "left", "right", "left", "right"],
    }
)
y = np.array([0, 1, 0, 1, 1, 0])


def columns():
    return ColumnTransformer(
        [
            ("number", SimpleImputer(add_indicator=True), ["age"]),
            ("bins", PiecewiseLinearEncoder(2), ["size"]),
            ("one_hot", OneHotEncoder(sparse_output=False), ["eye_colour", "eye"]),
        ]
    ).set_output(transform="pandas")


EXPECTED = ["age", "age", "size", "size", *["eye_colour"] * 3, "eye", "eye"]


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("verbose", [False, True])
def test_sources_of_a_column_transformer(fitted, verbose):
    transformer = columns().set_params(verbose_feature_names_out=verbose)
    names = clone(transformer).fit(FRAME).get_feature_names_out()
    groups = group_columns_by_source(transformer.fit(FRAME) if fitted else transformer)
    assert groups(names) == EXPECTED
    assert pickle.loads(pickle.dumps(groups))(names) == EXPECTED
    pipeline = make_pipeline(transformer, "passthrough")
    assert group_columns_by_source(pipeline)(names) == EXPECTED


def test_sources_of_encoders():
    X = FRAME[["eye_colour", "eye"]]
    encoder = OneHotEncoder(sparse_output=False).fit(X)
    assert group_columns_by_source(encoder)(encoder.get_feature_names_out()) == EXPECTED[4:]
    unfitted = group_columns_by_source(OneHotEncoder())
    assert unfitted(["colour_red", "colour_blue", "age"]) == ["colour", "colour", "age"]
    unfitted = group_columns_by_source(PiecewiseLinearEncoder())
    assert unfitted(["x_1_bin0", "x_1_bin11", "x_1_missing"]) == ["x_1"] * 3


def test_columns_without_names_before_the_fit():
    transformer = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include=float))
    )
    with pytest.raises(ValueError, match="Fit it first, or choose columns by name"):
        group_columns_by_source(transformer)
    names = transformer.fit(FRAME.dropna()).get_feature_names_out()
    assert group_columns_by_source(transformer)(names) == ["age", "size"]


def network(**params):
    defaults = {"spatial_dropout_rate": 0.3, "max_iter": 2, "random_state": 0}
    return DropoutMLPClassifier((4,), **defaults | params)


def test_a_variable_is_dropped_as_a_whole():
    transformer = columns()
    model = make_pipeline(transformer, network(feature_groups=group_columns_by_source(transformer)))
    by_name = model.fit(FRAME, y)[-1]
    table = transformer.fit_transform(FRAME)
    by_label = network(feature_groups=EXPECTED).fit(table, y)
    np.testing.assert_array_equal(by_name.coefs_[0], by_label.coefs_[0])


def test_a_fold_that_lacks_a_category():
    """With a list of labels 3 of 15 fits failed, and all means were NaN."""
    frame = pd.concat([FRAME] * 4, ignore_index=True)
    frame.loc[0, "eye"] = "both"
    transformer = columns().set_params(one_hot__handle_unknown="ignore")
    groups = group_columns_by_source(transformer)
    model = make_pipeline(transformer, network(feature_groups=groups))
    assert np.isfinite(cross_val_score(model, frame, np.tile(y, 4), cv=3)).all()
    grid = {"dropoutmlpclassifier__spatial_dropout_rate": [0.0, 0.3]}
    search = DropoutSearchCV(model, grid, cv=3).fit(frame, np.tile(y, 4))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_names_are_needed():
    with pytest.raises(ValueError, match=r"takes the names .* set_output\(transform='pandas'\)"):
        network(feature_groups=group_columns_by_source(OneHotEncoder())).fit(np.eye(6), y)
    with pytest.raises(ValueError, match=r"has shape \(2,\), but X has 6 columns.*group_columns"):
        network(feature_groups=[0, 1]).fit(np.eye(6), y)


def test_names_that_cannot_be_told_apart_before_the_fit():
    """A category "new_york" became a group of its own."""
    groups = group_columns_by_source(OneHotEncoder())
    assert groups(["town_bonn", "kind_a", "age_bin2"]) == ["town", "kind", "age"]
    with pytest.raises(ValueError, match=r"'town_new_york'.*Fit the transformer"):
        groups(["town_bonn", "town_new_york"])
    for wrong in (None, "town", OneHotEncoder):
        with pytest.raises(TypeError, match=r"transformer=.*must be an instance"):
            group_columns_by_source(wrong)
