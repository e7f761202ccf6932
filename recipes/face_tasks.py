"""What a model is asked in training, for its configuration: `config.face_tasks`, read off the conversations.

Labels would not do: a corpus may have labels that nobody asks about, and its conversations may come from the Hub.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from datasets_scripts.questions.claims import spoken_forms
from datasets_scripts.questions.closed_task import STATED_OPTIONS, Task
from datasets_scripts.questions.conversations import TASKS, Conventions, canonical_question
from datasets_scripts.questions.unanswerable import CANNOT_TELL
from datasets_scripts.synthetic.faces import ATTRIBUTES as DRAWN
from datasets_scripts.synthetic.text import WORDING, options
from datasets_scripts.synthetic.text import canonical_question as canonical_question_of_drawn

from .corpora import load_corpus
from .recipe import CorpusRecipe

LOOKED_AT = 2000  # conversations of a corpus, evenly spaced


def name_face_tasks(model: Any, corpora: Iterable[CorpusRecipe]) -> None:
    """Add to a Face-MLLM's `config.face_tasks` what these corpora ask about pictures; leave other models alone."""
    config = model.config
    if config.model_type != "facemllm":
        return
    asked: dict[str, dict[str, Any]] = {}
    for position, corpus in enumerate(corpora):
        rows = load_corpus(corpus, f"data.{position}").select_columns("messages")
        asked |= face_tasks_in(rows[:: max(1, len(rows) // LOOKED_AT)]["messages"])
    if asked:
        config.face_tasks = {**(config.face_tasks or {}), **asked}


def face_tasks_in(conversations: Iterable[Iterable[Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The closed questions that are asked about pictures, by task, as `config.face_tasks` has them.

    Counted are questions that state their options, numbers that are asked for, and those about drawn faces; the
    wording that is noted is the canonical one. A head's pose is noted as the tasks of its three angles.
    """
    from modeling_facemllm.face_tasks_facemllm import face_tasks

    found: dict[str, set[str]] = {}
    drawn = set()
    for text in {text for messages in conversations for text in _asked_about_a_picture(messages)}:
        if text in _drawn_questions():
            drawn.add(_drawn_questions()[text])
        for name, stated in _asked(text):
            found.setdefault(name, set()).update(stated)
    described = {}
    for name in (attribute.name for attribute in DRAWN if attribute.name in drawn):
        kind = "category" if name in ("expression", "age", "yaw", "roll") else "attribute"
        question = canonical_question_of_drawn(name)
        described[name] = {"question": question, "options": list(options(name)), "kind": kind}
    for name, task in face_tasks().items():
        if name not in found:
            continue
        question, answers = task.question, task.options
        extra = [value for value in getattr(TASKS[name], "extra", ()) if TASKS[name].answers[value] in found[name]]
        if extra:
            question, answers = canonical_question(name, Conventions(extra_values=tuple(extra)))
        row = {"question": question, "options": list(answers), "kind": task.kind}
        if task.ranges is not None and len(answers) == len(task.ranges):
            row["ranges"] = [list(both) for both in task.ranges]
        if task.on_request and (name != "age_years" or "age" in found):
            row["on_request"] = True
        described[name] = row
    return described


def _asked_about_a_picture(messages: Iterable[Mapping[str, Any]]) -> list[str]:
    """The user's texts of a conversation with a picture, without those whose answer is that the model cannot tell."""
    turns = [turn for turn in messages if not isinstance(turn["content"], str)]
    if not any(part["type"] == "image" for turn in turns for part in turn["content"]):
        return []
    answers = [*turns[1:], {"role": None, "content": ()}]
    return [
        part["text"]
        for turn, answer in zip(turns, answers, strict=True)
        if turn["role"] == "user" and not any(said.get("text") in CANNOT_TELL for said in answer["content"])
        for part in turn["content"]
        if part["type"] == "text"
    ]


def _asked(text: str) -> list[tuple[str, list[str]]]:
    """The tasks that a question is about, and the options that it states."""
    for pattern in _stated_patterns():
        match = pattern.fullmatch(text)
        name = match and _questions().get(match["question"])
        if name:
            return [(name, match["options"].split(", "))]
    return [(name, []) for start, names in _opened_by().items() if text.startswith(start) for name in names]


@cache
def _stated_patterns() -> tuple[re.Pattern, ...]:
    gaps = {"question": "(?P<question>.+)", "options": "(?P<options>.+)"}
    return tuple(
        re.compile(re.escape(wording).replace(r"\{", "{").replace(r"\}", "}").format(**gaps))
        for wording in STATED_OPTIONS
    )


@cache
def _questions() -> dict[str, str]:
    return {
        spoken: name
        for name, task in TASKS.items()
        if isinstance(task, Task)
        for question in task.all_questions
        for spoken in spoken_forms(question)
    }


@cache
def _opened_by() -> dict[str, tuple[str, ...]]:
    """How questions begin that ask for a number, or for several labels at once, and the tasks they are about."""
    opened = {}
    for name, task in TASKS.items():
        parts = tuple(getattr(task, "parts", ()))
        if parts:
            forms = (task.numbers_form, "Choose one word for each.")
        elif hasattr(task, "form") and not hasattr(task, "names"):
            forms, parts = (task.form,), (name,)
        else:
            continue
        opened |= {f"{question} {form}": parts for question in task.questions for form in forms}
    return opened


@cache
def _drawn_questions() -> dict[str, str]:
    """The questions that only drawn faces are asked: of those that photographs share, nothing says which they are."""
    return {
        question: name
        for name, wording in WORDING.items()
        for question in wording.questions
        if question not in _questions()
    }
