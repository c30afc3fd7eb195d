"""What the displays draw, on a backend without a screen."""

import builtins
import inspect
import sys

import numpy as np
import pytest
from scipy.stats import uniform
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import WhiteKernel
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ValidationCurveDisplay,
    validation_curve,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EpochScoring

from sklearn_dropout import (
    DropoutEnsembleRegressor,
    DropoutMLPClassifier,
    DropoutMLPRegressor,
    DropoutRandomizedSearchCV,
    DropoutRateDisplay,
    DropoutSearchCV,
    IntervalCoverageDisplay,
    LearningRateDisplay,
    OverfittingDisplay,
    TrainingHistoryDisplay,
    compare_overfitting,
)

DISPLAYS = [TrainingHistoryDisplay, DropoutRateDisplay, OverfittingDisplay]
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 4, "batch_size": 16, "random_state": 0}
RATES = [0.0, 0.3, 0.6]


@pytest.fixture(autouse=True)
def plt():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    yield pyplot
    pyplot.close("all")


def classifier(**params):
    return DropoutMLPClassifier(**SMALL | params)


def regressor(**params):
    return DropoutMLPRegressor(**SMALL | params)


def class_data(n=60):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3))
    return X, (X[:, 0] + 0.5 * rng.standard_normal(n) > 0).astype(int)


def number_data(n=60):
    X, _ = class_data(n)
    return X, 10 * X[:, 0] + np.arange(n) / n


def labels(artists):
    return [artist.get_label() for artist in artists]


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def band(collection):
    """Lower and upper edge of a band, by x."""
    (path,) = collection.get_paths()
    by_x = {}
    for x, y in path.vertices:
        by_x.setdefault(round(float(x), 9), []).append(y)
    return {x: (min(ys), max(ys)) for x, ys in sorted(by_x.items())}


# ---- convention


@pytest.mark.parametrize("Display", DISPLAYS)
def test_convention(Display):
    """Data in `__init__`, stored as given; `plot` takes `ax` first and draws nothing before."""
    parameters = inspect.signature(Display).parameters
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    given = {name: object() for name in parameters}
    assert vars(Display(**given)) == given
    plot = list(inspect.signature(Display.plot).parameters.values())
    assert [p.name for p in plot[:2]] == ["self", "ax"]
    assert all(p.kind is p.KEYWORD_ONLY for p in plot[2:])
    makers = [name for name in vars(Display) if name.startswith("from_")]
    assert makers
    for name in makers:
        keywords = inspect.signature(getattr(Display, name)).parameters
        assert keywords["ax"].kind is inspect.Parameter.KEYWORD_ONLY


def made():
    scores = np.arange(6.0).reshape(2, 3)
    return [
        TrainingHistoryDisplay(epochs=[1, 2], train_loss=[3.0, 2.0]),
        DropoutRateDisplay(dropout_rates=[0, 0.5], test_scores=scores),
        OverfittingDisplay(names=["a", "b"], train_scores=scores + 1, test_scores=scores),
    ]


@pytest.mark.parametrize("display", made(), ids=lambda display: type(display).__name__)
def test_plot_draws_on_given_or_new_axes_and_returns_itself(display, plt):
    figure, ax = plt.subplots()
    assert display.plot(ax) is display
    assert display.ax_ is ax
    assert display.figure_ is figure
    display.plot()
    assert display.ax_ is not ax
    assert display.ax_.figure is display.figure_


@pytest.mark.parametrize("display", made(), ids=lambda display: type(display).__name__)
def test_without_matplotlib(display, monkeypatch):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=rf"{type(display).__name__}\.plot requires matplotlib"):
        display.plot()


# ---- training history


