"""`scenes`: pictures of two or three coloured shapes, and what can truly be said of them."""

from .dataset import read

__all__ = ["read"]
