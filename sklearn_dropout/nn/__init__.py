"""Dropout layers and stacked networks, in PyTorch alone."""

from ._layers import (
    Dropout,
    FeatureGroupDropout,
    SpatialDropout1d,
    SpatialDropout2d,
    SpatialDropout3d,
    VariationalDropout,
)

__all__ = [
    "Dropout",
    "FeatureGroupDropout",
    "SpatialDropout1d",
    "SpatialDropout2d",
    "SpatialDropout3d",
    "VariationalDropout",
]
