"""Choosing among estimators: searches, the comparison of overfitting, statistics over splits.

Imports `estimators` and what lies below; no other room but `displays` imports it.
"""
