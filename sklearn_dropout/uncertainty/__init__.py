"""Uncertainty from samples of predictions, intervals and sets, on NumPy arrays alone.

Imports nothing of this package.
"""