def test_history_of_loss_and_score():
    X, y = class_data()
    clf = classifier().fit(X, y, X_val=X[:20], y_val=y[:20])
    display = TrainingHistoryDisplay.from_estimator(clf)
    assert labels(display.lines_) == ["Train (dropout on)", "Validation"] == legend(display)
    for line, key in zip(display.lines_, ("train_loss", "valid_loss")):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
        np.testing.assert_allclose(line.get_ydata(), clf.history_[:, key])
    assert display.ax_.get_xlabel() == "Epoch"
    assert display.ax_.get_ylabel() == "Loss"
    assert display.best_line_ is None

    display = TrainingHistoryDisplay.from_estimator(clf, quantity="score", name="net")
    assert labels(display.lines_) == ["net: Train", "net: Validation"]
    np.testing.assert_allclose(display.lines_[1].get_ydata(), clf.validation_scores_)
    assert display.ax_.get_ylabel() == "accuracy"


def test_history_without_validation():
    clf = classifier().fit(*class_data())
    display = TrainingHistoryDisplay.from_estimator(clf, line_kw={"color": "red", "label": "me"})
    assert labels(display.lines_) == ["me"]
    assert display.lines_[0].get_color() == "red"
    np.testing.assert_allclose(display.lines_[0].get_ydata(), clf.loss_curve_)
    with pytest.raises(ValueError, match="no score to draw"):
        TrainingHistoryDisplay.from_estimator(clf, quantity="score")
    with pytest.raises(ValueError, match="quantity='both' is unknown"):
        display.plot(quantity="both")


def test_history_says_whether_dropout_was_on():
    X, y = class_data()
    for rates, label in [
        ({"dropout_rate": 0.2}, "Train (dropout on)"),
        ({"dropout_rate": 0.0}, "Train"),
        ({"dropout_rate": 0, "input_dropout_rate": 0.1}, "Train (dropout on)"),
    ]:
        display = TrainingHistoryDisplay.from_estimator(classifier(**rates).fit(X, y))
        assert labels(display.lines_) == [label]


def test_history_marks_the_epoch_that_early_stopping_restored():
    X, y = class_data()
    clf = classifier(max_iter=30, early_stopping=True, n_iter_no_change=3, learning_rate_init=0.05)
    clf.fit(X, y)
    display = TrainingHistoryDisplay.from_estimator(clf, quantity="score")
    best = display.best_line_.get_xdata()[0]
    assert best == 1 + int(np.argmax(clf.validation_scores_))
    assert best < clf.n_iter_
    assert legend(display)[-1] == "Best epoch"
    assert labels(display.lines_)[-1] == "Validation"


@pytest.mark.parametrize("rate", [0.4, [0.4, 0.2]], ids=["one rate", "a rate for each layer"])
def test_history_of_the_dropout_rate(rate):
    X = np.random.default_rng(0).standard_normal((30, 3))
    y = X[:, 0] > 0
    clf = DropoutMLPClassifier((8, 8), dropout_rate=rate, dropout_schedule="linear", max_iter=4)
    display = TrainingHistoryDisplay.from_estimator(clf.fit(X, y), quantity="dropout_rate")
    drawn = np.array([line.get_ydata() for line in display.lines_])
    np.testing.assert_allclose(drawn.T, np.outer(1 - np.arange(4) / 4, np.atleast_1d(rate)))
    assert display.ax_.get_ylabel() == "Dropout rate"
    clf = DropoutMLPClassifier((8,), max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match=r"no dropout_rate to draw.*dropout_schedule"):
        TrainingHistoryDisplay.from_estimator(clf, quantity="dropout_rate")


def test_history_of_wrapped_networks():
    X, y = class_data()
    pipe = make_pipeline(StandardScaler(), classifier())
    search = DropoutSearchCV(pipe, {"dropoutmlpclassifier__dropout_rate": [0.1]}, cv=2).fit(X, y)
    network = search.best_estimator_[-1]
    display = TrainingHistoryDisplay.from_estimator(search)
    np.testing.assert_allclose(display.lines_[0].get_ydata(), network.loss_curve_)
    X, y = number_data()
    target = TransformedTargetRegressor(regressor(scoring="neg_mean_absolute_error")).fit(X, y)
    display = TrainingHistoryDisplay.from_estimator(target, quantity="score")
    assert len(display.lines_) == 1
    assert display.ax_.get_ylabel() == "neg_mean_absolute_error"


