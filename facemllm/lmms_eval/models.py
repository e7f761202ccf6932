"""The two classes that lmms-eval runs: one for its plain tasks, one for those that come as chat messages.

Both take any image-text-to-text chat model that transformers loads, a Face-MLLM or its base. lmms-eval asks for
option scoring (`multiple_choice`) of plain models only, so `--force_simple` chooses the first.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from lmms_eval.api.instance import GenerationResult, Instance
from lmms_eval.api.model import lmms
from tqdm import tqdm

from facemllm.inference.answering import user_message
from facemllm.inference.loading import load_model
from modeling_facemllm.user_texts_facemllm import as_text

MAX_NEW_TOKENS = 128  # where a task does not say how much may be written

Conversation = list[dict[str, Any]]


class FaceMLLM(lmms):
    """An image-text-to-text model as lmms-eval's plain tasks use it: a text and the pictures before it.

    Args:
        pretrained: a model folder or a Hub id.
        adapter: a PEFT adapter's folder or Hub id to put on it.
        batch_size: prompts that go through the model at once.
        device: auto, cpu, cuda, cuda:1, mps; with several processes each takes its own.
        trust_remote_code: whether to run Python code that comes with the model.
        system_prompt: text of the system's turn, or a file that holds it.

    Raises:
        UserError: when the model cannot be loaded.
        ValueError: when `batch_size` is no positive number.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str = 1,
        device: str = "auto",
        trust_remote_code: bool = False,
        system_prompt: str = "",
        adapter: str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if not str(batch_size).isdigit() or int(batch_size) < 1:
            raise ValueError(f"batch_size={batch_size!r}: give a number of prompts, 1 or more")
        self.batch_size = min(int(batch_size), max_batch_size or int(batch_size))
        self.system_prompt = self._resolve_system_prompt(system_prompt)
        self.accelerator = Accelerator()
        self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
        device = str(self.accelerator.device) if self.world_size > 1 else device
        self.model, self.processor = load_model(pretrained, device, trust_remote_code, adapter=adapter)
        self.device = self.model.device  # still asked for when lmms-eval has dropped the model
        if self.processor.tokenizer.pad_token is None:
            self.processor.tokenizer.pad_token = self.processor.tokenizer.eos_token

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """What the model writes for each request, greedily unless the task says otherwise."""
        asked = [self._prompt(request) for request in requests]
        written: list[str] = [""] * len(requests)
        with tqdm(total=len(requests), desc="answering", unit="prompt", disable=self.rank != 0) as bar:
            for places, settings in _batches([settings for _, settings in asked], self.batch_size):
                conversations = [self._conversation(requests[place], asked[place][0]) for place in places]
                for place, text in zip(places, self._generate(conversations, settings), strict=True):
                    written[place] = text
                bar.update(len(places))
        return written

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        raise NotImplementedError("facemllm answers one turn: choose tasks whose output_type is generate_until")

    def loglikelihood(self, requests: list[Instance]) -> list[GenerationResult]:
        """The loss of each continuation as the assistant's whole turn, and whether greedy decoding would write it.

        The loss is the negative log-likelihood of its tokens and of the one that ends the turn, summed: lmms-eval
        0.7.3 takes the option with the lowest number. It also turns a bare pair into a string, so each pair comes in
        a `GenerationResult`, which it opens.
        """
        scored: list[GenerationResult] = []
        with tqdm(total=len(requests), desc="scoring", unit="option", disable=self.rank != 0) as bar:
            for start in range(0, len(requests), self.batch_size):
                part = requests[start : start + self.batch_size]
                scored += [GenerationResult(text=pair) for pair in self._losses(part)]
                bar.update(len(part))
        return scored

    def _prompt(self, request: Instance) -> tuple[Any, dict[str, Any]]:
        """What a conversation is made from, and how to generate."""
        text, settings, *_ = request.args
        return text, settings

    def _conversation(self, request: Instance, text: Any) -> Conversation:
        _, _, to_images, doc_id, task, split = request.args
        images = to_images(self.task_dict[task][split][doc_id]) if to_images is not None else None
        return self._apply_system_prompt([user_message(text, images or ())], self.system_prompt)

    def _tensors(
        self, processor: Any, texts: Sequence[str], conversations: Sequence[Conversation], padding_side: str
    ) -> Any:
        images = [
            [part["image"] for turn in conversation for part in turn["content"] if part["type"] == "image"]
            for conversation in conversations
        ]
        start = processor.tokenizer.bos_token
        return processor(
            text=list(texts),
            images=images if any(images) else None,
            padding=True,
            padding_side=padding_side,
            # a template that writes the first token itself gets no other
            add_special_tokens=start is None or not texts[0].startswith(start),
            return_tensors="pt",
        ).to(self.model.device, dtype=self.model.dtype)

    @torch.inference_mode()
    def _generate(self, conversations: Sequence[Conversation], settings: dict[str, Any]) -> Iterator[str]:
        marked, processor = as_text(self.processor, conversations)
        inputs = self._tensors(processor, _prompts(processor, marked), conversations, "left")
        until, options = _generation_options(settings)
        tokens = self.model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]
        for text in self.processor.batch_decode(tokens, skip_special_tokens=True):
            for stop in filter(None, until):
                text = text.partition(stop)[0]
            yield text.strip()

    @torch.inference_mode()
    def _losses(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        conversations, continuations = [], []
        for request in requests:
            text, continuation, _, doc_id, task, split = request.args
            if callable(continuation):
                continuation = continuation(self.task_dict[task][split][doc_id])
            conversations.append(FaceMLLM._conversation(self, request, text))  # only plain tasks are scored
            continuations.append({"role": "assistant", "content": continuation})
        (marked, turns), processor = as_text(self.processor, [conversations, continuations])
        endings = [f"{turn['content']}{processor.tokenizer.eos_token}" for turn in turns]
        texts = [prompt + ending for prompt, ending in zip(_prompts(processor, marked), endings, strict=True)]
        answers = processor.tokenizer(endings, add_special_tokens=False)["input_ids"]
        inputs = self._tensors(processor, texts, conversations, "right")
        logits = self.model(**inputs).logits
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            _loss(row, ids, length, answer)
            for row, ids, length, answer in zip(logits, inputs["input_ids"], lengths, answers, strict=True)
        ]


