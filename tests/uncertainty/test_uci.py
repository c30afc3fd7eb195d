"""The study of published data sets: splits, penalty, and in the slow test that it runs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SKLEARN_DROPOUT_DATA", "nowhere"))
UCI = DATA / "uci"
needs_data = pytest.mark.skipif(not UCI.is_dir(), reason="no UCI data in SKLEARN_DROPOUT_DATA")


@needs_data
@pytest.mark.parametrize("name", ["bostonHousing", "yacht"])
def test_splits_follow_from_the_seed(name):
    n = len(np.loadtxt(UCI / name / "data.txt"))
    rng = np.random.RandomState(1)
    for split in range(20):
        train, test = np.split(rng.choice(range(n), n, replace=False), [round(0.9 * n)])
        for part, rows in (("train", train), ("test", test)):
            theirs = np.loadtxt(UCI / name / f"index_{part}_{split}.txt", dtype=int)
            np.testing.assert_array_equal(rows, theirs)


@needs_data
@pytest.mark.slow
def test_the_study_runs(tmp_path):
    """Two splits of little training; the full study is the example itself."""
    command = [sys.executable, ROOT / "examples" / "plot_uci_uncertainty.py"]
    short = os.environ | {"QUICK": "1", "MPLBACKEND": "agg", "SKLEARN_DROPOUT_DATA": str(DATA)}
    run = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=short, check=True
    )
    assert "boston  log-likelihood" in run.stdout
