"""What a reasoning model thought before it answered is no part of its answer.

Servers that do not take the thoughts apart send them before the answer, each model between marks of its own. Often the
opening mark is part of the prompt, and the answer has the closing one alone.
"""

import re

from .settings import InvalidAnswer

_NAME = r"(?:\w{1,20}:)?(?:think|thinking|thoughts?|reason|reasoning|reflection|analysis|scratchpad|inner_monologue)"
_ENDS = re.compile(
    rf"</\s?{_NAME}\s?>"  # DeepSeek, Qwen, GLM, MiniMax, Seed
    r"|\[/THINK\]"  # Magistral
    r"|◁/think▷"  # Kimi
    r"|<\|?unused95\|?>"  # MedGemma
    r"|<\|(?:/think\w{0,4}|end_of_think\w{0,4}|end_of_thoughts?|end_thinking)\|>"  # Sky-T1, Command A
    r"|<channel\|>"  # Gemma 4
    r"|<\|channel\|>\s?final[^<|>]{0,40}(?:<\|constrain\|>[^<|>]{0,40})?<\|message\|>",  # gpt-oss
    re.IGNORECASE,
)
_MARKS = re.compile(
    rf"<\s?{_NAME}(?:\s[^<>]{{0,100}})?/?>|\[/?THINK\]|◁/?think▷|<\|?unused9[45]\|?>"
    r"|<\|(?:channel|start|message|constrain|/?think\w{0,4}|(?:begin|end)_of_th\w{1,10}|(?:start|end)_thinking)\|?>"
    r"|```\s?(?:think|thinking|thoughts?|reasoning)\b|&lt;/?think",
    re.IGNORECASE,
)
_ALOUD = re.compile(
    r"\A[\s*_#>]{0,20}(?:(?:my |here(?: is|'s|’s) (?:my |the )?)?"
    r"(?:thoughts?|thinking|reasoning|chain of thought)(?: process)?[\s*_]{0,5}(?::|\.\.\.|…)|analysis(?=[A-Z*]))",
    re.IGNORECASE,
)
_PLAIN = "analysis", "assistantfinal"  # gpt-oss where the server left out the marks, and not the words between them


def without_thoughts(text: str) -> str:
    """The text after the last mark that ends thoughts, in time that grows with its length.

    Raises:
        InvalidAnswer: where another mark of thoughts is left, so that nobody can say what is the answer.
    """
    end = 0
    for found in _ENDS.finditer(text):
        end = found.end()
    text = text[end:].strip()
    if text.startswith(_PLAIN[0]) and _PLAIN[1] in text:
        text = text.rpartition(_PLAIN[1])[2].strip()
    if _MARKS.search(text) or _ALOUD.match(text):
        raise InvalidAnswer("thoughts that are not apart from the answer")
    return text
