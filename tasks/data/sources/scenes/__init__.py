"""`scenes`: rendered images of two or three coloured shapes, with captions that can be checked."""

from .dataset import read_scenes

__all__ = ["read_scenes"]
