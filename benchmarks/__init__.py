"""The same work timed here and in the tools a user would pick instead."""
