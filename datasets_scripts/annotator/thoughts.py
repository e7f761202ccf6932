"""What a reasoning model thought before it answered is no part of its answer.

Servers that do not take the thoughts apart send them before the answer, each model between marks of its own. Often the
opening mark is part of the prompt, and the answer has the closing one alone.
"""

import re

from .settings import InvalidAnswer

_NAME = (
    r"(?:[\w:|-]{0,30}(?:think|thought|reason|reflect|analys|monologue|scratch_?pad|deliberat|chain_of_)[\w:|-]{0,30}"
    r"|cot|plan|planning|steps?|details)"
)
_ANSWER = r"(?:final_?)?(?:answer|response|output|conclusion|solution|result|description|caption)"
_ENDS = re.compile(
    rf"</\s?{_NAME}\s?>"  # DeepSeek, Qwen, GLM, MiniMax, Seed
    rf"|\[/\s?{_NAME}\s?\]"  # Magistral
    r"|◁/think▷"  # Kimi
    r"|<\|?unused95\|?>"  # MedGemma
    rf"|<\|(?:/|end_(?:of_)?){_NAME}\|>|<\|{_NAME}_end\|>"  # Sky-T1, Command A, MiniCPM
    r"|<channel\|>"  # Gemma 4
    r"|<\|channel\|>\s?final[^<|>]{0,40}(?:<\|constrain\|>[^<|>]{0,40})?<\|message\|>"  # gpt-oss
    # and what begins an answer
    rf"|<\s?{_ANSWER}\s?>|<\|(?:begin_of_(?:box|solution)|START_RESPONSE)\|>|\[BEGIN FINAL RESPONSE\]"
    r"|(?:\A|\n)[*_# ]{0,10}final (?:answer|response|description)[*_ ]{0,5}:[*_]{0,5}",
    re.IGNORECASE,
)
_MARKS = re.compile(
    rf"<\s?{_NAME}(?:\s[^<>]{{0,100}})?/?>|\[/?{_NAME}\]|◁/?think▷|<\|?unused9[45]\|?>|\\(?:begin|end)\{{{_NAME}\}}"
    rf"|<\|[^<>|\s]{{1,60}}\|?>|<[^<>|\s]{{1,60}}\|>|</\s?{_ANSWER}\s?>"  # any of a chat template's
    r"|```\s?(?:think|thinking|thoughts?|reasoning)\b|&lt;/?think",
    re.IGNORECASE,
)
_LAST = re.compile(
    rf"(?:<\|[^<>|\s]{{1,40}}\|>|</\s?{_ANSWER}\s?>|\[END FINAL RESPONSE\])\Z",
    re.IGNORECASE,
)
MAX_LAST, LONGEST_LAST = 5, 60  # marks at the end of an answer, and the characters of one
_ALOUD = re.compile(
    r"\A[\s*_#>(<!-]{0,20}(?:(?:my |here(?: is| are|'s|’s) (?:my |the )?)?"
    r"(?:thoughts?|thinks|thinking|reasoning|chain of thought)(?: process| steps)?[\s*_]{0,5}(?::|\.\.\.|…|\n)"
    r"|analysis(?=[A-Z*]))",
    re.IGNORECASE,
)
_SPELLED = str.maketrans("＜＞｜", "<>|", "\u200b\u2060\ufeff")  # marks in other letters, or with nothing in them
_PLAIN = "analysis", "assistantfinal"  # gpt-oss where the server left out the marks, and not the words between them


def without_thoughts(text: str) -> str:
    """The text after the last mark that ends thoughts or begins an answer, in time that grows with its length.

    Marks of a chat template at its end are taken off.

    Raises:
        InvalidAnswer: where another mark is left, so that nobody can say what is the answer.
    """
    end, text = 0, text.translate(_SPELLED)
    for found in _ENDS.finditer(text):
        end = found.end()
    text = text[end:].strip()
    for _ in range(MAX_LAST):
        last = _LAST.search(text[-LONGEST_LAST:])
        text = text[: len(text) - len(last[0])].rstrip() if last else text
    if text.startswith(_PLAIN[0]) and _PLAIN[1] in text:
        text = text.rpartition(_PLAIN[1])[2].strip()
    if _MARKS.search(text) or _ALOUD.match(text):
        raise InvalidAnswer("thoughts that are not apart from the answer")
    return text
