"""The parts of which questions are made: what a yes-or-no question claims, either-or questions, further wordings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Condition = tuple[str, tuple[str, ...], tuple[str, ...]]
"""A column of the labels, its values for which something is true, and those for which it is false."""

_PRONOUNS = {
    "{they}": {"female": "she", "male": "he", None: "they"},
    "{their}": {"female": "her", "male": "his", None: "their"},
    "{are they}": {"female": "is she", "male": "is he", None: "are they"},
    "{do they}": {"female": "does she", "male": "does he", None: "do they"},
}


@dataclass(frozen=True)
class Claim:
    """What a yes-or-no question asserts, or the whole question; for values in neither tuple it is not asked.

    `also` is a second label that decides with the first: a boy is male, and a child. It has to be known.
    """

    text: str
    true_for: tuple[str, ...]
    false_for: tuple[str, ...]
    also: Condition | None = None

    @property
    def is_question(self) -> bool:
        """Whether the text is the question, not what completes one."""
        return self.text.endswith("?")

    def could_be(self, value: str, yes: bool) -> bool:
        """Whether a face with this value of the task's label may have this answer."""
        return value not in (self.false_for if yes else () if self.also else self.true_for)

    def is_open(self, possible: Sequence[str]) -> bool:
        """Whether the answer is not known from the values that are possible."""
        # as a map, not a generator: a corpus asks this a hundred times a row
        return any(map(self.true_for.__contains__, possible)) and any(map(self.false_for.__contains__, possible))

    def holds(self, value: str, labels: Mapping[str, Any]) -> bool | None:
        """Whether it is true of a face with this value of the task's label; None where it is undefined."""
        found = [_holds(value, self.true_for, self.false_for)]
        if self.also is not None:
            column, true_for, false_for = self.also
            if labels.get(column) is None:
                return None
            found.append(_holds(labels[column], true_for, false_for))
        return False if False in found else None if None in found else True


@dataclass(frozen=True)
class EitherOr:
    """Either-or questions: `{claim}` in each is two of the `words`, in any order, and the answer the right one.

    `words` go by the value of the label; values without any are not asked, and several may have the same. `only` is a
    column and those of its values for which it is asked.
    """

    questions: tuple[str, ...]
    words: Mapping[str, str]
    only: tuple[str, tuple[str, ...]] | None = None

    def fits(self, value: str, labels: Mapping[str, Any]) -> bool:
        """Whether a face with this value of the task's label is asked."""
        return value in self.words and (self.only is None or labels.get(self.only[0]) in self.only[1])

    def is_open(self, possible: Sequence[str]) -> bool:
        """Whether the answer is not known from the values that are possible."""
        return len({self.words[value] for value in possible if value in self.words}) > 1


@dataclass(frozen=True)
class Wording:
    """What people type instead of a task's own questions: open questions, whole yes-or-no and either-or questions.

    `phrases` are what is asked for; `compositions.composed_question` makes open questions of them.
    """

    questions: tuple[str, ...] = ()
    checks: tuple[Claim, ...] = ()
    either_or: tuple[EitherOr, ...] = ()
    phrases: tuple[str, ...] = ()


def with_pronouns(text: str, gender: str | None) -> str:
    """The text with its places for a pronoun (`{they}`, `{their}`, …) filled; None for they and their."""
    for place, words in _PRONOUNS.items() if "{" in text else ():
        text = text.replace(place, words.get(gender, words[None]))
    return text


def spoken_forms(text: str) -> tuple[str, ...]:
    """The text with the pronouns of every gender, each form once."""
    return tuple(dict.fromkeys(with_pronouns(text, gender) for gender in (None, "female", "male")))


def _holds(value: str, true_for: tuple[str, ...], false_for: tuple[str, ...]) -> bool | None:
    return True if value in true_for else False if value in false_for else None
