"""LAION-Face: URL tables or tars, faces found in them, an annotator's answers, and the corpus of these."""

from .annotation import LaionFaces

__all__ = ["LaionFaces"]
