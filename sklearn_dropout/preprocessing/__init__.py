"""Columns of tables: an encoder of numbers, and groups of columns from one variable.

Imports `checks` alone.
"""

from .encoder import PiecewiseLinearEncoder
from .groups import group_columns_by_source

__all__ = ["PiecewiseLinearEncoder", "group_columns_by_source"]