def test_history_of_other_estimators_is_refused():
    X, y = class_data()
    with pytest.raises(TypeError, match="has no training history"):
        TrainingHistoryDisplay.from_estimator(KNeighborsClassifier().fit(X, y))
    with pytest.raises(NotFittedError):
        TrainingHistoryDisplay.from_estimator(classifier())


def test_history_with_rows_that_callbacks_wrote():
    X, y = class_data()
    callback = EpochScoring("accuracy", name="mine", on_train=True)
    clf = classifier(callbacks=[callback]).fit(X, y)
    display = TrainingHistoryDisplay.from_estimator(clf)
    np.testing.assert_allclose(display.lines_[0].get_ydata(), clf.loss_curve_)


# ---- dropout rates


def check_rate_curves(display, rates, train, test):
    assert labels(display.lines_) == ["Train", "Test"] == legend(display)
    for line, area, scores in zip(display.lines_, display.fill_between_, (train, test)):
        np.testing.assert_allclose(line.get_xdata(), rates)
        np.testing.assert_allclose(line.get_ydata(), scores.mean(axis=1), atol=1e-6)
        edges = band(area)
        assert list(edges) == pytest.approx(rates)
        low, high = np.array([*edges.values()]).T
        np.testing.assert_allclose(low, scores.mean(axis=1) - scores.std(axis=1), atol=1e-6)
        np.testing.assert_allclose(high, scores.mean(axis=1) + scores.std(axis=1), atol=1e-6)


@pytest.mark.parametrize("negate", [False, True])
def test_rates_against_validation_curve(negate):
    """The numbers and lines of scikit-learn's own display."""
    X, y = number_data()
    pipe = make_pipeline(StandardScaler(), regressor())
    scoring = "neg_mean_squared_error"
    name = "dropoutmlpregressor__dropout_rate"
    options = {"cv": KFold(3), "scoring": scoring}
    display = DropoutRateDisplay.from_estimator(
        pipe, X, y, dropout_rates=RATES, negate_score=negate, **options
    )
    train, test = validation_curve(pipe, X, y, param_name=name, param_range=RATES, **options)
    np.testing.assert_allclose(display.test_scores, test, rtol=1e-4)
    sign = -1 if negate else 1
    check_rate_curves(display, RATES, sign * display.train_scores, sign * display.test_scores)
    theirs = ValidationCurveDisplay(
        param_name=name, param_range=np.array(RATES), train_scores=train, test_scores=test
    ).plot(negate_score=negate)
    for one, other in zip(display.lines_, theirs.lines_):
        np.testing.assert_allclose(one.get_ydata(), other.get_ydata(), rtol=1e-4)
        assert one.get_label() == other.get_label()
    assert display.ax_.get_xlabel() == name == display.param_name
    assert display.ax_.get_ylabel() == scoring.removeprefix("neg_" if negate else "")


def test_rates_from_search_without_training_scores():
    X, y = class_data()
    search = GridSearchCV(classifier(), {"dropout_rate": [0.6, 0.0, 0.3]}, cv=2).fit(X, y)
    display = DropoutRateDisplay.from_search(search, std_display_style=None)
    assert labels(display.lines_) == ["Test"]
    np.testing.assert_array_equal(display.lines_[0].get_xdata(), RATES)
    expected = search.cv_results_["mean_test_score"][[1, 2, 0]]
    np.testing.assert_allclose(display.lines_[0].get_ydata(), expected)
    assert display.fill_between_ is None
    assert display.train_scores is None
    assert display.ax_.get_ylabel() == "Score"


def searched(grid, **options):
    X, y = class_data()
    options = {"cv": 2, "return_train_score": True} | options
    return DropoutSearchCV(classifier(), grid, **options).fit(X, y)


