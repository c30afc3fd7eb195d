"""Dropout layers and stacked networks, in PyTorch alone."""

from ._layers import Dropout, FeatureGroupDropout, VariationalDropout

__all__ = ["Dropout", "FeatureGroupDropout", "VariationalDropout"]
