"""The annotation as a datatrove pipeline: a part of the source, asked by datatrove's `InferenceRunner`.

datatrove queues, bounds, caches and scales out. Four of its pieces are replaced, each for a reason that shows on the
day of a kill or a full disk (datatrove 0.10.1):

- the server, see `endpoint`;
- the request cache's writing: it queues a result and logs what goes wrong, so that an answer could be used, and even
  marked as done, without being stored. Here the answer is committed first, and a full disk ends the run;
- the cache's key: it hashes the picture too, whose bytes another machine of a cluster may encode otherwise;
- chunk checkpoints: a finished chunk's file and its cached answers are removed before the note that it is finished,
  and what follows a half line is appended to it, so that a kill in between asks for a whole chunk again. A part of
  the source is the chunk here. Its answers are in the cache until the file with all of them stands under its name; a
  run that goes on reads the part again, which datatrove's own checkpoints do too, and asks what is not in the cache.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.inference.checkpointing import RequestCache
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.inference.types import InferenceError, InferenceResult, ServerError
from loguru import logger

from datasets_scripts.schema import Skipped

from .answers import PartWriter, part_path, was_answered
from .endpoint import Endpoint, NoAnswer
from .parsing import payload, read_answer
from .settings import REFUSED, Annotator, FaceSource, FaceToAsk, InvalidAnswer, share_of

KEPT_CHARACTERS = 2000  # of an invalid answer, to see what was wrong with it


class ReadFaces(PipelineStep):
    """Reads the part of the source that is a task's: a document for each face, or for the reason for none."""

    name = "Faces of a part"
    type = "Reader"

    def __init__(self, source: FaceSource, limit: int | None, out: str):
        super().__init__()
        self.source, self.limit, self.out = source, limit, out

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """A second face with the same id is skipped: it could not be told from the first."""
        if part_path(self.out, rank).exists():
            return
        left = share_of(self.limit, rank, world_size)
        seen: set[str] = set()
        if left == 0:
            return
        for position, face in enumerate(self.source.faces(rank)):
            if face.id in seen:
                face = Skipped(face.id, "id that stands there twice")
            seen.add(face.id)
            yield Document(text="", id=face.id, metadata={"face": face, "position": position})
            if left is not None and isinstance(face, FaceToAsk):
                left -= 1
                if not left:
                    return


class AskAnnotator(InferenceRunner):
    """Asks about every face it is given and writes the part's answers, journalling each before the next step."""

    name = "Annotator"
    _requires_dependencies = ["aiosqlite", "openai", "orjson", "xxhash"]

    def __init__(self, annotator: Annotator, check: Callable[[str, Any], Any], out: str, concurrency: int):
        config = InferenceConfig(
            server_type="endpoint",
            endpoint_url=annotator.endpoint,
            model_name_or_path=annotator.model,
            max_concurrent_generations=concurrency,
            max_concurrent_documents=2 * concurrency,  # the faces next in line are read while others are asked about
        )
        super().__init__(AskFace(annotator, check), config, output_writer=None)
        self.annotator, self.out, self.concurrency = annotator, out, concurrency
        self.request_cache = Journal(str(Path(out) / "journal"))

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> None:
        """Raises what ended the run: `CorpusError`, `OSError`, or what the source or `check` raised."""
        if part_path(self.out, rank).exists():  # answered in a run that ended before the task was marked as complete
            self.request_cache.remove(rank)
            return
        self.output_writer = PartWriter(self.out, rank)
        try:
            super().run(data, rank, world_size)
        except (InferenceError, ServerError) as error:
            raise error.error if isinstance(error.error, Exception) else error from None
        self.request_cache.remove(rank)

    async def run_async(self, data_gen: Iterable[Document], rank: int = 0) -> None:
        """As datatrove's, which awaits the first failed request only; asyncio would print what the others met."""
        asyncio.get_running_loop().set_exception_handler(lambda _, told: logger.debug(told["message"]))
        await super().run_async(data_gen, rank)

    def _init_server(self, rank: int) -> Endpoint:
        self._endpoint, self._in_flight = (
            Endpoint(self.annotator, self.concurrency, was_answered(self.out), self.output_writer.tell),
            asyncio.Semaphore(self.concurrency),
        )
        self.output_writer.trouble = lambda: self._endpoint.trouble
        return self._endpoint

    async def _cached_request(self, *args: Any, **kwargs: Any) -> InferenceResult:
        async with self._in_flight:  # datatrove's own bound lets the next request go before this answer is stored
            try:
                return await super()._cached_request(*args, **kwargs)
            except OSError as error:  # a full disk: what is asked from now on would be lost
                self._endpoint.end(error)
                raise

    @staticmethod
    def _is_bad_request_error(error: str | Exception) -> bool:
        return False  # Endpoint has told apart what is this face's fault

    async def metrics_reporter(self, interval: int = 600) -> None:
        """Nothing: the part's counts say how far it is."""

    async def _save_document(self, document: Document, output_writer_context: PartWriter, *_: Any, **__: Any) -> None:
        # datatrove's own warns of what it could not save and goes on; and the pictures are not to be saved
        output_writer_context.write(document.metadata["position"], document.metadata[self.metadata_key][0])


