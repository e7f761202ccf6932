"""Closed questions about faces, answered by probabilities: no prose to parse.

A Face-MLLM reads all questions about a face in one pass (`packed_scoring_facemllm`); any other image-text-to-text
model reads one prompt for each.
"""

import contextlib
import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakSet

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.utils import logging

from .closed_questions_facemllm import ClosedQuestion, QuestionTokenizer, check_question_fits, question_messages
from .finite_numbers_facemllm import check_finite, no_numbers
from .option_scores_facemllm import Questions, Scores, are_finite, faces_and_questions, probabilities
from .packed_scoring_facemllm import PackedScorer, agreement, device_of_inputs, difference
from .token_tree_facemllm import CannotPack
from .user_texts_facemllm import chat_inputs
from .versions_facemllm import cache_argument, cache_of, remedy

logger = logging.get_logger(__name__)

QUANTIZED_AGREEMENT = 0.3
"""How far logits with a cache may be from those without in a quantized model; an unread cache moves them further."""
_continue_rightly: WeakSet = WeakSet()
"""Models that were seen to give the same logits with a cache as without."""


def score_options(
    model: PreTrainedModel, processor: Any, images: Sequence[Any], questions: Questions, **options: Any
) -> Scores:
    """How probable each option of each question is, in one pass for all questions about a face.

    It is the softmax of [`option_log_likelihoods`] over each question's options, and takes the same arguments.
    """
    if getattr(model, "is_exported", False):  # a graph has no hidden states to read; another one scores
        return model.score_options(processor, images, questions, **options)
    return probabilities(option_log_likelihoods(model, processor, images, questions, **options))


def option_log_likelihoods(
    model: PreTrainedModel,
    processor: Any,
    images: Sequence[Any],
    questions: Questions,
    *,
    batch_size: int = 8,
    pack_tokens: int = 2048,
) -> Scores:
    """The log-likelihood of each option as the answer to its question: of its tokens and of the turn's end.

    A model that cannot be packed (linear attention, another architecture than Face-MLLM) is scored one question at a
    time, with the same numbers and a warning. Attention kernels that take no mask of this kind (flash, flex) are
    exchanged for SDPA during the call.

    Args:
        model: a Face-MLLM, also with PEFT's adapters.
        processor: its processor.
        images: for each face one image, `None` (text only) or a list of images.
        questions: one list for all faces, or a list for each.
        batch_size (`int`): faces that are run together.
        pack_tokens (`int`): tokens of one pass behind the shared prefix; more questions take several passes, the
            prefix still one.

    Returns:
        `list[list[list[float]]]`: for each face and each of its questions, the options' log-likelihoods.

    Raises:
        ValueError: when the arguments do not fit together; the message says which. Also when the model gives other
            logits with a cache than without, as on a release of transformers that it does not suit.
        PromptTooLongError: a ValueError, when a question with one of its options is longer than the model reads.
        NoNumbersError: a ValueError, when the model gives NaN or infinite numbers.
    """
    faces, asked = faces_and_questions(images, questions, batch_size, pack_tokens)
    with _ready_to_score(model, processor) as (network, tokens):
        try:
            scorer = PackedScorer(network, processor, tokens, batch_size, pack_tokens)
            with _masked_attention(network):
                return _finite(network, scorer.score(faces, asked))
        except CannotPack as reason:
            logger.warning_once(f"questions are scored one by one: {reason}")
            return _finite(network, _score_alone(network, processor, faces, asked, tokens, batch_size))


def score_each_alone(
    model: PreTrainedModel, processor: Any, images: Sequence[Any], questions: Questions, *, batch_size: int = 8
) -> Scores:
    """What [`score_options`] returns, for any image-text-to-text model: one prompt for every question.

    Args:
        batch_size (`int`): options of a question that are run together. The others are as in
            [`option_log_likelihoods`], and so is what is raised.
    """
    faces, asked = faces_and_questions(images, questions, batch_size)
    with _ready_to_score(model, processor) as (network, tokens):
        return probabilities(_finite(network, _score_alone(network, processor, faces, asked, tokens, batch_size)))