def test_other_parameters_take_their_best_value_or_a_fixed_one():
    search = searched({"dropout_rate": RATES, "learning_rate_init": [0.001, 0.1]})
    means = search.cv_results_["mean_test_score"].reshape(3, 2)
    display = DropoutRateDisplay.from_search(search)
    np.testing.assert_allclose(display.test_scores.mean(axis=1), means.max(axis=1))
    chosen = means.argmax(axis=1)
    train = search.cv_results_["mean_train_score"].reshape(3, 2)[range(3), chosen]
    np.testing.assert_allclose(display.train_scores.mean(axis=1), train)
    for column, value in enumerate([0.001, 0.1]):
        display = DropoutRateDisplay.from_search(search, fixed={"learning_rate_init": value})
        np.testing.assert_allclose(display.test_scores.mean(axis=1), means[:, column])
    with pytest.raises(ValueError, match="leaves no candidate"):
        DropoutRateDisplay.from_search(search, fixed={"learning_rate_init": 5})


def test_arrays_can_be_fixed():
    sizes = [np.array([4]), np.array([5])]
    search = searched({"dropout_rate": RATES, "hidden_layer_sizes": sizes})
    means = search.cv_results_["mean_test_score"].reshape(3, 2)
    display = DropoutRateDisplay.from_search(search, fixed={"hidden_layer_sizes": np.array([5])})
    np.testing.assert_allclose(display.test_scores.mean(axis=1), means[:, 1])


def test_history_is_that_of_the_fit_whatever_is_set_later():
    X, y = class_data()
    est = classifier(dropout_rate=0.5).fit(X, y, X_val=X, y_val=y)
    est.set_params(dropout_rate=[0.1, 0.1, 0.1], early_stopping=True)
    display = TrainingHistoryDisplay.from_estimator(est)
    assert display.dropout_on
    assert display.best_epoch is None
    est = classifier(dropout_rate=0, early_stopping=True).fit(X, y, X_val=X, y_val=y)
    best = TrainingHistoryDisplay.from_estimator(est).best_epoch
    display = TrainingHistoryDisplay.from_estimator(
        est.set_params(dropout_rate=0.5, early_stopping=False)
    )
    assert not display.dropout_on
    assert display.best_epoch == best is not None


def test_best_epoch_is_of_the_last_of_several_fits():
    X, y = class_data()
    est = classifier(early_stopping=True, warm_start=True, learning_rate_init=0.3, max_iter=6)
    for _ in range(4):
        est.fit(X, y, X_val=X, y_val=y)
        first = len(est.loss_curve_) - est.n_iter_
        latest = est.validation_scores_[first:]
        best = TrainingHistoryDisplay.from_estimator(est).best_epoch
        assert best == first + 1 + int(np.argmax(latest))


def test_seeds_are_repeats():
    search = searched({"dropout_rate": RATES, "random_state": [0, 1, 2]})
    display = DropoutRateDisplay.from_search(search)
    assert display.test_scores.shape == (3, 6)
    means = search.cv_results_["mean_test_score"].reshape(3, 3).mean(axis=1)
    np.testing.assert_allclose(display.test_scores.mean(axis=1), means)


def test_rates_that_not_all_candidates_have():
    grid = [
        {"dropout_rate": [0.0, 0.5], "random_state": [0, 1]},
        {"dropout_rate": [0.2]},
        {"max_norm": [1.0]},
    ]
    display = DropoutRateDisplay.from_search(searched(grid))
    np.testing.assert_array_equal(display.dropout_rates, [0.0, 0.2, 0.5])
    assert np.isnan(display.test_scores).sum() == 2
    assert np.isfinite(display.lines_[1].get_ydata()).all()


@pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.FitFailedWarning", "ignore:One or more of the"
)
def test_rates_whose_fits_failed_leave_a_gap():
    display = DropoutRateDisplay.from_search(searched({"dropout_rate": [0.0, 0.5, 1.5]}))
    assert np.isnan(display.lines_[1].get_ydata()).tolist() == [False, False, True]


