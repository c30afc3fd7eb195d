"""Choosing among estimators: searches, the comparison of overfitting, statistics over splits.

Stands on `estimators`; nothing below imports it.
"""
