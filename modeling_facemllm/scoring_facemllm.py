"""Closed questions about faces, answered by probabilities: no prose to parse.

A Face-MLLM reads all questions about a face in one pass (`packed_scoring_facemllm`); any other image-text-to-text
model reads one prompt for each.
"""

import contextlib
import copy
import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from PIL import Image
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.utils import logging

from .closed_questions_facemllm import ClosedQuestion, QuestionTokenizer, question_messages
from .packed_scoring_facemllm import CannotPack, PackedScorer

logger = logging.get_logger(__name__)

Scores = list[list[list[float]]]
"""A number for each option of each question about each face."""


def score_options(
    model: PreTrainedModel,
    processor: Any,
    images: Sequence[Any],
    questions: Sequence[ClosedQuestion] | Sequence[Sequence[ClosedQuestion]],
    **options,
) -> Scores:
    """How probable each option of each question is, in one pass for all questions about a face.

    The probabilities are the softmax, over the options of a question, of [`option_log_likelihoods`].

    Args:
        model, processor, images, questions, options: as of [`option_log_likelihoods`].

    Returns:
        `list[list[list[float]]]`: for each face and each of its questions, the options' probabilities; they sum to 1.

    Raises:
        ValueError: also when the model gives NaN.
    """
    return _shares(option_log_likelihoods(model, processor, images, questions, **options), model)


def option_log_likelihoods(
    model: PreTrainedModel,
    processor: Any,
    images: Sequence[Any],
    questions: Sequence[ClosedQuestion] | Sequence[Sequence[ClosedQuestion]],
    *,
    system: str | None = None,
    batch_size: int = 8,
    normalize: Literal["none", "length"] = "none",
    calibrate: bool = False,
    end_of_turn: bool = True,
    pack_tokens: int = 2048,
) -> Scores:
    """The log-likelihood of each option as the answer to its question.

    A model that cannot be packed (linear attention, another architecture than Face-MLLM) is scored one question at a
    time, with the same numbers and a warning. Attention kernels that take no mask of this kind (flash, flex) are
    exchanged for SDPA during the call.

    Args:
        model: a Face-MLLM, also with PEFT's adapters.
        processor: its processor.
        images: for each face one image, `None` (text only) or a list of images.
        questions: one list for all faces, or a list for each.
        system (`str`): the system turn's text.
        batch_size (`int`): faces that are run together.
        normalize: `"length"` divides by the number of the answer's tokens.
        calibrate (`bool`): subtract what the same question gets with grey pictures instead of the face's, so that an
            option gains nothing by being likely whatever is seen (Zhao et al., arXiv 2102.09690).
        end_of_turn (`bool`): the answer has to end after the option. Without it an option that begins another one
            ("10" and "100") collects its likelihood too.
        pack_tokens (`int`): tokens of one pass behind the shared prefix; more questions take several passes, the
            prefix still one.

    Returns:
        `list[list[list[float]]]`: for each face and each of its questions, the options' log-likelihoods.

    Raises:
        ValueError: when the arguments do not fit together; the message says which.
    """
    faces, asked = _faces_and_questions(images, questions, batch_size, normalize, calibrate)
    if pack_tokens < 1:
        raise ValueError(f"pack_tokens={pack_tokens}: give 1 or more")
    network = _unwrapped(model)
    with torch.no_grad(), _evaluating(network):

        def score(faces: list[tuple], questions: list[tuple[ClosedQuestion, ...]]) -> Scores:
            tokens = _question_tokenizer(processor, network, system, end_of_turn)
            try:
                scorer = PackedScorer(network, processor, tokens, batch_size, pack_tokens)
                with _masked_attention(network):
                    sums = scorer.score(faces, questions)
            except CannotPack as reason:
                logger.warning_once(f"questions are scored one by one: {reason}")
                sums = _score_alone(network, processor, faces, questions, system, tokens, batch_size)
            return _normalized(sums, faces, questions, tokens) if normalize == "length" else sums

        return _calibrated(score, faces, asked) if calibrate else score(faces, asked)


