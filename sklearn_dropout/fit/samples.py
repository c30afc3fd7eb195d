"""Rows, targets and weights that a network is trained or validated on."""

from dataclasses import dataclass

import numpy as np
import torch

from ..nn.tensors import dense_rows


@dataclass(eq=False)
class Sample:
    """Rows that a network is trained or validated on.

    Attributes
    ----------
    X : float32 ndarray or CSR matrix of shape (n_total, n_features)
        As given; fits of a search may share it.
    rows : int64 ndarray of shape (n_rows,)
        Which rows of `X` belong to the sample.
    targets : float32 ndarray of shape (n_codes, n_outputs)
        The distinct rows of targets.
    codes : int64 ndarray of shape (n_rows,)
        Which row of `targets` belongs to each row of the sample.
    weight : float64 ndarray of shape (n_rows,), or None
        Sample weights, all positive.
    n_given : int
        Rows before equal ones were merged.
    counts : bool
        Whether the weights are only counts of equal rows.
    """

    X: object
    rows: np.ndarray
    targets: np.ndarray
    codes: np.ndarray
    weight: np.ndarray | None = None
    n_given: int = 0
    counts: bool = False

    @property
    def n_rows(self):
        """Number of rows, equal ones merged."""
        return len(self.rows)

    @property
    def total_weight(self):
        """Sum of the weights, or the number of rows without weights."""
        return float(len(self.rows)) if self.weight is None else float(self.weight.sum())

    def inputs(self, positions, device="cpu"):
        """Inputs of some rows of the sample, as a dense tensor.

        Parameters
        ----------
        positions : int64 ndarray of shape (n,), or slice
            Of the rows in the sample.

        Returns
        -------
        x : float32 tensor of shape (n, n_features)
        """
        return dense_rows(self.X, self.rows[positions]).to(device)

    def answers(self, positions=slice(None), device="cpu"):
        """Targets of some rows of the sample: float32 tensor of shape (n, n_outputs)."""
        return torch.from_numpy(self.targets[self.codes[positions]]).to(device)

    def shares(self, positions=slice(None), device="cpu"):
        """Weights of some rows of the sample, scaled to a sum of one.

        Returns
        -------
        share : float32 tensor of shape (n,)
        total : float
            What the weights summed to before.
        """
        if self.weight is None:
            n_rows = len(self.rows[positions])
            share = torch.full((n_rows,), 1.0 / n_rows, dtype=torch.float32, device=device)
            return share, float(n_rows)
        weight = self.weight[positions]
        total = weight.sum()
        return torch.from_numpy((weight / total).astype(np.float32)).to(device), float(total)