class AskFace:
    """Asks one face's questions in turn, each until its answer is valid; a failure stays this face's."""

    def __init__(self, annotator: Annotator, check: Callable[[str, Any], Any]):
        self.annotator, self.check = annotator, check

    async def __call__(self, document: Document, generate: Callable) -> dict[str, Any]:
        """The row of this face, as `PartWriter` takes it."""
        face = document.metadata["face"]
        if isinstance(face, Skipped):
            return {"id": face.id, "skipped": face.reason}
        row: dict[str, Any] = {"id": face.id, "facts": face.facts, "answers": {}, "rejected": {}, "invalid": []}
        row["usage"] = {"requests": 0, "input_tokens": 0, "output_tokens": 0}
        for request in face.requests:
            for attempt in range(1, self.annotator.attempts + 1):
                text = ""
                try:
                    answer = await generate(payload(self.annotator, request, attempt))
                    row["usage"]["requests"] += 1
                    row["usage"]["input_tokens"] += answer.usage.get("prompt_tokens", 0)
                    row["usage"]["output_tokens"] += answer.usage.get("completion_tokens", 0)
                    text = answer.text
                    value = read_answer(request, text, answer.finish_reason)
                    self.check(request.name, value)
                except (InvalidAnswer, NoAnswer) as error:
                    row["rejected"][request.name] = error.reason
                    fault = {"request": request.name, "attempt": attempt, "reason": error.reason}
                    row["invalid"].append({**fault, "text": text[:KEPT_CHARACTERS]})
                    if isinstance(error, NoAnswer) or answer.finish_reason == REFUSED:
                        break
                else:
                    row["answers"][request.name] = value
                    row["rejected"].pop(request.name, None)
                    break
        return row


class Journal(RequestCache):
    """datatrove's request cache, in which a result is committed before it is used; one SQLite file for each part.

    Awaiting requests commit together, so the disk bounds no more than the latency. The file needs a file system with
    locks, as SQLite does.
    """

    async def initialize(self, rank: int) -> None:
        """Open the part's journal, or begin it."""
        try:
            await super().initialize(rank)
        except sqlite3.Error as error:
            raise OSError(f"the journal {self.db_path} cannot be opened: {error}") from error

    def prepare_payload(self, payload: dict[str, Any]) -> str:
        """The key of a question: its words and settings, without the pictures, which the face's id stands for."""
        messages = [{**turn, "content": _without_pictures(turn["content"])} for turn in payload["messages"]]
        return super().prepare_payload({**payload, "messages": messages})

    async def store_result(
        self, chunk_index: int, doc_id: str, rollout_idx: int, result: dict[str, Any], *, payload_hash: str
    ) -> None:
        """Returns when the result is on the disk."""
        import orjson

        row = (chunk_index, doc_id, rollout_idx, payload_hash, orjson.dumps(result))
        try:
            await self._conn.execute("INSERT OR REPLACE INTO request_cache VALUES (?, ?, ?, ?, ?, NULL)", row)
            await self._conn.commit()
        except sqlite3.Error as error:
            raise OSError(f"the journal {self.db_path} cannot be written: {error}") from error

    async def close(self, delete_file: bool = False) -> None:
        """Close the journal. It is removed apart from that, when nothing can fail any more."""
        await super().close(delete_file=False)

    def remove(self, rank: int) -> None:
        """Remove the journal of a part whose answers stand under their name."""
        folder = Path(self.base_dir) / f"{rank:05d}"
        for path in folder.glob("replay.sqlite3*"):
            path.unlink()
        if folder.exists():
            folder.rmdir()


def _without_pictures(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [part if part["type"] == "text" else {"type": part["type"]} for part in content]
