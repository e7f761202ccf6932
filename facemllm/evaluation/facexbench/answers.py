"""Which of four options a model's prose means: as FaceXBench's published script reads it, and more carefully.

Both readings return a letter, or None for an answer that cannot be read, which counts as wrong.
"""

import re
from collections.abc import Sequence

from .reader import LETTERS

DENIAL_REACH = 60
"""Characters around a mention in which a "not" belongs to it."""

# One letter, marked as an option or not: "A", "(A)", "A)", "A.".
_LETTER = r"\(?(?P<letter>(?-i:[A-D]))(?![\w'’-])\)?"
_CONCLUSIONS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # "the answer is B", "final answer: (B)", "correct option would be B", "answer is option B"
        rf"\b(?:answer|choice|option|selection|conclusion)(?:\s+(?:is|would be|should be|must be)|\s*[:=])\s*"
        rf"(?:most likely |probably |clearly |therefore )?(?:option |choice |letter )?{_LETTER}",
        # "so B", "therefore (B)", "hence option B"
        rf"\b(?:so|thus|hence|therefore|accordingly|consequently)\b,?\s+(?:it is |it's |i choose |the answer is )?"
        rf"(?:option |choice |letter )?{_LETTER}(?=\s*(?:[.,;:!)]|$))",
        # "I choose B", "I would go with option B"
        rf"\b(?:choose|pick|select|go with|going with|opt for|chose|selected)\s+(?:option |choice |letter )?{_LETTER}",
        # "B is the correct answer", "option B is right"
        rf"{_LETTER}\s+(?:is|would be|seems|appears to be|must be)\s+(?:the |most |best )*"
        rf"(?:correct|right|answer|accurate|appropriate|likely)\b",
        r"\\boxed\{(?:\\text\{)?\(?(?P<letter>[A-D])\)?\}",
        r"<answer>\s*\(?(?P<letter>[A-D])\)?[.]?\s*</answer>",
    )
)
# A bare "A" before a lower-case word is an article: "A person"; before a capital it may be either.
_MENTION = re.compile(
    r"\((?P<marked>[A-D])\)|(?<![\w'’.-])(?P<bare>[B-D](?![\w'’-])|A(?=\s*(?:[.,;:!?)–—]|-\s|$)|\s+(?:and|or|nor)\b))"
    r"|\b(?:option|choice|letter)\s+(?P<named>[A-D])(?![\w'’-])",
    re.MULTILINE,
)
_NOUN = re.compile(r"\s+(?!(?:is|because|since|as|for|and|with)\b)[a-z]")
_BEFORE_NOT = re.compile(
    r"(?:\bnot|n['’]t|\bneither|\bnor|\bnever|\bexcept|\brather than|\binstead of|\bunlike|\bwithout|\bexcludes?|"
    r"\bruled? out|\bruling out|\beliminates?|\beliminating)"
    r"(?:\s+(?:be|the|option|choice|answer|is|either))*[\s:,(\"']*$",
    re.IGNORECASE,
)
_AFTER_NOT = re.compile(
    r"[\s)\"']*(?:(?:is|are|was|were|would be|can be|could be|does|seems|looks)\s+(?:clearly |definitely |also )?not\b"
    r"|(?:is|are|was|does|ca|can|could)n['’]t\b|cannot\b"
    r"|:?\s*(?:(?:is|are|was|would be|seems|looks|can be|could be)\s+)?(?:clearly |definitely |also )?"
    r"(?:incorrect|wrong|false|ruled out|eliminated|excluded|unlikely|impossible)\b)",
    re.IGNORECASE,
)


def strict(text: str, options: Sequence[str]) -> str | None:
    """FaceXBench's published reading, to compare with published numbers.

    The first capital A to D that stands alone anywhere in the answer, else the first option whose words occur in it,
    cases as they are. It takes the article of "A person ..." for an answer.
    """
    if alone := re.search(r"\b([A-D])\b", text):
        return alone[1]
    return next((letter for letter, option in zip(LETTERS, options, strict=True) if option in text.strip()), None)


