"""What is dropped, and from which random bits: known to both engines, knows neither.

Imports nothing of this package.
"""
