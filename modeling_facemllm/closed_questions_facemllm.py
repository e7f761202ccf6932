"""Closed questions in tokens: of their prompts, and of each answer, as the chat template writes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from .errors_facemllm import check_context
from .user_texts_facemllm import as_text


@dataclass(frozen=True)
class ClosedQuestion:
    """A question with the answers it allows.

    Args:
        text (`str`): the question, as the user's turn says it.
        options (`tuple[str, ...]`): two or more distinct answers, as the assistant's turn would say them.

    Raises:
        ValueError: when `options` is a text, there are fewer than two options, or one is empty or given twice.
    """

    text: str
    options: tuple[str, ...]

    def __post_init__(self):
        if isinstance(self.options, str):
            raise ValueError(f'options={self.options!r} of {self.text!r}: give two or more answers, as ("yes", "no")')
        object.__setattr__(self, "options", tuple(self.options))
        for option in self.options:
            if not isinstance(option, str) or not option.strip():
                raise ValueError(f"options of {self.text!r}: {option!r} is no text to answer with")
        if len(self.options) < 2 or len(set(self.options)) < len(self.options):
            raise ValueError(f"options={self.options!r} of {self.text!r}: give two or more distinct answers")


@dataclass(frozen=True)
class TokenizedQuestion:
    """The tokens of one question: of its prompt, with one image token per image, and of each answer."""

    prompt: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]


def question_messages(text: str, images: Sequence[Any]) -> list[dict]:
    """The chat messages of a question about `images`; `None` is an image where only text is rendered."""
    parts = [{"type": "image"} if image is None else {"type": "image", "image": image} for image in images]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


class QuestionTokenizer:
    """Tokenises each question once, for as long as the processor and its tokenizer live.

    An answer is what the template adds for the assistant's turn, up to and with the token that ends it; so an option
    that begins another one ("10" and "100") does not collect its likelihood too. Where the tokens of prompt and answer
    together do not begin with those of the prompt, the answer is tokenised by itself.

    Args:
        end_tokens: ids that end a turn, besides the tokenizer's `eos_token_id`.
    """

    _known: WeakKeyDictionary = WeakKeyDictionary()
    _most = 10_000

    def __init__(self, processor: Any, end_tokens: Sequence[int] = ()):
        self.processor = processor
        self.ends = frozenset(end_tokens) | ({processor.tokenizer.eos_token_id} - {None})
        template = getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
        self.settings = (self.ends, str(template), len(processor.tokenizer))

    def __call__(self, question: ClosedQuestion, num_images: int) -> TokenizedQuestion:
        of_processor = self._known.setdefault(self.processor, WeakKeyDictionary())
        known = of_processor.setdefault(self.processor.tokenizer, {})
        key = question, num_images, self.settings
        if key not in known:
            if len(known) >= self._most:
                known.clear()
            known[key] = self._tokenize(question, num_images)
        return known[key]

    def _tokenize(self, question: ClosedQuestion, num_images: int) -> TokenizedQuestion:
        messages = question_messages(question.text, [None] * num_images)
        turns = [{"role": "assistant", "content": [{"type": "text", "text": option}]} for option in question.options]
        (messages, *turns), processor = as_text(self.processor, [messages, *turns])
        tokenizer = processor.tokenizer
        prompt_text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        texts = [prompt_text]
        for turn in turns:
            texts.append(processor.apply_chat_template([*messages, turn], tokenize=False))
        # As `apply_chat_template(tokenize=True)` does: a template that writes the first token itself gets no other.
        starts_itself = tokenizer.bos_token is not None and prompt_text.startswith(tokenizer.bos_token)
        prompt, *whole = tokenizer(texts, add_special_tokens=not starts_itself)["input_ids"]
        answers = []
        for turn, tokens in zip(turns, whole, strict=True):
            rest = tokens[len(prompt) :] if tokens[: len(prompt)] == prompt else []
            end = next((index for index, token in enumerate(rest) if token in self.ends), 0)
            if end:
                words, ending = rest[:end], [rest[end]]
            else:
                words = tokenizer(turn["content"][0]["text"], add_special_tokens=False)["input_ids"]
                ending = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
            answers.append(tuple(words + ending))
        return TokenizedQuestion(tuple(prompt), tuple(answers))


def ask_with_images(
    tokenize: QuestionTokenizer,
    questions: Sequence[ClosedQuestion],
    num_images: int,
    image_token: int,
    num_image_tokens: int,
    position_limit: int | None = None,
) -> list[TokenizedQuestion]:
    """The questions' tokens, with as many image tokens as an image takes.

    Args:
        position_limit: tokens that the language model reads; the last one of an answer is only predicted.

    Raises:
        ValueError: "Image features and image tokens do not match …", when the template writes another number of
            them.
        PromptTooLongError: when a question with one of its options is longer than `position_limit`.
    """
    asked = []
    for question in questions:
        tokens = tokenize(question, num_images)
        found = tokens.prompt.count(image_token)
        if found != num_images:
            raise ValueError(
                f"Image features and image tokens do not match: the prompt of {question.text!r} has {found} image "
                f"tokens for {num_images} images"
            )
        prompt = [
            copy for token in tokens.prompt for copy in [token] * (num_image_tokens if token == image_token else 1)
        ]
        check_question_fits(question, len(prompt), tokens.answers, position_limit)
        asked.append(TokenizedQuestion(tuple(prompt), tokens.answers))
    return asked


def check_question_fits(
    question: ClosedQuestion, prompt_length: int, answers: Sequence[Sequence[int]], position_limit: int | None
) -> None:
    """Raises `PromptTooLongError` for a question that, with its longest answer, the language model does not read."""
    longest = prompt_length + max(map(len, answers)) - 1
    start = question.text if len(question.text) <= 60 else f"{question.text[:59]}…"
    check_context(longest, position_limit, f"the question {start!r} with its options")
