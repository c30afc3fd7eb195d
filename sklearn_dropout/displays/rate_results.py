"""Results of a search for each dropout rate."""

from collections import defaultdict

import numpy as np


def rate_parameter(candidates, param_name):
    """Name of the parameter of the rate."""
    names = {name for params in candidates for name in params}
    if param_name is not None:
        if param_name not in names:
            raise ValueError(f"param_name={param_name!r} is not in the search: {sorted(names)}.")
        return param_name
    rates = sorted(name for name in names if name.endswith("dropout_rate"))
    if len(rates) != 1:
        raise ValueError(
            f"The search has {rates or 'no'} parameters that end in 'dropout_rate'. "
            "Choose one as `param_name`."
        )
    return rates[0]


def chosen_metric(search, metric):
    """Suffix of the keys of `cv_results_`."""
    metrics = [key[10:] for key in search.cv_results_ if key.startswith("mean_test_")]
    if metric is None:
        metric = search.refit if isinstance(search.refit, str) else metrics[0]
        if len(metrics) > 1 and not isinstance(search.refit, str):
            raise ValueError(f"The search has several scores. Choose a `metric` of {metrics}.")
        metric = metric if metric in metrics else "score"
    if metric not in metrics:
        raise ValueError(f"metric={metric!r} is not in the search. Choose one of {metrics}.")
    return metric


def name_of_score(search, metric):
    """Name of the score, or None if unknown."""
    if metric != "score":
        return metric
    if isinstance(search.scoring, str):
        return search.scoring
    return getattr(search.scoring, "__name__", None)


def _as_numbers(param_name, candidates):
    """The rate of each candidate that has one; in lists, the rate that varies."""
    places = [place for place, params in enumerate(candidates) if param_name in params]
    given = [candidates[place][param_name] for place in places]
    if len({np.shape(rates) for rates in given}) == 1:
        table = np.array(given, dtype=float).reshape(len(given), -1)
        varying = np.flatnonzero((table != table[0]).any(axis=0))
        if len(varying) <= 1:
            return dict(zip(places, table[:, varying[0] if len(varying) else 0].tolist()))
    raise ValueError(
        f"The search has these values of {param_name}: {given}. To be drawn, rates must be "
        "numbers, or lists of which only the rate of one layer varies."
    )


def _has(params, name, value):
    """Whether a candidate has a value, which may be an array."""
    return name in params and np.array_equal(params[name], value)


def _settings_by_rate(results, param_name, fixed):
    """For each rate, settings of the other parameters with the indices of their candidates."""
    rates = _as_numbers(param_name, results["params"])
    settings = defaultdict(lambda: defaultdict(list))
    for place, params in enumerate(results["params"]):
        if param_name not in params:
            continue
        if any(not _has(params, name, value) for name, value in fixed.items()):
            continue
        others = {
            name: repr(value)
            for name, value in params.items()
            if name != param_name and name.rpartition("__")[2] != "random_state"
        }
        settings[rates[place]][tuple(sorted(others.items()))].append(place)
    if not settings:
        raise ValueError(f"fixed={fixed!r} leaves no candidate of the search.")
    return settings


def is_confounded(results, param_name, fixed):
    """Whether each setting of the other parameters was tried with a single rate."""
    settings = _settings_by_rate(results, param_name, fixed).values()
    different = {others for of_rate in settings for others in of_rate}
    return len(settings) > 1 and len(different) == sum(map(len, settings))


def candidates_by_rate(results, param_name, metric, fixed):
    """For each rate, in increasing order, indices of the candidates to show."""
    settings = _settings_by_rate(results, param_name, fixed)
    mean = np.nan_to_num(results[f"mean_test_{metric}"], nan=-np.inf)
    return {
        rate: max(settings[rate].values(), key=lambda places: mean[places].mean())
        for rate in sorted(settings)
    }


def scores_of(results, chosen, part, metric):
    """Scores of shape (n_rates, n_splits * repeats), or None without scores.

    NaN fills up rates with fewer repeats than others, and replaces all scores of a rate if a fit
    failed.
    """
    ending = f"_{part}_{metric}"
    columns = [
        values
        for key, values in results.items()
        if key.startswith("split") and key.endswith(ending) and key[5 : -len(ending)].isdigit()
    ]
    if not columns:
        return None
    splits = np.stack(columns, axis=1)
    rows = [splits[places].ravel() for places in chosen.values()]
    scores = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, values in zip(scores, rows):
        if not np.isnan(values).any():
            row[: len(values)] = values
    return scores
