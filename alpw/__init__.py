"""ALPW: active learning of Deep Potential force fields on FireWorks and MongoDB."""

from importlib.metadata import version

__version__ = version("alpw")
