"""Loadkeeper keeps a node from being overloaded by the worker processes that run on it."""

__version__ = "0.1.0"
