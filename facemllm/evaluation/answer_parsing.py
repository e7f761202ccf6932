"""What a model wrote, read as an option, a number, angles or action units; None where it cannot be read safely.

An option is read in two steps: the whole text is the option, apart from case, blanks and a full stop; or exactly one
of the options is mentioned in it, as whole words, and nothing is denied. Longer options are looked for first, so that
"far to the left" does not mention "to the left". Yes and no are read from the first word alone.
"""

import re
from collections.abc import Mapping, Sequence

EXACT, MENTION = "exact", "mention"
OLDEST = 120

_DENIAL = re.compile(r"\b(?:no|not|never|neither|nor|none|without|cannot|unlike|except|instead)\b|n['’]t\b")
_NUMBER = r"[-+−]?\d+(?:\.\d+)?"


def normalize(text: str) -> str:
    """An answer as it is compared: lower case, single spaces, no full stop at its end."""
    return " ".join(text.lower().split()).rstrip(".")


def parse_option(text: str, options: Sequence[str]) -> tuple[str, str] | None:
    """The option that `text` answers with, and how it was found: `exact` or `mention`."""
    answer = normalize(text)
    for option in options:
        if answer == normalize(option):
            return option, EXACT
    if {normalize(option) for option in options} == {"yes", "no"}:
        first = re.match(r"\W*(yes|no)\b", answer)
        return next(((option, MENTION) for option in options if first and normalize(option) == first[1]), None)
    mentioned, rest = [], answer
    for option in sorted(options, key=lambda option: -len(option)):
        shown = re.compile(rf"(?<![\w-]){re.escape(normalize(option))}(?![\w-])")
        if shown.search(rest):
            mentioned.append(option)
            rest = shown.sub(" ", rest)
    return (mentioned[0], MENTION) if len(mentioned) == 1 and not _DENIAL.search(rest) else None


def parse_years(text: str) -> float | None:
    """An age in years: the only number in the text, from 0 to 120."""
    numbers = {float(number) for number in re.findall(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w-])", text.rstrip(". "))}
    return next(iter(numbers)) if len(numbers) == 1 and max(numbers) <= OLDEST else None


def parse_angles(text: str, names: Sequence[str]) -> dict[str, float] | None:
    """The number that follows each name, in degrees: `yaw -23, pitch 12, roll 3`; None unless all are there once."""
    angles = {}
    for name in names:
        found = re.findall(rf"\b{name}\b(?:\s+(?:is|of|angle))*\s*[:=]?\s*({_NUMBER})", text, re.IGNORECASE)
        if len(found) != 1:
            return None
        angles[name] = float(found[0].replace("−", "-"))
    return angles


def parse_units(text: str, units: Mapping[int, str]) -> set[int] | None:
    """The action units listed, by number (`AU12`) or by the name in `units`; empty for `none`.

    None where there is nothing but words that are no unit, or where something is denied.
    """
    answer = normalize(text)
    if answer == "none":
        return set()
    numbered = {int(number) for number in re.findall(r"\bau\s*0*(\d+)\b", answer)}
    named = {unit for unit, name in units.items() if re.search(rf"\b{re.escape(name)}\b", answer)}
    listed = (numbered | named) & set(units)
    return listed if listed and not _DENIAL.search(answer) else None
