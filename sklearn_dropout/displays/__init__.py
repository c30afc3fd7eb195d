"""Figures of training, of rates, of overfitting and of coverage.

The topmost room: imports `model_selection` and what lies below, and no room imports it.
"""
