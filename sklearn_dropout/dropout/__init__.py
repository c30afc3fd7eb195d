"""What is dropped, and from which random bits; both engines use this room.

Imports nothing of this package.
"""
