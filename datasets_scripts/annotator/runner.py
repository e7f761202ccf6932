"""A task of the annotation: every question about the faces of one part, each answer on the disk before the next step.

The answers of a part are in its journal, `journal/00000.jsonl`, until the file with all of them has its name. A run
that goes on reads the part again, and asks what is not in the journal.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep
from loguru import logger

from datasets_scripts.files import Journal
from datasets_scripts.schema import CorpusError, Skipped

from .answers import PartWriter, part_path, was_answered
from .endpoint import Endpoint, NoAnswer
from .parsing import payload, read_answer
from .settings import REFUSED, Annotator, FaceSource, FaceToAsk, InvalidAnswer, Request, share_of

KEPT_CHARACTERS = 2000  # of an invalid answer, to see what was wrong with it


class AskAnnotator(PipelineStep):
    """Asks about the faces of the part that is a task's, and writes the part's answers in the source's order."""

    name = "Annotator"
    type = "Model call"
    _requires_dependencies = ["openai"]

    def __init__(
        self, source: FaceSource, annotator: Annotator, check: Callable, out: str, concurrency: int, limit: int | None
    ):
        super().__init__()
        self.source, self.annotator, self.check = source, annotator, check
        self.out, self.concurrency, self.limit = out, concurrency, limit

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Raises what ended the run: `CorpusError`, `OSError`, or what the source or `check` raised."""
        path = Path(self.out) / "journal" / f"{rank:05d}.jsonl"
        if part_path(self.out, rank).exists():  # answered in a run that ended before the task was marked as complete
            path.unlink(missing_ok=True)
            return
        faces = enumerate(read_faces(self.source, rank, share_of(self.limit, rank, world_size)))
        with Journal(path) as journal:
            with ThreadPoolExecutor(1) as reader, PartWriter(self.out, rank) as writer:
                try:
                    asyncio.run(self._ask(faces, reader, AnswerJournal(journal), writer))
                except BaseExceptionGroup as group:
                    raise group.exceptions[0] from None
            journal.remove()

    async def _ask(
        self, faces: Iterator, reader: ThreadPoolExecutor, journal: "AnswerJournal", writer: PartWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: logger.debug(context["message"]))  # it would print the others'
        async with Endpoint(self.annotator, self.concurrency, was_answered(self.out), writer.report) as endpoint:
            writer.trouble = lambda: endpoint.trouble
            ask = AskFace(self.annotator, self.check, endpoint, journal, self.concurrency)

            async def ask_in_turn() -> None:
                try:
                    while numbered := await loop.run_in_executor(reader, next, faces, None):
                        position, face = numbered
                        writer.write(position, await ask(face))
                except Exception as error:
                    endpoint.end(error)  # an answer to what is asked from now on would be lost
                    raise

            async with asyncio.TaskGroup() as group:
                for _ in range(2 * self.concurrency):  # the faces next in line are read while others are asked about
                    group.create_task(ask_in_turn())


def read_faces(source: FaceSource, part: int, limit: int | None) -> Iterator[FaceToAsk | Skipped]:
    """The rows of a part, up to the face that is the last of `limit`.

    A second face with the same id is skipped: their answers could not be kept apart.
    """
    seen: set[str] = set()
    if limit == 0:
        return
    for face in source.faces(part):
        if face.id in seen:
            face = Skipped(face.id, "id of an earlier face")
        seen.add(face.id)
        yield face
        if limit is not None and isinstance(face, FaceToAsk):
            limit -= 1
            if not limit:
                return


class AskFace:
    """Asks one face's questions in turn, each until its answer is valid; a failure stays this face's."""

    def __init__(
        self,
        annotator: Annotator,
        check: Callable[[str, Any], Any],
        endpoint: Endpoint,
        journal: "AnswerJournal",
        concurrency: int,
    ):
        self.annotator, self.check, self.endpoint, self.journal = annotator, check, endpoint, journal
        self.in_flight = asyncio.Semaphore(concurrency)

    async def __call__(self, face: FaceToAsk | Skipped) -> dict[str, Any]:
        """The row of this face, as `PartWriter` takes it."""
        if isinstance(face, Skipped):
            return {"id": face.id, "skipped": face.reason}
        row: dict[str, Any] = {"id": face.id, "facts": face.facts, "answers": {}, "rejected": {}, "invalid": []}
        row["usage"] = {"requests": 0, "input_tokens": 0, "output_tokens": 0}
        for request in face.requests:
            for attempt in range(1, self.annotator.attempts + 1):
                text = ""
                try:
                    answer = await self._answer(face, request, attempt)
                    row["usage"]["requests"] += 1
                    row["usage"]["input_tokens"] += answer["usage"].get("prompt_tokens", 0)
                    row["usage"]["output_tokens"] += answer["usage"].get("completion_tokens", 0)
                    text = answer["text"]
                    value = read_answer(request, text, answer["finish_reason"])
                    self.check(request.name, value)
                except (InvalidAnswer, NoAnswer) as error:
                    row["rejected"][request.name] = error.reason
                    fault = {"request": request.name, "attempt": attempt, "reason": error.reason}
                    row["invalid"].append({**fault, "text": text[:KEPT_CHARACTERS]})
                    if isinstance(error, NoAnswer) or answer["finish_reason"] == REFUSED:
                        break
                else:
                    row["answers"][request.name] = value
                    row["rejected"].pop(request.name, None)
                    break
        return row

    async def _answer(self, face: FaceToAsk, request: Request, attempt: int) -> dict[str, Any]:
        body = payload(self.annotator, request, attempt)
        key = _key(face, request, attempt, body)
        answer = self.journal.find(key)
        if answer is None:
            async with self.in_flight:  # until it is stored: a kill loses no more than `concurrency` answers
                answer = await self.endpoint.make_request(body)
                await self.journal.store(key, answer)
        return answer


class AnswerJournal:
    """The answers of a part by key; memory holds only where those of earlier runs are. No run asks for its own."""

    def __init__(self, journal: Journal):
        self._journal = journal
        try:
            self._places = {key: place for (key, _), place in journal.places()}
        except ValueError as error:
            raise CorpusError(f"{error}: remove this line, and the same command asks its question again") from error
        self._batch: list[Any] = []
        self._writing = asyncio.Lock()
        self._error: Exception | None = None

    def find(self, key: str) -> dict[str, Any] | None:
        """The answer of an earlier run."""
        return self._journal.read(self._places[key])[1] if key in self._places else None

    async def store(self, key: str, answer: dict[str, Any]) -> None:
        """Return when the answer is on the disk. Those that come while others are written are written together.

        Raises `OSError` for a full disk, from then on.
        """
        batch = self._batch
        batch.append((key, answer))
        async with self._writing:
            if batch is self._batch and self._error is None:  # or whoever came first has written it
                self._batch = []
                try:
                    await asyncio.to_thread(self._journal.append, *batch)
                except Exception as error:  # for all whose answers were in this batch
                    self._error = error
            if self._error is not None:
                raise self._error


def _key(face: FaceToAsk, request: Request, attempt: int, body: dict[str, Any]) -> str:
    """Of a question: its words and settings without the pictures, which another machine may encode otherwise."""
    turns = [{**turn, "content": _without_pictures(turn["content"])} for turn in body["messages"]]
    question = json.dumps([face.id, request.name, attempt, {**body, "messages": turns}], sort_keys=True)
    return sha256(question.encode()).hexdigest()[:32]


def _without_pictures(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [part if part["type"] == "text" else {"type": part["type"]} for part in content]