def score_each_alone(
    model: PreTrainedModel,
    processor: Any,
    images: Sequence[Any],
    questions: Sequence[ClosedQuestion] | Sequence[Sequence[ClosedQuestion]],
    *,
    system: str | None = None,
    batch_size: int = 8,
    normalize: Literal["none", "length"] = "none",
    calibrate: bool = False,
    end_of_turn: bool = True,
) -> Scores:
    """What [`score_options`] returns, for any image-text-to-text model: one prompt for every question.

    Args:
        batch_size (`int`): options of a question that are run together. The others are as in
            [`option_log_likelihoods`].
    """
    faces, asked = _faces_and_questions(images, questions, batch_size, normalize, calibrate)
    network = _unwrapped(model)
    tokens = _question_tokenizer(processor, network, system, end_of_turn)
    with torch.no_grad(), _evaluating(network):

        def score(faces: list[tuple], questions: list[tuple[ClosedQuestion, ...]]) -> Scores:
            sums = _score_alone(network, processor, faces, questions, system, tokens, batch_size)
            return _normalized(sums, faces, questions, tokens) if normalize == "length" else sums

        return _shares(_calibrated(score, faces, asked) if calibrate else score(faces, asked), network)


def _faces_and_questions(images, questions, batch_size: int, normalize: str, calibrate: bool):
    """`(images of each face, questions of each face)`, both as tuples."""
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: give 1 or more")
    if normalize not in ("none", "length"):
        raise ValueError(f"normalize={normalize!r}: give 'none' or 'length'")
    if not isinstance(images, (list, tuple)):
        raise ValueError(
            f"images={type(images).__name__}: give a list with one entry (image, images or None) per face"
        )
    faces = [tuple(one) if isinstance(one, (list, tuple)) else () if one is None else (one,) for one in images]
    if not isinstance(questions, (list, tuple)):
        raise ValueError(f"questions={type(questions).__name__}: give a list of ClosedQuestion, or one for each face")
    if all(hasattr(one, "options") for one in questions):
        questions = [questions] * len(faces)
    elif any(
        not isinstance(one, (list, tuple)) or not all(hasattr(each, "options") for each in one) for one in questions
    ):
        raise ValueError("questions holds something other than ClosedQuestion: give each its text and its options")
    elif len(questions) != len(faces):
        raise ValueError(
            f"questions holds {len(questions)} lists for {len(faces)} faces: give one list of questions for all, or "
            "one for each"
        )
    if calibrate and not all(faces):
        raise ValueError("calibrate=True puts grey pictures in place of the face's: every face needs an image")
    return faces, [tuple(one) for one in questions]


def _unwrapped(model: PreTrainedModel) -> PreTrainedModel:
    """The model under PEFT's wrapper; adapters are layers inside it."""
    if not hasattr(model, "peft_config"):
        return model
    if not hasattr(model, "get_base_model"):  # adapters that transformers itself loaded
        return model
    if getattr(model.active_peft_config, "is_prompt_learning", False):
        raise ValueError(
            f"model: {model.active_peft_config.peft_type} puts learned tokens before each prompt, which scoring does "
            "not know: take an adapter such as LoRA, or generate"
        )
    return model.get_base_model()


