"""The score recorded in each epoch."""

from inspect import signature

import numpy as np
from sklearn.metrics import check_scoring

from ..nn.settings import raised_by_user


def epoch_scores(estimator, train, valid):
    """How to score each epoch, with dropout off.

    Parameters
    ----------
    estimator : DropoutNetwork
        Checked, its targets encoded.
    train : Sample
    valid : Sample or None

    Returns
    -------
    score : str or None
        Key of ``evaluation.SCORES``, computed from the outputs.
    scorers : dict or None
        Otherwise ``{"train" or "valid": callable (weights, biases) -> float}``.
    """
    scoring = estimator.scoring
    if scoring is None:
        return (None if valid is None else estimator._default_score()), None
    if scoring == estimator._default_scoring:
        return estimator._default_score(), None
    scorer = check_scoring(estimator, scoring)
    samples = {"train": train, "valid": valid}
    return None, {
        part: _SampleScorer(estimator, scorer, sample)
        for part, sample in samples.items()
        if sample is not None
    }


def takes_weights(scorer):
    """Whether a scorer, or the metric inside it, has a parameter `sample_weight`."""
    return "sample_weight" in signature(getattr(scorer, "_score_func", scorer)).parameters


class _SampleScorer:
    """Score of one sample by a scikit-learn scorer, for a network in training."""

    def __init__(self, estimator, scorer, sample):
        self.estimator = estimator
        self.scorer = scorer
        rows, codes, weight = sample.rows, sample.codes, sample.weight
        if sample.counts:  # rows that were merged for training are scored one by one
            times = np.rint(weight).astype(int)
            rows, codes, weight = rows.repeat(times), codes.repeat(times), None
        everything = len(rows) == sample.X.shape[0] and (np.diff(rows) == 1).all()
        self.X = sample.X if everything else sample.X[rows]
        self.y = estimator._decode_targets(sample.targets[codes])
        self.weight = {}
        if weight is not None and takes_weights(scorer):
            self.weight = {"sample_weight": weight}

    def __call__(self, weights, biases):
        snapshot = self.estimator._on_tables()
        snapshot._parameters = (weights, biases)
        try:
            with raised_by_user(), np.errstate(over="ignore", invalid="ignore"):
                return float(self.scorer(snapshot, self.X, self.y, **self.weight))
        except Exception as error:
            if callable(self.estimator.scoring):
                raise
            raise ValueError(
                f"scoring={self.estimator.scoring!r} cannot score this estimator on these data: "
                f"{error}"
            ) from error