def test_which_rate_and_which_score():
    grid = {"dropout_rate": [0.0, 0.5], "input_dropout_rate": [0.0, 0.2]}
    search = searched(grid, scoring=["accuracy", "roc_auc"], refit=False)
    with pytest.raises(ValueError, match=r"\['dropout_rate', 'input_dropout_rate'\] parameters"):
        DropoutRateDisplay.from_search(search)
    with pytest.raises(ValueError, match="param_name='rate' is not in the search"):
        DropoutRateDisplay.from_search(search, param_name="rate")
    with pytest.raises(ValueError, match=r"Choose a `metric` of \['accuracy', 'roc_auc'\]"):
        DropoutRateDisplay.from_search(search, param_name="dropout_rate")
    with pytest.raises(ValueError, match="metric='f1' is not in the search"):
        DropoutRateDisplay.from_search(search, param_name="dropout_rate", metric="f1")
    display = DropoutRateDisplay.from_search(
        search, param_name="input_dropout_rate", metric="roc_auc"
    )
    expected = search.cv_results_["mean_test_roc_auc"].reshape(2, 2).max(axis=0)
    np.testing.assert_allclose(display.test_scores.mean(axis=1), expected)
    assert display.ax_.get_ylabel() == "roc_auc"
    search = searched(grid, scoring=["accuracy", "roc_auc"], refit="accuracy")
    display = DropoutRateDisplay.from_search(search, param_name="dropout_rate")
    assert display.score_name == "accuracy"


def test_rates_of_one_layer():
    grid = {"dropout_rate": [[0.1, 0.5], [0.1, 0.2]], "hidden_layer_sizes": [(4, 3)]}
    search = searched(grid)
    display = DropoutRateDisplay.from_search(search)
    np.testing.assert_array_equal(display.lines_[0].get_xdata(), [0.2, 0.5])
    expected = search.cv_results_["mean_test_score"][::-1]
    np.testing.assert_allclose(display.lines_[1].get_ydata(), expected)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
def test_rates_that_cannot_be_drawn():
    for rates in ([0.0, [0.5]], [[0, 0], [0.1, 0.2]]):
        with pytest.raises(ValueError, match=r"these values of dropout_rate: .* only the rate of"):
            DropoutRateDisplay.from_search(
                searched({"dropout_rate": rates, "hidden_layer_sizes": [(3, 3)]}, error_score=0)
            )
    with pytest.raises(ValueError, match="no parameters that end in"):
        DropoutRateDisplay.from_search(searched({"alpha": [0.1]}))
    with pytest.raises(ValueError, match="Fit it first"):
        DropoutRateDisplay.from_search(DropoutSearchCV(classifier(), {"dropout_rate": [0]}))
    with pytest.raises(TypeError, match="Pass the name of the parameter"):
        DropoutRateDisplay.from_estimator(Ridge(), *number_data())
    with pytest.raises(ValueError, match="std_display_style='bars'"):
        made()[1].plot(std_display_style="bars")


