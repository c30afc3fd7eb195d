"""The study of published data sets: splits, penalty, and in the slow test that it runs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "uci"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no UCI data beside the repository")


@needs_data
@pytest.mark.parametrize("name", ["bostonHousing", "yacht"])
def test_splits_follow_from_the_seed(name):
    n = len(np.loadtxt(DATA / name / "data.txt"))
    rng = np.random.RandomState(1)
    for split in range(20):
        train, test = np.split(rng.choice(range(n), n, replace=False), [round(0.9 * n)])
        for part, rows in (("train", train), ("test", test)):
            theirs = np.loadtxt(DATA / name / f"index_{part}_{split}.txt", dtype=int)
            np.testing.assert_array_equal(rows, theirs)


@needs_data
@pytest.mark.slow
def test_the_study_runs(tmp_path):
    """Two splits of little training; the full study is the example itself."""
    command = [sys.executable, ROOT / "examples" / "plot_uci_uncertainty.py", "--quick"]
    command += ["--data", DATA, "--jobs", "1", "--output", tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert "boston  log-likelihood" in run.stdout
    assert (tmp_path / "uci_uncertainty.png").is_file()
