"""Many closed questions about a face in one pass: a probability for every option, with no prose to parse.

The image and what all prompts begin with are run once. Everything after that (the rest of each question and its
answers) is one packed row of tokens behind that prefix: a token tree, in which a token sees the prefix and the tokens
before it on its own branch, at the positions it would have if it were asked alone.
"""

import contextlib
import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from PIL import Image
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.utils import logging

from .closed_questions_facemllm import (
    AskedQuestion,
    ClosedQuestion,
    TokenTree,
    ask,
    grow_trees,
    question_messages,
)

logger = logging.get_logger(__name__)

Scores = list[list[list[float]]]
"""A number for each option of each question about each face."""

HEAD_NUMBERS = 2**24
"""Logits that are held at a time, in numbers: 64 MiB."""


def score_options(
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
    """How probable each option of each question is, in one pass for all questions about a face.

    The probabilities are the softmax, over the options of a question, of [`option_log_likelihoods`], which has the
    arguments.

    Returns:
        `list[list[list[float]]]`: for each face and each of its questions, the options' probabilities; they sum to 1.
    """
    return _shares(
        option_log_likelihoods(
            model,
            processor,
            images,
            questions,
            system=system,
            batch_size=batch_size,
            normalize=normalize,
            calibrate=calibrate,
            end_of_turn=end_of_turn,
            pack_tokens=pack_tokens,
        )
    )


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
    network = _unwrapped(model)
    with torch.no_grad(), _evaluating(network), _masked_attention(network):

        def score(faces: list[tuple], questions: list[tuple[ClosedQuestion, ...]]) -> Scores:
            tokens = _QuestionTokens(processor, network, system, end_of_turn)
            try:
                scorer = _PackedScorer(network, processor, tokens, batch_size, pack_tokens)
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
    tokens = _QuestionTokens(processor, network, system, end_of_turn)
    with torch.no_grad(), _evaluating(network):

        def score(faces: list[tuple], questions: list[tuple[ClosedQuestion, ...]]) -> Scores:
            sums = _score_alone(network, processor, faces, questions, system, tokens, batch_size)
            return _normalized(sums, faces, questions, tokens) if normalize == "length" else sums

        return _shares(_calibrated(score, faces, asked) if calibrate else score(faces, asked))


class CannotPack(Exception):
    """This model, or these prompts, have to be scored one question at a time."""


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
    questions = list(questions)
    if all(hasattr(one, "options") for one in questions):
        questions = [tuple(questions)] * len(faces)
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


class _QuestionTokens:
    """Tokenises each question once."""

    def __init__(self, processor: Any, model: PreTrainedModel, system: str | None, end_of_turn: bool):
        ends = getattr(model.generation_config, "eos_token_id", None)
        ends = ends if isinstance(ends, (list, tuple)) else [] if ends is None else [ends]
        self.processor = processor
        self.settings = {"system": system, "end_of_turn": end_of_turn, "end_tokens": frozenset(ends)}
        self.known: dict[tuple[ClosedQuestion, int], AskedQuestion] = {}

    def __call__(self, question: ClosedQuestion, num_images: int) -> AskedQuestion:
        key = question, num_images
        if key not in self.known:
            self.known[key] = ask(self.processor, question, num_images, **self.settings)
        return self.known[key]


class _PrefixCache(DynamicCache):
    """Keys and values of the shared prefix. Once closed, packs read them and leave nothing behind."""

    closed = False

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        if not self.closed:
            return super().update(key_states, value_states, layer_idx, *args, **kwargs)
        layer = self.layers[layer_idx]
        return torch.cat([layer.keys, key_states], dim=-2), torch.cat([layer.values, value_states], dim=-2)


_checked: WeakKeyDictionary = WeakKeyDictionary()
"""For each model, under which circumstances a packed pass was seen to equal a plain one, or what it lacked."""


class _PackedScorer:
    """Scores faces in batches, all questions about a face in one pass (or in few, of `pack_tokens`)."""

    def __init__(self, model, processor, tokens: _QuestionTokens, batch_size: int, pack_tokens: int):
        if getattr(model.config, "model_type", None) != "facemllm":
            raise CannotPack(f"{type(model).__name__} is no Face-MLLM")
        self.model, self.processor, self.tokens = model, processor, tokens
        self.batch_size, self.pack_tokens = batch_size, pack_tokens
        self.language_model = model.get_decoder()
        self.layer_kinds = _layer_kinds(self.language_model.config)

    def score(self, faces: list[tuple], questions: list[tuple[ClosedQuestion, ...]]) -> Scores:
        results: Scores = [[] for _ in faces]
        for batch in _batches(faces, questions, self.batch_size):
            asked = [[self._tokens(question, len(faces[face])) for question in questions[face]] for face in batch]
            same = all(questions[face] == questions[batch[0]] for face in batch)
            images = [image for face in batch for image in faces[face]]
            flat = self._score_batch(images, len(batch), asked[:1] if same else asked)
            for face, values, theirs in zip(batch, flat, asked * (len(batch) if same else 1), strict=False):
                rest = iter(values)
                results[face] = [[next(rest) for _ in question.answers] for question in theirs]
        return results

    def _tokens(self, question: ClosedQuestion, num_images: int) -> AskedQuestion:
        asked = self.tokens(question, num_images)
        image_token = self.model.config.image_token_id
        if asked.prompt.count(image_token) != num_images:
            raise ValueError(
                f"Image features and image tokens do not match: the prompt of {question.text!r} has "
                f"{asked.prompt.count(image_token)} image tokens for {num_images} images"
            )
        return asked

    def _score_batch(self, images: list, num_faces: int, asked: list[list[AskedQuestion]]) -> list[list[float]]:
        """The log-likelihoods of all answers about each face; `asked` has one list for all faces, or one for each."""
        sequences = [
            [
                (self._expanded(question.prompt) + answer, len(answer))
                for question in theirs
                for answer in question.answers
            ]
            for theirs in asked
        ]
        prompts = [self._expanded(question.prompt) for theirs in asked for question in theirs]
        length = _common_length(prompts)
        prefix = prompts[0][:length]
        if not prefix:
            raise CannotPack("the prompts of the questions have no first token in common")
        if any(self.model.config.image_token_id in prompt[length:] for prompt in prompts):
            raise CannotPack("the chat template puts the question before the image")
        trees = [
            grow_trees([(tokens[length:], answer) for tokens, answer in theirs], self.pack_tokens)
            for theirs in sequences
        ]

        device = self.model.get_input_embeddings().weight.device
        features = None
        if images:
            pixel_values = torch.as_tensor(self.processor(images=images, return_tensors="pt")["pixel_values"])
            features = self.model.get_image_features(pixel_values.to(device), return_dict=True)
        cache = _PrefixCache()
        ids = torch.tensor(prefix, device=device).expand(num_faces, -1)
        last = self.model.model(
            input_ids=ids,
            mm_encoder_outputs={"image": features} if images else None,
            past_key_values=cache,
            use_cache=True,
            return_dict=True,
        ).last_hidden_state[:, -1:]
        layers = getattr(cache, "layers", [])
        if len(layers) != len(self.layer_kinds) or any(
            type(layer) is not DynamicLayer or layer.get_seq_length() != length for layer in layers
        ):
            raise CannotPack(f"{self.language_model.config.model_type} keeps no keys and values of every token")
        cache.closed = True

        sums = [torch.zeros(len(sequences[face % len(sequences)]), dtype=torch.float64) for face in range(num_faces)]
        for number in range(max(map(len, trees))):
            packs = [theirs[number] if number < len(theirs) else TokenTree() for theirs in trees]
            hidden = self._run(packs, last, cache, length)
            for face in range(num_faces):
                pack = packs[face % len(packs)]
                answers = torch.tensor([answer for answer, _, _ in pack.predicted])
                sums[face].index_add_(0, answers, self._token_log_probabilities(pack, hidden[face]))
        return [values.tolist() for values in sums]

    def _expanded(self, prompt: tuple[int, ...]) -> tuple[int, ...]:
        image_token, count = self.model.config.image_token_id, self.model.config.num_image_tokens
        return tuple(copy for token in prompt for copy in ([token] if token != image_token else [image_token] * count))

    def _run(self, packs: list[TokenTree], last: torch.Tensor, cache: _PrefixCache, length: int) -> torch.Tensor:
        """Hidden states of the prefix's last token and of the packs' nodes, `(faces, 1 + nodes, hidden_size)`."""
        size = max(map(len, packs))
        if size == 0:
            return last
        device = last.device
        ids = torch.zeros(len(packs), size, dtype=torch.long)
        positions = torch.full((len(packs), size), length)
        for row, pack in enumerate(packs):
            ids[row, : len(pack)] = torch.tensor(pack.tokens)
            positions[row, : len(pack)] += torch.tensor(pack.depths)
        output = self.model.model(
            input_ids=ids.to(device).expand(len(last), -1),
            attention_mask=self._masks(packs, size, length, last.dtype, device),
            position_ids=positions.to(device),
            past_key_values=cache,
            use_cache=True,
            return_dict=True,
        )
        return torch.cat([last, output.last_hidden_state], dim=1)

    def _masks(self, packs, size: int, length: int, dtype: torch.dtype, device) -> torch.Tensor | dict:
        """What attention logits are increased by, `(faces or 1, 1, nodes, prefix + nodes)`, for each kind of layer."""

        def mask(window: int | None) -> torch.Tensor:
            seen = torch.ones(len(packs), 1, size, length + size, dtype=torch.bool)
            for row, pack in enumerate(packs):
                seen[row, 0, :, length:] = torch.from_numpy(pack.visible(size, window))
                if window is not None:
                    depths = torch.tensor(pack.depths + [0] * (size - len(pack)))
                    seen[row, 0, :, :length] = (length + depths)[:, None] - torch.arange(length) < window
            values = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)
            return values.to(device)

        windows = dict(self.layer_kinds)
        masks = {window: mask(window) for window in set(windows.values())}
        if len(windows) == 1:
            return next(iter(masks.values()))
        return {kind: masks[window] for kind, window in windows.items()}

    def _token_log_probabilities(self, pack: TokenTree, hidden: torch.Tensor) -> torch.Tensor:
        """Of every token in `pack.predicted`, float64; the head runs where it is needed, some rows at a time."""
        nodes = sorted({node for _, node, _ in pack.predicted})
        row_of = {node: row for row, node in enumerate(nodes)}
        order = sorted(range(len(pack.predicted)), key=lambda index: pack.predicted[index][1])
        rows = torch.tensor([row_of[pack.predicted[index][1]] for index in order])
        ids = torch.tensor([pack.predicted[index][2] for index in order])
        states = hidden[torch.tensor(nodes, device=hidden.device) + 1]
        values, step = [], max(1, HEAD_NUMBERS // self.model.config.text_config.vocab_size)
        for start in range(0, len(nodes), step):
            logits = self.model.compute_logits(states[start : start + step]).float()
            here = (rows >= start) & (rows < start + step)
            chosen = logits[(rows[here] - start).to(logits.device), ids[here].to(logits.device)]
            total = logits.logsumexp(-1)[(rows[here] - start).to(logits.device)]
            values.append((chosen - total).double().cpu())
        back = torch.empty(len(order), dtype=torch.float64)
        back[torch.tensor(order)] = torch.cat(values)
        return back


def _layer_kinds(config) -> list[tuple[str, int | None]]:
    """Each layer's kind and, of a sliding one, how many tokens it sees.

    Raises:
        CannotPack: for layers that are no attention, or one with another pattern.
    """
    window = (
        getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", None) is not False else None
    )
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        kinds = ["full_attention" if window is None else "sliding_attention"] * config.num_hidden_layers
    others = sorted(set(kinds) - {"full_attention", "sliding_attention"})
    if others:
        raise CannotPack(f"{config.model_type} has layers of {' and '.join(others)}")
    return [(kind, window if kind == "sliding_attention" else None) for kind in kinds]


def _batches(faces: list[tuple], questions: list[tuple], batch_size: int) -> Iterator[list[int]]:
    """Indices of faces that are run together: of as many images, and of the same questions where possible."""
    alike: dict[tuple, int] = {}
    keys = [(len(images), alike.setdefault(asked, len(alike))) for images, asked in zip(faces, questions, strict=True)]
    order = sorted((index for index in range(len(faces)) if questions[index]), key=lambda index: keys[index])
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) == batch_size or keys[index][0] != keys[batch[0]][0]):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _common_length(sequences: list[tuple[int, ...]]) -> int:
    # What the first and the last in order begin with, all begin with.
    first, last = min(sequences), max(sequences)
    pairs = zip(first, last, strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(first), len(last)))


def _score_alone(
    model: PreTrainedModel,
    processor: Any,
    faces: list[tuple],
    questions: list[tuple[ClosedQuestion, ...]],
    system: str | None,
    tokens: _QuestionTokens,
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


def _normalized(sums: Scores, faces: list[tuple], questions, tokens: _QuestionTokens) -> Scores:
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


def _shares(scores: Scores) -> Scores:
    return [[torch.tensor(values, dtype=torch.float64).softmax(-1).tolist() for values in face] for face in scores]


__all__ = ["ClosedQuestion", "option_log_likelihoods", "score_each_alone", "score_options"]
