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


class NoNumbersError(ValueError):
    """A model's numbers are NaN or infinite.

    Args:
        model: its folder or name.
        number_type: what it computes in (`"float16"`, …).
        tensor: the weight that holds such numbers; `None` where none was found.
    """

    def __init__(self, model: str, number_type: str, tensor: str | None):
        super().__init__(model, number_type, tensor)
        self.model, self.number_type, self.tensor = model, number_type, tensor

    def __str__(self) -> str:
        cause = f"no weight that can be read here is, so {self.number_type} overflows: take a wider number type"
        if self.tensor is not None:
            cause = f"its weight {self.tensor} is: get the weights again, or go back to a checkpoint before"
        return f"{self.model}: the model's numbers are no numbers, but NaN or infinite; {cause}"