@contextlib.contextmanager
def _evaluating(model: PreTrainedModel) -> Iterator[None]:
    """No dropout; each module is left in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def _masked_attention(model: PreTrainedModel) -> Iterator[None]:
    """The language model with an attention that takes a mask of zeros and minus infinities."""
    language_model = model.get_decoder()
    before = getattr(language_model.config, "_attn_implementation", "eager")
    if before in ("eager", "sdpa"):
        yield
        return
    language_model.config._attn_implementation = "sdpa" if language_model._supports_sdpa else "eager"
    try:
        yield
    finally:
        language_model.config._attn_implementation = before


def _question_tokenizer(processor: Any, model: PreTrainedModel, system: str | None, end_of_turn: bool):
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = ends if isinstance(ends, (list, tuple)) else [] if ends is None else [ends]
    return QuestionTokenizer(processor, system, end_of_turn, ends)


def _score_alone(
    model: PreTrainedModel,
    processor: Any,
    faces: list[tuple],
    questions: list[tuple[ClosedQuestion, ...]],
    system: str | None,
    tokens: QuestionTokenizer,
    batch_size: int,
) -> Scores:
    """The log-likelihoods of the options, from one prompt per question."""
    return [
        [
            _answers_alone(model, processor, question_messages(question.text, images, system), answers, batch_size)
            for question in asked
            for answers in [tokens(question, len(images)).answers]
        ]
        for images, asked in zip(faces, questions, strict=True)
    ]


def _answers_alone(model, processor, messages: list[dict], answers: tuple[tuple[int, ...], ...], batch_size: int):
    inputs = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    ).to(model.device, dtype=model.dtype)
    last_only = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    output = model(**inputs, use_cache=True, return_dict=True, **last_only)
    first = output.logits[0, -1].float().log_softmax(-1)
    cache = getattr(output, "past_key_values", None)
    continues = isinstance(cache, DynamicCache) and all(
        type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers
    )
    sums = [first[answer[0]].double().item() for answer in answers]
    longer = [number for number, answer in enumerate(answers) if len(answer) > 1]
    for start in range(0, len(longer), batch_size):
        numbers = longer[start : start + batch_size]
        width = max(len(answers[number]) for number in numbers) - 1
        # Padding on the right: nothing that counts comes after it.
        ids = torch.tensor([(list(answers[n][:-1]) + [answers[n][0]] * width)[:width] for n in numbers])
        ids = ids.to(model.device)
        if continues:
            theirs = cache if start + batch_size >= len(longer) else copy.deepcopy(cache)
            theirs.reorder_cache(torch.zeros(len(numbers), dtype=torch.long, device=model.device))
            mask = torch.ones(
                len(numbers), inputs["input_ids"].shape[1] + width, dtype=torch.long, device=model.device
            )
            logits = model(input_ids=ids, attention_mask=mask, past_key_values=theirs, return_dict=True).logits
        else:
            logits = torch.cat([_whole(model, inputs, row[None]) for row in ids])
        for number, row in zip(numbers, logits.float().log_softmax(-1), strict=True):
            following = torch.tensor(answers[number][1:], device=row.device)
            sums[number] += row[: len(following)].gather(-1, following[:, None]).double().sum().item()
    return sums


def _whole(model, inputs, ids: torch.Tensor) -> torch.Tensor:
    """Logits at the answer's tokens `ids`, `(1, answer)`, with the prompt run anew."""
    length = inputs["input_ids"].shape[1]
    longer = dict(inputs)
    for name, value in inputs.items():
        if name == "input_ids":
            longer[name] = torch.cat([value, ids], dim=1)
        elif torch.is_tensor(value) and value.shape == inputs["input_ids"].shape:
            longer[name] = torch.cat([value, torch.full_like(ids, int(name == "attention_mask"))], dim=1)
    return model(**longer, use_cache=False, return_dict=True).logits[:, length:]


def _normalized(sums: Scores, faces: list[tuple], questions, tokens: QuestionTokenizer) -> Scores:
    return [
        [
            [value / len(answer) for value, answer in zip(values, tokens(question, len(images)).answers, strict=True)]
            for values, question in zip(theirs, asked, strict=True)
        ]
        for theirs, images, asked in zip(sums, faces, questions, strict=True)
    ]


def _calibrated(score, faces: list[tuple], questions: list[tuple[ClosedQuestion, ...]]) -> Scores:
    """Less what grey pictures get. Each question is asked of them once, whatever the number of faces."""
    grey = Image.new("RGB", (224, 224), (128, 128, 128))
    needed: dict[int, dict[ClosedQuestion, None]] = {}
    for images, asked in zip(faces, questions, strict=True):
        needed.setdefault(len(images), {}).update(dict.fromkeys(asked))
    counts = list(needed)
    prior_scores = score([(grey,) * count for count in counts], [tuple(needed[count]) for count in counts])
    priors = {
        (count, question): values
        for count, theirs in zip(counts, prior_scores, strict=True)
        for question, values in zip(needed[count], theirs, strict=True)
    }
    return [
        [
            [value - prior for value, prior in zip(values, priors[len(images), question], strict=True)]
            for values, question in zip(theirs, asked, strict=True)
        ]
        for theirs, images, asked in zip(score(faces, questions), faces, questions, strict=True)
    ]


def _shares(scores: Scores, model: PreTrainedModel) -> Scores:
    if any(math.isnan(value) for face in scores for values in face for value in values):
        kind = str(model.dtype).removeprefix("torch.")
        raise ValueError(
            f"the model's probabilities are no numbers: in {kind} it overflows, or its weights are broken"
        )
    return [[torch.tensor(values, dtype=torch.float64).softmax(-1).tolist() for values in face] for face in scores]


__all__ = ["ClosedQuestion", "option_log_likelihoods", "score_each_alone", "score_options"]
