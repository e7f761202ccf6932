"""Which of an annotator's descriptions are kept: not refused, not cut off, and without a word of what it was told.

The annotator knows age and gender of the face. An answer that says so ("as you mentioned", "consistent with the
provided age") would teach a model to speak of things that its question does not contain.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from datasets_scripts.annotator.delicate_words import delicate_reason, speaks_of_race
from datasets_scripts.annotator.settings import InvalidAnswer
from datasets_scripts.annotator.thoughts import without_thoughts

CHARACTERS = (20, 6000)
MAX_CHECKED = 100_000  # characters of an answer, thoughts and blanks included, that are looked at
SAME_SENTENCES = 3  # a sentence that often is a loop, not a description
MIN_NEW_RUNS = 0.6  # share of runs of three words that are not there twice; of an ordinary description above 0.9

_GIVEN = (
    r"(?:mentioned|stated|noted|indicated|specified|described|provided|given|told|said|supplied|labell?ed|annotated)"
)
_FACTS = (
    r"(?:information|details?|description|labels?|annotations?|context|data|metadata|hints?|prompt"
    r"|age(?: (?:range|group))?|gender|sex|race|ethnicity|demographics?)"
)
_OTHER = r"(?:(?!visual|visible|image|picture)\w+ )?"
_LEADING_CLAUSE = re.compile(
    rf"(?:^|(?<=[.!?]\s))(?:As (?:you(?: have|'ve)? )?{_GIVEN}(?: (?:above|earlier|before|in the \w+))?"
    r"|Given that (?:the|this) \w+ is [^,.]{1,60}"
    rf"|(?:Based on|According to|Given|Per) the {_OTHER}{_FACTS}(?: {_GIVEN})?),\s*(\w)"
)
_INTRODUCTION = re.compile(
    r"^(?:(?:sure|certainly|of course|absolutely|okay|ok)\b[^.!:,\n]{0,40}[.!:,]\s*)?"
    r"(?:here(?:'s| is| are)\b[^.!:\n]{0,120}:\s*)?",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"\b(?:I(?:'m| am)? (?:sorry|unable|not able|cannot|can(?:'|no)t|won't|will not|do not|don't)|as an AI|"
    r"against (?:my|the) (?:policy|guidelines))\b",
    re.IGNORECASE,
)
_PICTURE_NOT_SEEN = re.compile(
    r"\b(?:(?:cannot|can't|unable to|don't|do not|not able to) (?:see|view|access) (?:the|any|an?)"
    r"|(?:provide|upload|share|attach) (?:the|an?)) (?:image|picture|photo)"
    r"|\bno (?:image|picture|photo) (?:was|is|has been) ",
    re.IGNORECASE,
)
_NAMES_GIVEN_FACTS = re.compile(
    rf"\bas (?:(?:you|I|it|was|were|is|has|have|had|been|already|previously|just) )*(?:you've )?{_GIVEN}\b(?! by\b)"
    r"|\bgiven that (?:the|this) (?:person|individual|subject|face|man|woman|boy|girl|infant|child) is\b"
    rf"|\b(?:provided|given|stated|supplied|specified|known|indicated|mentioned|labell?ed) {_FACTS}\b"
    rf"|\b(?:based on|according to|(?:indicated|stated|given) (?:by|in)) the {_OTHER}{_FACTS}\b"
    rf"|(?<!visual )\b{_FACTS} (?:that )?(?:you )?(?:provided|supplied|given|mentioned|specified)\b"
    rf"|\byou(?:'ve| have)? {_GIVEN}\b|\b(?:I|we) (?:was|were|am|are|have been|'ve been) (?:told|informed|given)\b"
    r"|\b(?:the|your) (?:prompt|hint(?! of)|ground[ -]truth|annotators?|data ?set's labels?)\b",
    re.IGNORECASE,
)
_FEMALE = re.compile(r"\b(?:wom[ae]n|girls?|females?|lady|ladies|she|her|hers)\b", re.IGNORECASE)
_MALE = re.compile(r"\b(?:m[ae]n|boys?|males?|gentlem[ae]n|he|him|his)\b", re.IGNORECASE)
_ADULT_WORDS = re.compile(r"\b(?:wom[ae]n|m[ae]n|ladies|lady|gentlem[ae]n|adults?)\b", re.IGNORECASE)


def check_answer(aspect: str, answer: Any) -> str:
    """The description as it is stored: without an introduction, or a leading clause about the given labels.

    Raises `InvalidAnswer` for one that:

    - is no text, a refusal, or says that no picture was seen;
    - holds what a reasoning model thought, not to be told from what it answered;
    - is too short, too long, cut off, or repeats itself;
    - still mentions the labels that the annotator was given;
    - has a name, or a word of religion, health, sexual orientation or attractiveness (`delicate_words`, a word list).

    `aspect` is one of `ASPECTS`.
    """
    if not isinstance(answer, str):
        raise InvalidAnswer("not a text")
    if len(answer) > MAX_CHECKED:
        raise InvalidAnswer("too long")
    text = without_thoughts(answer)
    text = _INTRODUCTION.sub("", re.sub(r"\n\s*\n+", "\n\n", text), count=1)
    text = _LEADING_CLAUSE.sub(lambda found: found[1].upper(), text)
    text = text[:1].upper() + text[1:]
    if len(text) > CHARACTERS[1]:
        raise InvalidAnswer("too long")
    if _PICTURE_NOT_SEEN.search(text):
        raise InvalidAnswer("did not see the picture")
    if _REFUSED.search(text[:200]):
        raise InvalidAnswer("refused")
    if reason := delicate_reason(text, race=True):
        raise InvalidAnswer(reason)
    if len(text) < CHARACTERS[0]:
        raise InvalidAnswer("too short")
    if not re.search(r"[.!?][\"'”’)*]*$", text):
        raise InvalidAnswer("cut off")
    if _NAMES_GIVEN_FACTS.search(text):
        raise InvalidAnswer("says what it was told")
    if _loops(text):
        raise InvalidAnswer("repeats itself")
    return text


def check_answer_without_race(aspect: str, answer: Any) -> str:
    """As `check_answer`; an answer with a word of race, ethnicity or nationality is refused too."""
    text = check_answer(aspect, answer)
    if speaks_of_race(text):
        raise InvalidAnswer("speaks of race or ethnicity")
    return text


def contradictions(aspect: str, text: str, labels: Mapping[str, Any]) -> list[str]:
    """Where a description speaks of another gender than the label, or calls a child of up to 9 a man or a woman."""
    flags = []
    own, other = (_FEMALE, _MALE) if labels.get("gender") == "female" else (_MALE, _FEMALE)
    if labels.get("gender") and other.search(text) and not own.search(text):
        flags.append(f"{aspect}: another gender than the label")
    if labels.get("age_group") in ("0-2", "3-9") and _ADULT_WORDS.search(text):
        flags.append(f"{aspect}: a child described as grown up")
    return flags


def _loops(text: str) -> bool:
    sentences = [sentence.strip().lower() for sentence in re.split(r"[.!?\n]+", text) if sentence.strip()]
    words = re.findall(r"\w+", text.lower())
    runs = list(zip(words, words[1:], words[2:], strict=False))
    same = max(Counter(sentences).values(), default=0)
    return same >= SAME_SENTENCES or (len(runs) >= 20 and len(set(runs)) < MIN_NEW_RUNS * len(runs))