def _finite(model: PreTrainedModel, scores: Scores) -> Scores:
    if not are_finite(scores):
        raise no_numbers(model)
    return scores


@contextlib.contextmanager
def _ready_to_score(model: PreTrainedModel, processor: Any) -> Iterator[tuple[PreTrainedModel, QuestionTokenizer]]:
    """The model under PEFT's wrapper and what tokenises its questions; no gradients and no dropout meanwhile."""
    network = _unwrapped(model)
    ends = getattr(getattr(network, "generation_config", None), "eos_token_id", None)
    ends = ends if isinstance(ends, (list, tuple)) else [] if ends is None else [ends]
    with torch.no_grad(), _evaluating(network):
        yield network, QuestionTokenizer(processor, ends)


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


def _score_alone(
    model: PreTrainedModel,
    processor: Any,
    faces: Sequence[tuple],
    questions: Sequence[tuple[ClosedQuestion, ...]],
    tokens: QuestionTokenizer,
    batch_size: int,
) -> Scores:
    """The log-likelihoods of the options, from one prompt per question."""
    return [
        [
            _answers_alone(model, processor, question, images, answers, batch_size)
            for question in asked
            for answers in [tokens(question, len(images)).answers]
        ]
        for images, asked in zip(faces, questions, strict=True)
    ]


def _answers_alone(
    model, processor, question: ClosedQuestion, images: tuple, answers: tuple[tuple[int, ...], ...], batch_size: int
) -> list[float]:
    messages = question_messages(question.text, images)
    inputs = chat_inputs(processor, messages, add_generation_prompt=True, return_tensors="pt")
    position_limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    check_question_fits(question, inputs["input_ids"].shape[1], answers, position_limit)
    inputs = inputs.to(device_of_inputs(model), dtype=model.dtype)
    device = inputs["input_ids"].device
    last_only = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    output = model(**inputs, use_cache=True, return_dict=True, **last_only)
    first = output.logits[0, -1].float().log_softmax(-1)
    cache = cache_of(output)
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
        ids = ids.to(device)
        if continues:
            theirs = cache if start + batch_size >= len(longer) else copy.deepcopy(cache)
            theirs.reorder_cache(torch.zeros(len(numbers), dtype=torch.long, device=device))
            mask = torch.ones(len(numbers), inputs["input_ids"].shape[1] + width, dtype=torch.long, device=device)
            continued = cache_argument(model, theirs)
            logits = model(input_ids=ids, attention_mask=mask, **continued, return_dict=True).logits
            _check_continuation(model, logits[0], inputs, ids[:1])
        else:
            logits = torch.cat([_whole(model, inputs, row[None]) for row in ids])
        for number, row in zip(numbers, logits.float().log_softmax(-1), strict=True):
            following = torch.tensor(answers[number][1:], device=row.device)
            sums[number] += row[: len(following)].gather(-1, following[:, None]).double().sum().item()
    return sums


def _check_continuation(model: PreTrainedModel, logits: torch.Tensor, inputs, ids: torch.Tensor) -> None:
    """See once for each model that `logits` `(answer, vocab_size)`, read after a cache, are those of the whole prompt.

    A release that renames the cache would leave it unread, and each answer would be scored without its question.
    """
    check_finite(model, logits)
    if model in _continue_rightly:
        return
    # Activations that are quantized row by row or all together differ more than rounding does.
    allowed = QUANTIZED_AGREEMENT if _is_quantized(model) else agreement(model.dtype)
    if not difference(logits, _whole(model, inputs, ids)[0]) < allowed:
        raise ValueError(
            f"{type(model).__name__} gives other logits with a cache than without, so its scores cannot be trusted; "
            f"{remedy()}"
        )
    _continue_rightly.add(model)


def _is_quantized(model: PreTrainedModel) -> bool:
    return getattr(model, "is_quantized", False) or any("quantized" in type(m).__module__ for m in model.modules())


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
