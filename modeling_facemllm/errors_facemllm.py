"""How a wrong argument is refused."""

from typing import Any


class ArgumentError(ValueError):
    """`argument=value: remedy`, in parts: whoever passes it on names the argument as their own users know it."""

    def __init__(self, argument: str, value: Any, remedy: str):
        super().__init__(argument, value, remedy)
        self.argument, self.value, self.remedy = argument, value, remedy

    def __str__(self) -> str:
        return f"{self.argument}={self.value!r}: {self.remedy}"
