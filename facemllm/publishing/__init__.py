"""What is written for the Hub and sent there: corpora, models and their cards."""

from .corpus import publish_corpus

__all__ = ["publish_corpus"]
