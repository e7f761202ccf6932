"""What a model for photographs does beyond accuracy: wordings, what it declines, captions, faces in larger pictures.

    python -m benchmarks.photo_model MODEL CORPUS YUNET.onnx [--faces 600]

CORPUS is one of `facemllm data fairface FAIRFACE --measure`; its split validation is asked about. Printed are

- how often wordings that no corpus trains on are answered as trained ones, and how often either gets an answer of the
  wrong kind ("20-29" to a question about the gender);
- how often it declines what it cannot answer, in wordings that were and were not trained, and what it can;
- which facts its captions state, and how often they are right (ages also within one group);
- accuracy on the pictures as they are and pasted into larger ones, where YuNet has to find them.
"""

import argparse
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from transformers import pipeline

from datasets_scripts.corpus.loading import load_rows
from datasets_scripts.questions import captions, held_out, unanswerable
from datasets_scripts.questions.closed_task import as_sentence
from datasets_scripts.questions.conversations import expected_answer
from datasets_scripts.questions.tasks import TASKS
from facemllm.inference.answering import answer_prompts
from facemllm.inference.loading import load_model

DECLINED = re.compile(r"\bcan't\b|\bcannot\b|\bnot able\b", re.IGNORECASE)
BATCH = 64
CANVAS = (640, 480)
SEED = 0


