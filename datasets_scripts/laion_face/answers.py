"""What an annotator's answer about a face must be: the JSON schema, the definitions for the prompt, and the check."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from datasets_scripts.annotator.delicate_words import delicate_reason
from datasets_scripts.annotator.settings import InvalidAnswer
from datasets_scripts.annotator.thoughts import without_thoughts
from datasets_scripts.questions.attribute_table import ATTRIBUTES, CONTRADICTIONS

UNKNOWN = ("not visible", "unsure")
"""What the annotator answers where it cannot tell; such an attribute is left out, and never asked about."""

CAPTION_CHARACTERS = (40, 2000)

_REFUSAL = re.compile(r"^\W*(i('m| am)? (sorry|cannot|can't|unable|not able)|as an ai)\b", re.IGNORECASE)


@dataclass(frozen=True)
class CheckedAnswer:
    """A sound answer: the caption, the attributes that are known, and the contradictions among them."""

    caption: str
    attributes: dict[str, str]
    flags: tuple[str, ...]


def answer_schema() -> dict[str, Any]:
    """The JSON schema of an answer, in the strict form that OpenAI-compatible servers take."""
    attributes = {
        name: {"type": "string", "enum": [*row.options, *UNKNOWN], "description": row.definition}
        for name, row in ATTRIBUTES.items()
    }
    return _strict_object(
        {
            "caption": {"type": "string", "description": "what can be seen of this face, in two to four sentences"},
            "attributes": _strict_object(attributes),
        }
    )


def definitions() -> str:
    """The table as lines of a prompt: each attribute, what counts, and its options."""
    lines = [f"- {name}: {row.definition}. Options: {'; '.join(row.options)}." for name, row in ATTRIBUTES.items()]
    return "\n".join([*lines, f"Where the picture does not tell, answer {' or '.join(map(repr, UNKNOWN))}."])


def check_answer(answer: Any) -> CheckedAnswer:
    """The answer of an annotator, already parsed from JSON, if it keeps to `answer_schema`.

    Case and surrounding blanks of an option do not matter. A caption is refused where `delicate_words` finds a name,
    or a word of race, religion, health, sexual orientation or attractiveness; a word list, so no guarantee.
    Raises `InvalidAnswer` otherwise.
    """
    if not isinstance(answer, Mapping):
        raise InvalidAnswer("not a JSON object")
    _require_keys(answer, ("caption", "attributes"), "")
    caption = _checked_caption(answer["caption"])
    given = answer["attributes"]
    if not isinstance(given, Mapping):
        raise InvalidAnswer("attributes: not a JSON object")
    _require_keys(given, ATTRIBUTES, "attributes: ")
    attributes = {}
    for name, row in ATTRIBUTES.items():
        value = given[name].strip().lower() if isinstance(given[name], str) else given[name]
        if value not in (*row.options, *UNKNOWN):
            raise InvalidAnswer(f"attributes: {name} has a value that is no option")
        if value not in UNKNOWN:
            attributes[name] = value
    return CheckedAnswer(caption, attributes, contradictions(attributes))


def contradictions(attributes: Mapping[str, str]) -> tuple[str, ...]:
    """Which pairs of these attributes cannot both be right, in words."""
    return tuple(
        flag
        for (one, values), (other, others), flag in CONTRADICTIONS
        if attributes.get(one) in values and attributes.get(other) in others
    )


def labels_of(attributes: Mapping[str, str]) -> dict[str, Any]:
    """The `labels` of a record with these attributes: age group, gender and expression in their own columns."""
    labels = {row.label: attributes[name] for name, row in ATTRIBUTES.items() if row.label and name in attributes}
    return labels | {"attributes": {name: attributes[name] for name in attributes if not ATTRIBUTES[name].label}}


def _strict_object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _require_keys(given: Mapping[str, Any], wanted: Iterable[str], place: str) -> None:
    for name in wanted:
        if name not in given:
            raise InvalidAnswer(f"{place}{name} is missing")
    if len(given) > len(tuple(wanted)):
        raise InvalidAnswer(f"{place}a name that was not asked for")


def _checked_caption(caption: Any) -> str:
    if not isinstance(caption, str):
        raise InvalidAnswer("caption: not a text")
    caption = " ".join(without_thoughts(caption).split())
    least, most = CAPTION_CHARACTERS
    if _REFUSAL.search(caption):
        raise InvalidAnswer("caption: a refusal")
    if not least <= len(caption) <= most:
        raise InvalidAnswer(f"caption: not {least} to {most} characters")
    if reason := delicate_reason(caption):
        raise InvalidAnswer(f"caption: {reason}")
    return caption