class FaceMLLMChat(FaceMLLM):
    """The same for tasks that lmms-eval hands over as chat messages, pictures and text in the task's own order."""

    is_simple = False

    def _prompt(self, request: Instance) -> tuple[Any, dict[str, Any]]:
        _, to_messages, settings, *_ = request.args
        return to_messages, settings

    def _conversation(self, request: Instance, to_messages: Any) -> Conversation:
        from lmms_eval.protocol import ChatMessages

        *_, doc_id, task, split = request.args
        messages = ChatMessages(messages=to_messages(self.task_dict[task][split][doc_id]))
        _, videos, sounds = messages.extract_media()
        if videos or sounds:
            raise ValueError(f"task {task} shows videos or plays sounds: facemllm reads pictures and text only")
        return self._apply_system_prompt(messages.to_hf_messages(), self.system_prompt)


def _prompts(processor: Any, conversations: Sequence[Conversation]) -> list[str]:
    return [
        processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) for turns in conversations
    ]


def _batches(settings: Sequence[dict[str, Any]], size: int) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """Places of requests that are generated in the same way, `size` at a time."""
    alike: dict[str, list[int]] = {}
    for place, entry in enumerate(settings):
        alike.setdefault(repr(sorted(entry.items())), []).append(place)
    for places in alike.values():
        for start in range(0, len(places), size):
            part = places[start : start + size]
            yield part, settings[part[0]]


def _generation_options(settings: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Where to cut what was written, and what `generate` takes."""
    options = {"max_new_tokens": MAX_NEW_TOKENS, "do_sample": False, **settings}
    until = options.pop("until", None) or []
    if not options["do_sample"] and (options.get("temperature") or 0) > 0:
        options["do_sample"] = True
    if not options["do_sample"]:
        for name in ("temperature", "top_p", "top_k"):
            options.pop(name, None)
    return [until] if isinstance(until, str) else list(until), options


def _loss(logits: torch.Tensor, ids: torch.Tensor, length: int, answer: Sequence[int]) -> tuple[float, bool]:
    """The summed loss of `answer`, the last of a row's `length` tokens; `logits` is `(tokens, vocabulary)`."""
    expected = ids[length - len(answer) : length]
    if expected.tolist() != list(answer):
        raise ValueError("the tokenizer joins prompt and answer into one token: this model cannot be scored here")
    predicted = logits[length - len(answer) - 1 : length - 1].float().log_softmax(dim=-1)
    of_answer = predicted.gather(1, expected.unsqueeze(1)).squeeze(1)
    return -of_answer.sum().item(), bool((predicted.argmax(dim=-1) == expected).all())