def main() -> None:
    """Print one table after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("corpus", metavar="CORPUS")
    parser.add_argument("weights", metavar="YUNET.onnx")
    parser.add_argument("--faces", type=int, default=600, help="of the split validation (default: 600)")
    args = parser.parse_args()
    rows = load_rows(args.corpus, "captions", "validation").shuffle(seed=SEED)
    faces = list(rows.take(min(args.faces, len(rows))))
    for face in faces:
        face["image"] = face["image"].convert("RGB")
    model, processor = load_model(args.model)
    tasks = [name for name in held_out.TASKS if name in (model.config.face_tasks or held_out.TASKS)]
    ask = Asker(model, processor)
    print_wordings(ask, faces, tasks)
    print_declined(ask, faces, tasks)
    print_captions(ask, faces)
    print_pasted(args.model, model, processor, faces, args.weights)


class Asker:
    """Greedy answers to many questions, each about one picture."""

    def __init__(self, model: Any, processor: Any):
        self.model, self.processor = model, processor

    def __call__(self, prompts: Sequence[tuple[str, Image.Image]], length: int = 24) -> list[str]:
        found = []
        for start in range(0, len(prompts), BATCH):
            batch = [(question, [image]) for question, image in prompts[start : start + BATCH]]
            found += answer_prompts(self.model, self.processor, batch, length)
        return found


def spoken_answers(task: str) -> dict[str, str]:
    """Every sentence that answers an open question about `task`, in lower case, and the answer that it gives."""
    row = TASKS[task]
    found = {}
    for value, answer in row.answers.items():
        for words in (answer, *row.claims.get(value, ())):
            for text in (words, as_sentence(words), row.statement.format(claim=words)):
                found[text.lower().rstrip(".")] = answer
    return found


def understood(task: str, text: str) -> str | None:
    """The answer that a text gives; None where it is of another kind."""
    return spoken_answers(task).get(text.lower().rstrip("."))


def print_wordings(ask: Asker, faces: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> None:
    """Agreement of held-out wordings with trained ones, and answers of the wrong kind, by task."""
    print("\n| task | faces | the same answer | wrong kind, trained | wrong kind, held out |\n|---|---|---|---|---|")
    sums: Counter[str] = Counter()
    for task in tasks:
        rng = random.Random(f"{SEED}/{task}")
        plain = [question for question in TASKS[task].all_questions if "{" not in question]
        pairs = [(rng.choice(plain), rng.choice(held_out.TASKS[task])) for _ in faces]
        trained = ask([(pair[0], face["image"]) for pair, face in zip(pairs, faces, strict=True)])
        others = ask([(pair[1], face["image"]) for pair, face in zip(pairs, faces, strict=True)])
        kinds = [[understood(task, text) for text in texts] for texts in (trained, others)]
        same = sum(left is not None and left == right for left, right in zip(*kinds, strict=True))
        wrong = [sum(answer is None for answer in answers) for answers in kinds]
        sums.update(same=same, trained=wrong[0], held_out=wrong[1], faces=len(faces))
        shares = " | ".join(f"{number / len(faces):.3f}" for number in (same, *wrong))
        print(f"| {task} | {len(faces)} | {shares} |", flush=True)
        odd = Counter(text for text, kind in zip([*trained, *others], [*kinds[0], *kinds[1]], strict=True) if not kind)
        if odd:
            print(f"<!-- {odd.most_common(4)} -->")
    shares = " | ".join(f"{sums[key] / sums['faces']:.4f}" for key in ("same", "trained", "held_out"))
    print(f"| all | {sums['faces']} | {shares} |", flush=True)


def print_declined(ask: Asker, faces: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> None:
    """How often questions are declined, of those that have no answer and of those that have."""
    rng = random.Random(SEED)
    topics = unanswerable.open_topics(tasks)
    trained = [question for name in topics for question in unanswerable.TOPICS[name].questions if "{" not in question]
    others = [question for name in topics for question in held_out.TOPICS.get(name, ())]
    answerable = [question for task in tasks for question in TASKS[task].all_questions if "{" not in question]
    print("\n| questions | asked | declined |\n|---|---|---|")
    for name, questions in (
        ("no answer, trained", trained),
        ("no answer, held out", others),
        ("answer", answerable),
    ):
        prompts = [(rng.choice(questions), face["image"]) for face in faces]
        answers = ask(prompts)
        declined = [bool(DECLINED.search(text)) for text in answers]
        print(f"| {name} | {len(faces)} | {np.mean(declined):.3f} |", flush=True)
        if name != "answer":
            odd = Counter(
                f"{question} {text}"
                for (question, _), text, no in zip(prompts, answers, declined, strict=True)
                if not no
            )
            print(f"<!-- {odd.most_common(6)} -->")


def caption_facts(text: str) -> dict[str, str]:
    """What a caption states, by task."""
    found: dict[str, str] = {}
    lower = text.lower()
    for gender, words in (("female", "woman|girl|female"), ("male", "man|boy|male")):
        if re.search(rf"\b({words})\b", lower):
            found["gender"] = gender
    for group, phrases in _age_phrases().items():
        if any(phrase in lower for phrase in phrases):
            found["age"] = TASKS["age"].answers[group]
    for task, start in (("yaw", "turned "),):
        for answer in sorted(TASKS[task].answers.values(), key=len, reverse=True):
            if start + answer in lower:
                found.setdefault(task, answer)
    for side in ("left", "right"):
        if f"tilted to the {side}" in lower:
            found["roll"] = TASKS["roll"].answers[side]
    for task, said in captions.PICTURE.items():
        for value, words in said.items():
            if re.search(rf"\b{words}\b", lower):
                found[task] = TASKS[task].answers[value]
    for value, phrases in captions.LIT.items():
        if any(phrase.lower().rstrip(".") in lower for phrase in phrases):
            found["light_direction"] = TASKS["light_direction"].answers[value]
    return found


def _age_phrases() -> dict[str, list[str]]:
    phrases: dict[str, list[str]] = defaultdict(list)
    for group, words in captions.AGED.items():
        phrases[group] = [word.format(their=their) for word in words for their in captions.THEIR.values()]
    for group in ("0-2", "3-9", "10-19"):
        phrases[group] = [
            word.removeprefix("a ").removeprefix("an ") for by in captions.PEOPLE[group].values() for word in by
        ]
    return phrases


def print_captions(ask: Asker, faces: Sequence[Mapping[str, Any]]) -> None:
    """Which facts captions state, and how often they are right."""
    rng = random.Random(SEED)
    texts = ask([(rng.choice(captions.REQUESTS), face["image"]) for face in faces], 64)
    stated, right, near = Counter(), Counter(), Counter()
    for face, text in zip(faces, texts, strict=True):
        for task, said in caption_facts(text).items():
            stated[task] += 1
            label = expected_answer(task, face["labels"])
            if label is None:
                continue
            near[task, "known"] += 1
            right[task] += said == label
            if task == "age":
                order = list(TASKS["age"].answers.values())
                near["age", "near"] += abs(order.index(said) - order.index(label)) <= 1
    print("\n| fact | captions that state it | right | right within one group |\n|---|---|---|---|")
    for task, number in stated.most_common():
        known = max(1, near[task, "known"])
        close = f"{near['age', 'near'] / known:.3f}" if task == "age" else ""
        print(f"| {task} | {number / len(faces):.3f} | {right[task] / known:.3f} | {close} |", flush=True)
    print(f"<!-- {texts[:8]} -->")


def pasted(faces: Sequence[Mapping[str, Any]]) -> Iterator[Image.Image]:
    """Each picture somewhere in a larger one of another colour and of coarse noise."""
    rng = np.random.default_rng(SEED)
    for face in faces:
        noise = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        canvas = Image.fromarray(noise).resize(CANVAS, Image.Resampling.BICUBIC)
        picture = face["image"].resize((224, 224))
        place = rng.integers(0, (CANVAS[0] - 224, CANVAS[1] - 224))
        canvas.paste(picture, tuple(int(at) for at in place))
        yield canvas


def print_pasted(name: str, model: Any, processor: Any, faces: Sequence[Mapping[str, Any]], weights: str) -> None:
    """Accuracy without a detector, and with YuNet on pictures that hold the face somewhere."""
    analyze = pipeline("face-analysis", model=model, processor=processor)
    whole = analyze([face["image"] for face in faces], tasks=["gender", "age"], detector="none", batch_size=16)
    print("\n| pictures | found | gender | age | within one group |\n|---|---|---|---|---|")
    print(f"| as they are | {_accuracies(whole, faces)} |", flush=True)
    for margin in (None, -0.1, 0.0, 0.1):
        given = {} if margin is None else {"margin": margin}
        try:
            found = analyze(list(pasted(faces)), tasks=["gender", "age"], detector=weights, batch_size=16, **given)
        except ValueError as error:
            print(f"| pasted, margin {margin} | {error} |")
            continue
        print(
            f"| pasted, margin {'of the model' if margin is None else margin} | {_accuracies(found, faces)} |",
            flush=True,
        )


def _accuracies(results: Sequence[Sequence[Mapping[str, Any]]], faces: Sequence[Mapping[str, Any]]) -> str:
    order = list(TASKS["age"].answers.values())
    right = []
    for found, face in zip(results, faces, strict=True):
        if not found:
            continue
        said = max(found, key=lambda one: (one["box"][2] - one["box"][0]) * (one["box"][3] - one["box"][1]))
        said = {task: said["tasks"][task]["label"] for task in ("gender", "age")}
        label = {task: expected_answer(task, face["labels"]) for task in said}
        distance = abs(order.index(said["age"]) - order.index(label["age"]))
        right.append((said["gender"] == label["gender"], distance == 0, distance <= 1))
    return f"{len(right)} of {len(faces)} | " + " | ".join(f"{share:.3f}" for share in np.mean(right, axis=0))


if __name__ == "__main__":
    main()
