"""The labelled data set: what is in it, in the words of its users, and in the arrays of their programs."""

from alpw.dataset.dataset import Dataset

__all__ = ["Dataset"]