def safe(text: str, options: Sequence[str]) -> str | None:
    """The option that an answer means, or None where it names none, several, or contradicts itself.

    In this order: the whole answer is a letter or an option's words; it begins with a marked letter, alone or before
    that option's words; it concludes ("the answer is B", "so B"); exactly one letter is mentioned and not denied;
    exactly one option's words are. Articles and denied options do not count.
    """
    answer = _plain(text)
    if whole := _whole(answer, options):
        return whole
    if concluded := _concluded(answer):
        return concluded.pop() if len(concluded) == 1 else None
    mentioned, worded = _mentioned(answer), _worded(answer, options)
    opening = re.match(r"(?:\((?P<round>[A-D])\)|(?P<bare>[A-D])(?:[.):](?=\s|$)|\s+[-–—]))\s*", answer)
    letter = opening and opening[opening.lastgroup]
    if letter in mentioned:
        if answer[opening.end() :].casefold().startswith(options[LETTERS.index(letter)].casefold()):
            return letter if mentioned <= {letter} or not _lists_options(answer) else None
        # Words of one other option behind a letter contradict it; several options' words are an explanation.
        return letter if mentioned <= {letter} and (letter in worded or len(worded) != 1) else None
    if mentioned:
        return mentioned.pop() if len(mentioned) == 1 and worded <= mentioned else None
    return worded.pop() if len(worded) == 1 else None


def _lists_options(answer: str) -> bool:
    """Whether the answer repeats the options, each behind its letter, instead of choosing."""
    return len(set(re.findall(r"(?:^|\s)\(?([A-D])[.):]", answer))) > 1


def _plain(text: str) -> str:
    """The answer without a chain of thought before it, without Markdown, in one spacing."""
    text = text.rpartition("</think>")[2]
    return re.sub(r"[ \t]+", " ", re.sub(r"\*+|`+|__|\$", "", text)).strip()


def _whole(answer: str, options: Sequence[str]) -> str | None:
    letter = re.fullmatch(r"(?:option |answer:? ?)?[(\[]?([a-d])[)\]]?[.:,!]?", answer, re.IGNORECASE)
    if letter is not None:
        return letter[1].upper()
    given, *offered = (text.casefold().rstrip(".! ") for text in (answer, *options))
    same = [letter for letter, option in zip(LETTERS, offered, strict=True) if option == given != ""]
    return same[0] if len(same) == 1 else None


def _concluded(answer: str) -> set[str]:
    return {
        match["letter"]
        for pattern in _CONCLUSIONS
        for match in pattern.finditer(answer)
        if not _denied(answer, match.start("letter"), match.end("letter")) and not _article(answer, match)
    }


def _article(answer: str, match: re.Match) -> bool:
    """Whether the letter found is the article of what follows, as in "the answer is A person"."""
    bare = match["letter"] == "A" and answer[match.start("letter") - 1 : match.start("letter")] != "("
    return bare and _NOUN.match(answer, match.end("letter")) is not None


def _mentioned(answer: str) -> set[str]:
    return {
        match[match.lastgroup]
        for match in _MENTION.finditer(answer)
        if not _denied(answer, match.start(), match.end())
    }


def _worded(answer: str, options: Sequence[str]) -> set[str]:
    """The letters of the options whose words occur in the answer, not as part of a longer option, and not denied."""
    lower = answer.casefold()
    taken: list[tuple[int, int]] = []
    found = set()
    for letter, option in sorted(zip(LETTERS, options, strict=True), key=lambda pair: -len(pair[1])):
        words = re.escape(option.casefold().rstrip("."))
        # A number inside a range or a decimal ("20" in "20-29", "3" in "3.5") is not that number.
        pattern = rf"(?<![\w-])(?<!\d[.,]){words}(?![\w]|-\w|[.,]\d)"
        for start, end in (match.span() for match in re.finditer(pattern, lower)) if words else ():
            if any(start < stop and begin < end for begin, stop in taken):
                continue
            taken.append((start, end))
            if not _denied(answer, start, end):
                found.add(letter)
    return found


def _denied(answer: str, start: int, end: int) -> bool:
    before, after = answer[max(0, start - DENIAL_REACH) : start], answer[end : end + DENIAL_REACH]
    return _BEFORE_NOT.search(before) is not None or _AFTER_NOT.match(after) is not None