def test_rates_of_an_estimator_with_groups():
    X, y = class_data()
    options = {"cv": GroupKFold(3), "groups": np.arange(60) // 4, "dropout_rates": [0.0, 0.5]}
    display = DropoutRateDisplay.from_estimator(
        classifier(), X, y, param_name="input_dropout_rate", **options
    )
    assert display.test_scores.shape == (2, 3)
    assert display.ax_.get_xlabel() == "input_dropout_rate"


# ---- overfitting


@pytest.fixture(scope="module")
def comparison():
    X, y = class_data()
    estimators = {"1 neighbour": KNeighborsClassifier(1), "9 neighbours": KNeighborsClassifier(9)}
    return compare_overfitting(estimators, X, y, cv=KFold(4))


def test_overfitting(comparison):
    display = OverfittingDisplay.from_comparison(comparison)
    train, test = comparison.train_scores.mean(axis=1), comparison.test_scores.mean(axis=1)
    for line, means in zip(display.lines_, (train, test)):
        np.testing.assert_allclose(line.get_xdata(), means)
        np.testing.assert_array_equal(line.get_ydata(), [0, 1])
    assert labels(display.lines_) == ["Train", "Test"]
    ends = np.array([segment[:, 0] for segment in display.gaps_.get_segments()])
    np.testing.assert_allclose(ends, np.column_stack([test, train]))
    intervals = np.array([segment[:, 0] for segment in display.errorbar_.get_segments()])
    for found, name in zip(intervals, comparison.names):
        mean = comparison.means["test"][name]
        np.testing.assert_allclose(found, [mean.low, mean.high])
    ticks = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert ticks == ["1 neighbour (baseline)", "9 neighbours"]
    assert display.ax_.get_xlabel() == "accuracy"
    assert legend(display) == ["Gap", "Test, 95 % confidence interval", "Train", "Test"]
    bottom, top = display.ax_.get_ylim()
    assert bottom > top  # the first estimator is on top


def test_overfitting_of_errors(comparison):
    display = OverfittingDisplay.from_comparison(
        comparison, negate_score=True, score_name="error", line_kw={"ms": 9}
    )
    np.testing.assert_allclose(display.lines_[1].get_xdata(), -comparison.test_scores.mean(axis=1))
    assert display.ax_.get_xlabel() == "error"
    assert display.lines_[0].get_markersize() == 9


def test_comparison_plots_itself(comparison, plt):
    _, ax = plt.subplots()
    display = comparison.plot(ax, gap_kw={"lw": 2})
    assert isinstance(display, OverfittingDisplay)
    assert display.ax_ is ax
    assert display.gaps_.get_linewidths() == [2]


def test_rates_drawn_with_other_parameters_are_not_connected(plt):
    """A randomized search over two parameters made a zig-zag of the rates."""
    X, y = class_data()
    network = DropoutMLPClassifier((4,), max_iter=1, random_state=0)
    both = {"dropout_rate": uniform(0, 0.5), "alpha": uniform(0, 1)}
    for distributions, style in ((both, "None"), ({"dropout_rate": uniform(0, 0.5)}, "-")):
        search = DropoutRandomizedSearchCV(network, distributions, n_iter=4, cv=2, random_state=0)
        display = DropoutRateDisplay.from_search(search.fit(X, y))
        assert [line.get_linestyle() for line in display.lines_] == [style]
        assert (display.fill_between_ is None) == (style == "None")


# Coverage


def nested(network):
    """A pipeline in a pipeline."""
    return Pipeline([("all", make_pipeline(StandardScaler(), network))])


def test_coverage_of_known_intervals(plt):
    """Targets whose law is known: the curve is the diagonal, within chance."""
    X, y = number_data(400)
    reg = GaussianProcessRegressor(WhiteKernel(1.0), optimizer=None).fit(X, y * 0)
    y = np.random.default_rng(1).standard_normal(400)
    display = IntervalCoverageDisplay.from_estimator(reg, X, y, levels=[0.5, 0.9])
    np.testing.assert_allclose(display.found, [0.5, 0.9], atol=0.08)
    np.testing.assert_allclose(display.width, [2 * 0.6745, 2 * 1.645], rtol=0.01)
    np.testing.assert_array_equal(display.line_.get_ydata(), display.found)
    assert display.line_.get_label() == "GaussianProcessRegressor"
    assert display.plot(display.ax_, name="again", show_band=False).band_ is None


def test_coverage_of_ensembles_and_pipelines(plt):
    X, y = number_data(90)
    network = make_pipeline(StandardScaler(), regressor())
    ensemble = DropoutEnsembleRegressor(network, 3, cv=3, random_state=0).fit(X[:60], y[:60])
    display = IntervalCoverageDisplay.from_estimator(ensemble, X[60:], y[60:], levels=[0.6, 0.8])
    for level, share, width in zip((0.6, 0.8), display.found, display.width):
        low, high = ensemble.predict_interval(X[60:], level)
        assert share == np.mean((low <= y[60:]) & (y[60:] <= high))
        assert width == np.mean(high - low)
    display = IntervalCoverageDisplay.from_estimator(
        network.fit(X, y), X, y, levels=[0.5], random_state=0
    )
    mean, std = network.predict(X, return_std=True, random_state=0)
    assert display.found[0] == np.mean(abs(y - mean) <= 0.6744897501960817 * std)


@pytest.mark.parametrize("nest", [lambda net: Pipeline([("net", net)]), nested])
def test_displays_follow_every_step_of_nested_pipelines(nest, plt):
    X, y = number_data(60)
    model, X_far = nest(regressor()), 1e3 * X
    flat = regressor() if "net" in model.named_steps else model[-1]
    for draw in (
        lambda est: LearningRateDisplay.from_estimator(est, X_far, y, n_steps=20).losses,
        lambda est: (
            IntervalCoverageDisplay.from_estimator(
                est.fit(X_far, y), X_far, y, random_state=0
            ).width
        ),
    ):
        np.testing.assert_array_equal(draw(model), draw(flat))


def test_coverage_of_what_has_no_intervals(plt):
    X, y = number_data(30)
    with pytest.raises(TypeError, match="Ridge has no intervals"):
        IntervalCoverageDisplay.from_estimator(Ridge().fit(X, y), X, y)
    model = Pipeline([("net", TransformedTargetRegressor(regressor()))]).fit(X, y)
    with pytest.raises(TypeError, match=r"transforms y\. Pass its regressor_"):
        IntervalCoverageDisplay.from_estimator(model, X, y)
    reg = regressor().fit(X, y)
    with pytest.raises(ValueError, match="one output at a time"):
        IntervalCoverageDisplay.from_estimator(reg, X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="must be above 0 and below 1"):
        IntervalCoverageDisplay.from_estimator(reg, X, y, levels=[0.5, 1.0])
    with pytest.raises(NotFittedError):
        IntervalCoverageDisplay.from_estimator(regressor(), X, y)


# Learning rates


@pytest.mark.parametrize("kind", ["classes", "numbers", "pipeline"])
def test_learning_rates_rise_until_the_loss_does(kind, plt):
    X, y = class_data(200) if kind == "classes" else number_data(200)
    est = classifier() if kind == "classes" else regressor()
    est = make_pipeline(StandardScaler(), est) if kind == "pipeline" else est
    before = repr(est)
    display = LearningRateDisplay.from_estimator(est, X, y, high=1e3, n_steps=80)
    assert repr(est) == before
    assert (np.diff(display.learning_rates) > 0).all()
    assert len(display.losses) == len(display.learning_rates) <= 80
    assert display.losses[-1] > display.losses.min()
    assert 1e-5 <= display.steepest <= display.learning_rates[np.argmin(display.smoothed)]
    assert display.ax_.get_xscale() == "log"
    again = LearningRateDisplay.from_estimator(est, X, y, high=1e3, n_steps=80)
    np.testing.assert_array_equal(again.losses, display.losses)


def test_learning_rates_that_make_no_sense(plt):
    X, y = number_data()
    with pytest.raises(ValueError, match=r"low=1 and high=0\.1 must be above 0"):
        LearningRateDisplay.from_estimator(regressor(), X, y, low=1, high=0.1)
    with pytest.raises(TypeError, match="does not end with a network"):
        LearningRateDisplay.from_estimator(Ridge(), X, y)
    for model in (
        TransformedTargetRegressor(regressor()),
        Pipeline([("net", TransformedTargetRegressor(regressor()))]),
    ):
        with pytest.raises(TypeError, match=r"transforms y\. Pass its regressor"):
            LearningRateDisplay.from_estimator(model, X, y)
