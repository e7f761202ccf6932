"""What a test asks of a refusal: the argument, the value and the remedy, and not the words around them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from modeling_facemllm.errors_facemllm import ArgumentError


@contextmanager
def refuses(argument: str, value: Any, *remedy: str) -> Iterator[None]:
    """Raises `AssertionError` unless the block refuses `value` for `argument`, with these words in its remedy."""
    with pytest.raises(ArgumentError) as caught:
        yield
    assert (caught.value.argument, caught.value.value) == (argument, value)
    assert all(word in caught.value.remedy for word in remedy), caught.value.remedy
