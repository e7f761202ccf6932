"""How a wrong argument is refused, and a prompt that is too long."""

from typing import Any


class PromptTooLongError(ValueError):
    """`what` is of more tokens than the language model reads."""

    def __init__(self, what: str, tokens: int, position_limit: int):
        super().__init__(what, tokens, position_limit)
        self.what, self.tokens, self.position_limit = what, tokens, position_limit

    def __str__(self) -> str:
        limit = f"the model reads {self.position_limit} at most"
        return f"{self.what} of {self.tokens} tokens: {limit}; shorten the text, or show fewer pictures"


def check_context(tokens: int, position_limit: int | None, what: str = "a prompt") -> None:
    """Raises `PromptTooLongError` for more tokens than the language model reads (`None`: it names no limit)."""
    if position_limit is not None and tokens > position_limit:
        raise PromptTooLongError(what, tokens, position_limit)


class ArgumentError(ValueError):
    """`argument=value: remedy`, in parts: whoever passes it on names the argument as their own users know it."""

    def __init__(self, argument: str, value: Any, remedy: str):
        super().__init__(argument, value, remedy)
        self.argument, self.value, self.remedy = argument, value, remedy

    def __str__(self) -> str:
        return f"{self.argument}={self.value!r}: {self.remedy}"
