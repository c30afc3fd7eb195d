"""`PiecewiseLinearEncoder`: the code by hand, edges, missing values, scikit-learn's checks."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.utils.estimator_checks import check_estimator

from sklearn_dropout.preprocessing import PiecewiseLinearEncoder

STRATEGIES = ["quantile", "tree"]


# Array API inputs are tried only where SciPy is told to take them.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize("missing", ["error", "bin"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_check_estimator(strategy, missing):
    results = check_estimator(PiecewiseLinearEncoder(strategy=strategy, handle_missing=missing))
    assert {result["status"] for result in results} <= {"passed", "skipped"}
    assert sum(result["status"] == "passed" for result in results) >= 45


def test_code_of_gorishniy():
    """Their eq. 1, for edges 0, 1, 3, 7."""
    encoder = PiecewiseLinearEncoder().fit([[0.0], [1.0], [3.0], [7.0]])
    encoder.bin_edges_ = [np.array([0.0, 1.0, 3.0, 7.0])]
    found = encoder.transform([[-1.0], [0.5], [1.0], [2.0], [5.0], [11.0]])
    expected = [[-1, 0, 0], [0.5, 0, 0], [1, 0, 0], [1, 0.5, 0], [1, 1, 0.5], [1, 1, 2]]
    np.testing.assert_allclose(found, expected)


def test_quantiles():
    X = np.random.default_rng(0).exponential(size=(500, 2)) ** 2
    encoder = PiecewiseLinearEncoder(5).fit(X)
    for x, edges in zip(X.T, encoder.bin_edges_):
        assert np.histogram(x, edges)[0].tolist() == [100] * 5
    assert encoder.transform(X).shape == (500, 10)
    few = PiecewiseLinearEncoder(5).fit([[0.0], [0.0], [0.0], [1.0]])
    assert few.bin_edges_[0].tolist() == [0.0, 0.25, 1.0] or len(few.bin_edges_[0]) <= 6


@pytest.mark.parametrize("kind", ["number", "class"])
def test_trees_split_where_the_target_changes(kind):
    x = np.linspace(0, 1, 101)[:, None]
    y = np.where(x.ravel() < 0.3, 0, np.where(x.ravel() < 0.7, 2, 1))
    y = y.astype(str) if kind == "class" else y.astype(float)
    encoder = PiecewiseLinearEncoder(3, strategy="tree").fit(x, y)
    np.testing.assert_allclose(encoder.bin_edges_[0], [0, 0.295, 0.695, 1], atol=0.006)
    with pytest.raises(ValueError, match="strategy='tree' requires y to be passed"):
        PiecewiseLinearEncoder(strategy="tree").fit(x)


def test_numbers_that_are_whole_by_chance_are_no_classes():
    """The diabetes targets grew a tree of 214 classes, which scikit-learn warned of."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(200, 1))
    y = np.round(100 * (x.ravel() > 0.6) + 40 * rng.standard_normal(200))
    edges = PiecewiseLinearEncoder(2, strategy="tree").fit(x, y).bin_edges_[0]
    assert edges[1] == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_linear_model_can_follow_a_curve(strategy):
    x = np.linspace(-3, 3, 300)[:, None]
    y = np.sin(2 * x.ravel())
    encoded = PiecewiseLinearEncoder(30, strategy=strategy).fit_transform(x, y)
    assert LinearRegression().fit(x, y).score(x, y) < 0.2
    assert LinearRegression().fit(encoded, y).score(encoded, y) > 0.98


def test_missing_values_have_a_column_of_their_own():
    X = np.array([[0.0, np.nan], [1.0, 5.0], [np.nan, 6.0]])
    with pytest.raises(ValueError, match="NaN"):
        PiecewiseLinearEncoder(1).fit(X)
    encoder = PiecewiseLinearEncoder(1, handle_missing="bin").fit(X)
    expected = [[0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 1, 0]]
    np.testing.assert_array_equal(encoder.transform(X), expected)
    names = ["x0_bin0", "x0_missing", "x1_bin0", "x1_missing"]
    assert encoder.get_feature_names_out().tolist() == names


def test_constant_columns_and_precision():
    X = np.array([[2.0, 1.0], [2.0, 3.0]], dtype=np.float32)
    encoded = PiecewiseLinearEncoder(4).fit_transform(X)
    assert encoded.dtype == np.float32
    assert not encoded[:, 0].any()


def test_data_frames():
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame({"age": [1.0, 2.0, 3.0], "size": [4.0, 6.0, 9.0]})
    encoder = PiecewiseLinearEncoder(2).set_output(transform="pandas").fit(X)
    found = encoder.transform(X)
    assert list(found.columns) == ["age_bin0", "age_bin1", "size_bin0", "size_bin1"]
    assert encoder.get_feature_names_out(["age", "size"]).tolist() == list(found.columns)
