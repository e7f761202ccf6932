"""A Face-MLLM's ONNX folder, run with onnxruntime alone: no torch, no transformers."""

import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from facemllm_onnx.export_location import GRAPH_FOLDER, exported_folder
from modeling_facemllm.chat_messages_facemllm import image_mismatch
from modeling_facemllm.closed_questions_facemllm import question_messages
from modeling_facemllm.errors_facemllm import NoNumbersError, check_context
from modeling_facemllm.option_scores_facemllm import Scores, are_finite, probabilities

from .arguments import check_messages, check_names, check_whole_number, checked_prompt
from .broken_weights import broken_weight
from .decoding import STORAGE, Decoder, DecoderRun, run_on_host, to_float32, to_storage
from .prompting import ONNXProcessor
from .record import GENERATION, check_graph, read_config, read_generation_config, read_record
from .sampling import Sampling, TokenChooser
from .scoring import OptionScorer
from .sessions import open_sessions
from .text_stream import EndOfAnswers, TextStream, split_stop

GRAPH_NAMES = ("vision_encoder", "embed_tokens", "decoder_model_merged")


class FaceMLLMForONNX:
    """Answers questions about the faces in photos.

        model = FaceMLLMForONNX.from_pretrained("exported")
        model.ask("face.jpg", "How old is the person?")

    Calls may overlap, from several threads too.

    Args:
        folder: what `facemllm export` wrote; see [`from_pretrained`] for the rest.

    Attributes:
        provider: `"cpu"` or `"cuda"`, on which it runs.
        record: `export.json`.
        config, generation_config: the model's `config.json` and `generation_config.json`.
        processor: turns messages and photos into inputs.
    """

    def __init__(
        self, folder: str | Path, provider: str = "auto", *, threads: int | None = None, max_length: int | None = None
    ):
        self.folder = folder = Path(folder)
        self.record = read_record(folder)
        self.config = read_config(folder)
        self.generation_config = read_generation_config(folder)
        try:
            self.default_sampling = Sampling.from_config(self.generation_config)
        except ValueError as error:
            raise ValueError(f"{folder / GENERATION}: {error}") from error
        self.processor = ONNXProcessor(folder)
        # Not of config.json, where some language models call it otherwise; with ALiBi there is none.
        self.position_limit: int = self.record["model"].get("max_position_embeddings") or sys.maxsize
        if max_length is not None:
            check_whole_number("max_length", max_length)
            if max_length > self.position_limit:
                raise ValueError(f"max_length={max_length}: the model reads 1 to {self.position_limit} tokens")
        self.max_length = max_length or self.position_limit
        self.threads = threads
        files = {name: folder / GRAPH_FOLDER / f"{name}.onnx" for name in GRAPH_NAMES}
        self.sessions, self.provider = open_sessions(files, provider, threads)
        for name, session in self.sessions.items():
            check_graph(session, files[name], self.record)
        graphs = self.sessions["embed_tokens"], self.sessions["decoder_model_merged"]
        self._decoder = Decoder(*graphs, self.record["cache"], self.provider, max_length)
        self.image_token_id: int = self.config["image_token_id"]
        self.num_image_tokens: int = self.processor.num_image_tokens
        ends = self.generation_config.get("eos_token_id", self.config["text_config"].get("eos_token_id"))
        self.end_token_ids = () if ends is None else tuple(ends) if isinstance(ends, list) else (ends,)
        pad = self.generation_config.get("pad_token_id", self.processor.tokenizer.pad_token_id)
        self.pad_token_id = pad if pad is not None else (self.end_token_ids or (0,))[0]

    @classmethod
    def from_pretrained(
        cls,
        folder_or_hub_id: str | Path,
        provider: str = "auto",
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        threads: int | None = None,
        max_length: int | None = None,
    ) -> "FaceMLLMForONNX":
        """Load an exported model.

        Args:
            folder_or_hub_id: a folder that `facemllm export` wrote, or a repository of the Hub that holds one.
            provider: `"cpu"`, `"cuda"`, or `"auto"`: CUDA where it works and else the CPU.
            revision, token: of the Hub's repository: branch, tag or commit; and the access token.
            threads: of the CPU; one for each core that this process may use where absent.
            max_length: tokens, prompt included, that memory is set aside for at once and that no answer goes beyond;
                by default it grows with need, up to what the model reads.

        Raises:
            ValueError: when there is no such folder or repository, or it holds no export; as `ProviderUnavailable`,
                when CUDA was asked for and is not there.
        """
        folder = exported_folder(folder_or_hub_id, revision, token)
        return cls(folder, provider, threads=threads, max_length=max_length)

    def ask(self, images: Any, question: str | None = None, **generation: Any) -> str | Iterator[str]:
        """The answer to one question about one image, several, or (`None`) none.

        Args:
            images: a path, URL, PIL image, bytes, base64 or NumPy array; a list of them; or `None`.
            question: a text; it has to be given.
            generation: `stream=True` gives the pieces of the answer as they come; `stop`, `max_new_tokens` end it;
                `do_sample`, `temperature`, `top_k`, `top_p`, `repetition_penalty`, `seed` say how it is drawn: see
                [`generate`] and [`generate_tokens`].

        Raises:
            ValueError: when the question is no text, an image cannot be read or an argument is wrong.
        """
        if not isinstance(question, str):
            remedy = "give a text, as ask(image, question), or ask(None, question) without an image"
            raise ValueError(f"question={question!r}: {remedy}")
        images = [] if images is None else list(images) if isinstance(images, (list, tuple)) else [images]
        return self.generate(question_messages(question, images), **generation)

    def generate(
        self, messages: Sequence, images: Any = None, *, stop: Any = None, stream: bool = False, **generation: Any
    ) -> str | list[str] | Iterator[str]:
        """Answer a conversation, or a batch of them.

        Args:
            messages: chat messages, or a list of conversations; image parts hold their image, or take the next one of
                `images`.
            images: the images of the parts that hold none; a list for each conversation of a batch.
            stop: strings or token ids that end an answer, besides the model's own; the text ends before the string.
            stream: give an iterator of pieces of text, as they come; for one conversation.
            generation: as of [`generate_tokens`].

        Returns:
            The answer, or a list of them for a batch.

        Raises:
            ValueError: when images and image parts differ in number, or an argument is wrong.
        """
        check_messages(messages)
        batched = not isinstance(messages[0], dict) and not hasattr(messages[0], "content")
        if stream and batched and len(messages) > 1:
            raise ValueError(f"stream=True takes one conversation, not {len(messages)}: call once for each")
        inputs = self.processor.apply_chat_template(messages, images=images, tokenize=True, add_generation_prompt=True)
        strings, _ = split_stop(stop)
        if stream:
            return self._pieces(self.generate_tokens(**inputs, stop=stop, stream=True, **generation), strings)
        rows = self.generate_tokens(**inputs, stop=stop, **generation)
        texts = []
        for row in rows:
            text = self._text(row)
            texts.append(text[: min((at for at in map(text.find, strings) if at >= 0), default=len(text))])
        return texts if batched else texts[0]

    def _text(self, tokens: Sequence[int]) -> str:
        return self.processor.decode(tokens, skip_special_tokens=True)

    def _pieces(self, tokens: Iterator[np.ndarray], stop: Sequence[str]) -> Iterator[str]:
        text = TextStream(self._text, stop)
        for token in tokens:
            if piece := text.add(int(token[0])):
                yield piece
        if piece := text.end():
            yield piece

    def generate_tokens(
        self,
        input_ids: np.ndarray | None = None,
        attention_mask: np.ndarray | None = None,
        pixel_values: np.ndarray | None = None,
        *,
        image_features: np.ndarray | None = None,
        inputs_embeds: np.ndarray | None = None,
        max_new_tokens: int = 256,
        do_sample: bool | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float | None = None,
        stop: Any = None,
        seed: int | None = None,
        stream: bool = False,
        **unknown: Any,
    ) -> np.ndarray | Iterator[np.ndarray]:
        """The tokens that follow each prompt; as transformers' `generate` chooses them.

        How they are drawn comes, where it is not given, from the model's `generation_config.json`. A folder for one
        prompt at a time (`"batch": "one"`) reads the prompts of a batch one after the other.

        Args:
            input_ids: int64 `(batch, length)`, padded on the left.
            attention_mask: int64 `(batch, length)`, 0 at the padding.
            pixel_values: float32 `(images, 3, height, width)`, in the order of their image tokens.
            image_features: what [`encode_images`] gave, instead of `pixel_values`.
            inputs_embeds: float32 `(batch, length, hidden)`, instead of `input_ids`, images included.
            max_new_tokens: 1 or more; an answer also ends where the model, or `max_length`, reads no further.
            do_sample: draw tokens; otherwise the most probable one is taken.
            temperature, top_k, top_p: of drawing.
            repetition_penalty: above 1, tokens of prompt and answer become less probable.
            stop: strings or token ids that end an answer, besides the model's own; one or a list.
            seed: of drawing.
            stream: give an iterator of int64 `(batch,)`, one for each step.

        Returns:
            int64 `(batch, new tokens)`, without the prompt; rows that ended are padded.

        Raises:
            ValueError: when the inputs do not fit together or a number is out of range.
            PromptTooLongError: a ValueError, when a prompt is longer than the model reads.
            NoNumbersError: a ValueError, when the logits are NaN or infinite.
            TypeError: for arguments of other names.
        """
        check_names(unknown, self.generate_tokens)
        if seed is not None:
            check_whole_number("seed", seed, least=0)
        sampling = self.default_sampling.changed(
            do_sample=do_sample,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            repetition_penalty=repetition_penalty,
        )
        embeds, mask, prompt = self._prompt(input_ids, attention_mask, pixel_values, image_features, inputs_embeds)
        max_new_tokens = self._room(mask, max_new_tokens)
        strings, ids = split_stop(stop)

        def answer(embeds: np.ndarray, mask: np.ndarray, prompt: np.ndarray, seeds: Sequence) -> Iterator[np.ndarray]:
            choose = TokenChooser(sampling, prompt, self._decoder.vocab_size, seeds)
            ends = EndOfAnswers(
                len(mask), self.processor.decode, strings, (*self.end_token_ids, *ids), self.pad_token_id
            )
            with DecoderRun(self._decoder, mask, max_new_tokens) as run:
                logits = run.read(embeds)
                for left in reversed(range(max_new_tokens)):
                    if not np.isfinite(logits.max(axis=-1)).all():
                        raise self.no_numbers()
                    tokens = ends.add(choose(logits))
                    yield tokens
                    if ends.all or not left:
                        return
                    logits = run.step(tokens)

        # One for each row, so that a batch draws what its rows would in a folder that takes one at a time.
        seeds = np.random.SeedSequence(seed).spawn(len(mask))
        if self.record["batch"] == "any":
            steps = answer(embeds, mask, prompt, seeds)
            return steps if stream else np.stack(list(steps), axis=1)
        if stream and len(mask) > 1:
            raise ValueError(f"{self.folder}: reads one prompt at a time; stream one, or export with --batch")
        # Its attention takes no padding.
        alone = (
            answer(embeds[[row], start:], mask[[row], start:], prompt[[row], start:], [seeds[row]])
            for row, start in enumerate(mask.argmax(axis=1))
        )
        if stream:
            return next(alone)
        return _stacked([np.concatenate(list(steps)) for steps in alone], self.pad_token_id)

    def _prompt(
        self,
        input_ids: np.ndarray | None,
        attention_mask: np.ndarray | None,
        pixel_values: np.ndarray | None,
        image_features: np.ndarray | None,
        inputs_embeds: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Embeddings as stored, mask, and the tokens that count for penalties (-1 at padding)."""
        given, mask = checked_prompt(input_ids, attention_mask, pixel_values, image_features, inputs_embeds)
        if input_ids is None:
            self._check_hidden("inputs_embeds", given)
            return to_storage(given, self._decoder.kind), mask, np.full((len(given), 0), -1)
        vocab_size = self._decoder.vocab_size
        if not np.issubdtype(given.dtype, np.integer) or given.min() < 0 or given.max() >= vocab_size:
            raise ValueError(
                f"input_ids: give whole numbers from 0 to {vocab_size - 1}, not {given.min()} to {given.max()}"
            )
        token_ids = given.astype(np.int64, copy=False)
        embeds = self._decoder.embed(token_ids)
        if pixel_values is not None:
            image_features = self._features(pixel_values)
        places = token_ids == self.image_token_id
        features = np.zeros((0, 1)) if image_features is None else np.asarray(image_features)
        features = features.reshape(-1, features.shape[-1])
        if places.sum() != len(features):
            tokens, images = int(places.sum()), len(features) // self.num_image_tokens
            per_image = f" ({self.num_image_tokens} tokens an image)"
            raise ValueError(image_mismatch(self.processor.image_token, tokens, images, per_image))
        if len(features):
            self._check_hidden("image_features", features)
            embeds[places] = to_storage(to_float32(features), self._decoder.kind)
        return embeds, mask, np.where(mask == 1, token_ids, -1)

    def _check_hidden(self, name: str, vectors: np.ndarray) -> None:
        if vectors.shape[-1] != self._decoder.hidden_size:
            raise ValueError(f"{name} has shape {vectors.shape}: its last axis has to be {self._decoder.hidden_size}")

    def _room(self, mask: np.ndarray, max_new_tokens: int) -> int:
        check_whole_number("max_new_tokens", max_new_tokens)
        # The last token of an answer is not read.
        left = self.max_length - mask.shape[1] + 1
        if left < 1:
            check_context(mask.shape[1], self.position_limit)
            limit = f"the model reads {self.position_limit} at most"
            of_model = f" ({limit})" if self.position_limit < sys.maxsize else ""
            raise ValueError(
                f"a prompt of {mask.shape[1]} tokens: max_length={self.max_length} allows no more{of_model}"
            )
        return min(max_new_tokens, left)

    def score(self, images: Sequence, questions: Sequence, **options: Any) -> Scores:
        """How probable each option of each closed question is, in one run for all questions about a face.

            model.score(["face.jpg"], [ClosedQuestion("Does this person smile?", ("yes", "no"))])

        Args:
            images: for each face one image, `None` (text only) or a list of images.
            questions: `modeling_facemllm.closed_questions_facemllm.ClosedQuestion`s, one list for all faces or a list
                for each.
            options: as of [`OptionScorer.option_log_likelihoods`].

        Returns:
            For each face and each of its questions, the options' probabilities; they sum to 1.

        Raises:
            ValueError: when the folder has no scoring graph, or the arguments do not fit together.
            NoNumbersError: a ValueError, when the graph gives NaN or infinite numbers.
        """
        scores = self.scorer.option_log_likelihoods(images, questions, **options)
        if not are_finite(scores):
            raise self.no_numbers()
        return probabilities(scores)

    @cached_property
    def scorer(self) -> OptionScorer:
        """The scoring graph, loaded when first needed: it holds all weights a second time.

        Raises:
            ValueError: when the folder has none.
        """
        path = self.folder / GRAPH_FOLDER / "scoring.onnx"
        if not path.is_file():
            why = f": {self.record['no_scoring']}" if self.record.get("no_scoring") else ""
            raise ValueError(f"{self.folder}: has no graph to score with{why}; let the model write its answers")
        sessions, _ = open_sessions({"scoring": path}, self.provider, self.threads)
        check_graph(sessions["scoring"], path, self.record)
        return OptionScorer(
            sessions["scoring"],
            self.processor,
            self.image_token_id,
            self.num_image_tokens,
            self._decoder.vocab_size,
            self.position_limit,
            self.end_token_ids,
        )

    def no_numbers(self) -> NoNumbersError:
        """What to raise where the graphs' numbers are NaN or infinite; their weights are read for it."""
        graphs = sorted((self.folder / GRAPH_FOLDER).glob("*.onnx"))
        return NoNumbersError(str(self.folder), self.record["precision"], broken_weight(graphs))

    def encode_images(self, images: Any) -> np.ndarray:
        """What the language model sees of images: float32 `(images, image tokens, hidden)`.

        Args:
            images: one image or several; see `load_image` for what may be an image.
        """
        return to_float32(self._features(self.processor.image_processor(images)["pixel_values"]))

    def _features(self, pixel_values: np.ndarray) -> np.ndarray:
        """Image features as stored, `(images, image tokens, hidden)`, of float32 `(images, 3, height, width)`."""
        session = self.sessions["vision_encoder"]
        wanted = session.get_inputs()[0]
        if np.ndim(pixel_values) != 4 or list(np.shape(pixel_values)[1:]) != wanted.shape[1:]:
            raise ValueError(
                f"pixel_values has shape {np.shape(pixel_values)}: give (images, {str(wanted.shape[1:])[1:-1]})"
            )
        pixels = to_storage(pixel_values, STORAGE[wanted.type])
        shape = len(pixels), self.num_image_tokens, self._decoder.hidden_size
        return run_on_host(session, pixels, shape)

    def embed(self, input_ids: np.ndarray) -> np.ndarray:
        """Embeddings of tokens: float32 `(batch, length, hidden)` from int64 `(batch, length)`."""
        return to_float32(self._decoder.embed(np.asarray(input_ids, dtype=np.int64)))


def _stacked(rows: Sequence[np.ndarray], pad_token_id: int) -> np.ndarray:
    """Answers of different lengths, padded at their ends."""
    stacked = np.full((len(rows), max(map(len, rows))), pad_token_id, dtype=np.int64)
    for index, row in enumerate(rows):
        stacked[index, : len(row)] = row
    return stacked
