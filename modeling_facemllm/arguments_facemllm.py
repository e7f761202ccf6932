"""An argument that makes no sense, in parts: whoever passes it on names it as their own users know it."""

from typing import Any


class ArgumentError(ValueError):
    """`argument=value: remedy`, for instance "max_faces=0: give a whole number, 1 or more"."""

    def __init__(self, argument: str, value: Any, remedy: str):
        super().__init__(argument, value, remedy)
        self.argument, self.value, self.remedy = argument, value, remedy

    def __str__(self) -> str:
        return f"{self.argument}={self.value!r}: {self.remedy}"


__all__ = ["ArgumentError"]
