"""A model on FaceXBench: its questions asked in one of the two published settings, answers written down as they come.

Zero-shot is the setting of the published tables; ``in-context`` puts the task's description before the question.
"""

from collections.abc import Sequence
from typing import Any

from facemllm.evaluation.answerers import Answer, Answerer, AskedFace, AskedQuestion
from facemllm.evaluation.facexbench_answers import safe
from facemllm.evaluation.facexbench_reader import LETTERS, FaceXBench, Question, Setting
from facemllm.evaluation.predictions import Prediction, PredictionLog, TaskSpec, Way

MAX_NEW_TOKENS = 128
"""Room for a sentence or two before the letter; the prompt asks for the letter alone."""
QUESTIONS_AT_ONCE = 32

PROTOCOL = (
    "The prompt is the pictures, then the words in the published order: the tools' description where there is one, in "
    "the in-context setting the task's description, the question, the request for a letter, the options (A) to (D). "
    f"Scoring compares the likelihood of the four letters as the whole answer. Generation is greedy, {MAX_NEW_TOKENS} "
    "tokens at most, read strictly (as published) and safely."
)


def task_specs(bench: FaceXBench) -> list[TaskSpec]:
    """A task for each sub-category asked, with the four letters as its options."""
    names = dict.fromkeys(question.file.sub_category for question in bench.questions)
    return [TaskSpec(name, "options", LETTERS) for name in names]


def ask_facexbench(
    bench: FaceXBench, answerer: Answerer, log: PredictionLog, ways: Sequence[Way], setting: Setting
) -> dict[str, str]:
    """Ask every question that ``log`` does not hold, in each of ``ways``; pictures are opened as they are needed.

    Returns:
        Id of each question that could not be asked, to what is wrong with its pictures.
    """
    from tqdm import tqdm

    unreadable: dict[str, str] = {}
    for way in ways:
        left = [question for question in bench.questions if (question.id, question.file.sub_category, way) not in log]
        done = len(bench.questions) - len(left)
        with tqdm(total=len(bench.questions), initial=done, desc=f"FaceXBench, {way}", unit="question") as bar:
            for start in range(0, len(left), QUESTIONS_AT_ONCE):
                questions = left[start : start + QUESTIONS_AT_ONCE]
                log.append(_answered(bench, answerer, questions, way, setting, unreadable))
                bar.update(len(questions))
    return unreadable


def _answered(
    bench: FaceXBench,
    answerer: Answerer,
    questions: Sequence[Question],
    way: Way,
    setting: Setting,
    unreadable: dict[str, str],
) -> list[Prediction]:
    faces: dict[str, AskedFace] = {}
    for question in questions:
        try:
            images = bench.load_images(question)
        except ValueError as error:
            unreadable[question.id] = str(error)
            continue
        asked = AskedQuestion(question.file.sub_category, question.prompt(setting), LETTERS, MAX_NEW_TOKENS)
        faces[question.id] = AskedFace(question.id, images, (asked,))
    asked_questions = [question for question in questions if question.id in faces]
    answers = answerer.answer(list(faces.values()), way)
    return [_prediction(question, way, answer) for question, (answer,) in zip(asked_questions, answers, strict=True)]


def _prediction(question: Question, way: Way, answer: Answer) -> Prediction:
    if answer.probabilities is not None:
        predicted = max(LETTERS, key=answer.probabilities.__getitem__)
    else:
        predicted = safe(answer.text or "", question.options)
    file = question.file
    extra: dict[str, Any] = {"category": file.category, "dataset": file.dataset, "images": file.images}
    return Prediction(
        id=question.id,
        task=file.sub_category,
        way=way,
        expected=question.expected,
        predicted=predicted,
        probabilities=answer.probabilities,
        text=answer.text,
        extra=extra | {"options": list(question.options)},
    )
