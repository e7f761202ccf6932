"""Labels to conversations: what is asked about each label, and in which words."""

from .conversations import canonical_question

__all__ = ["canonical_question"]
