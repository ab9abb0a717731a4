"""Unsupervised domain adaptation for MR segmentation, as composable Unix commands."""

__version__ = "0.1.0"
