"""The text tower: a Qwen3 of about a million parameters that reads a face in words and answers questions about it.

It is trained from scratch on text only. What makes that possible at this size is the curriculum: from a few short
clauses to whole captions. With captions from the start the model never learns to look anything up (docs/log.md).
"""

import hashlib
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from tqdm import tqdm
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from datasets_scripts.questions.conversations import TASKS
from datasets_scripts.schema import AGE_GROUPS
from datasets_scripts.synthetic import text as synthetic_text
from datasets_scripts.synthetic.faces import ATTRIBUTES, sample_labels
from modeling_facemllm.versions_facemllm import make_tokenizer_portable

from .optimizers import ThresholdMissed, TowerOptimizer

Conversation = list[tuple[str, str]]
"""Questions with their answers; the first question holds the context."""

VOCABULARY = 1024  # tokens at most, the three marks of ChatML included
PAD, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
ROLES = ("system", "user", "assistant")  # they begin every turn: in letters they would be a quarter of all tokens

PHOTOGRAPHED = ("gender", "age", "race")
"""The tasks whose words the packaged tokenizer has learned: more of them would be another tokenizer, and towers."""

QUESTIONS = 8
TOKENS_PER_STEP = 2000
CHECK_EVERY = 25
COOL_DOWN = 200  # steps over which the rate falls at the end
DEFAULT_STEPS = 1500  # for the estimate on the progress bar only

SHARED = tuple(
    attribute.name
    for attribute in ATTRIBUTES
    if any(set(attribute.values) & set(other.values) for other in ATTRIBUTES if other is not attribute)
)
"""Attributes whose values others have too ("yes", "left"): which one is meant must be looked up, not guessed."""

SEVERAL = tuple(attribute.name for attribute in ATTRIBUTES if len(attribute.values) > 2)
"""Attributes that yes/no questions ask about value by value ("Is the hair red?"): the answer takes a comparison."""


@dataclass(frozen=True)
class Lesson:
    """One step of a curriculum: contexts of one level with so many attributes, until `accuracy` is reached."""

    level: str
    attributes: tuple[int, int]
    accuracy: float
    basic: float = 1 / 3  # share of yes/no and either/or questions
    names: tuple[str, ...] = synthetic_text.NAMES  # attributes that may be mentioned
    captions: float = 0.0  # share of conversations that ask for a caption of the context instead


CURRICULUM = (
    Lesson("tags", (1, 3), 0.92, basic=0.0),
    Lesson("tags", (3, 6), 0.95, basic=0.0, names=SHARED),
    Lesson("tags", (1, 3), 0.85, basic=1.0, names=SEVERAL),
    Lesson("tags", (6, 17), 0.92, basic=0.5, captions=0.1),
    Lesson("clauses", (8, 17), 0.92, basic=0.5, captions=0.1),
    Lesson("caption", (12, 17), 0.97, captions=0.2),
)
REQUIRED_ACCURACY = 0.97  # on whole captions, at the end, over more faces


def conversation(lesson: Lesson, index: int, seed: int, split: str) -> Conversation:
    """One text-only conversation about the face `index`: a context and several questions, or a caption."""
    rng = random.Random(f"{lesson.level}/{lesson.attributes}/{lesson.basic}/{seed}/{split}/{index}")
    labels = sample_labels(index, seed, split)
    known = [name for name in lesson.names if labels[name] is not None]
    names = tuple(rng.sample(known, min(rng.randint(*lesson.attributes), len(known))))
    if rng.random() < lesson.captions:
        level = rng.choice(("tags", "clauses"))
        turns = [(rng.choice(synthetic_text.CAPTION_REQUESTS), synthetic_text.caption(labels, rng, names))]
    else:
        level = lesson.level
        turns = synthetic_text.text_questions(labels, rng, QUESTIONS, names, lesson.basic)
    (question, answer), *others = turns
    return [(f"{synthetic_text.context(labels, level, rng, names)}\n{question}", answer), *others]


def examined(lesson: Lesson) -> Lesson:
    """The lesson as it is examined: without captions, of which many are right."""
    return replace(lesson, captions=0.0)


@dataclass(frozen=True)
class Subject:
    """What a text tower reads and is asked about.

    `conversation` makes one of a lesson, a number, a seed and a split; `examined` says of a lesson what is asked when
    its accuracy is measured, `exams` are those that are measured at the end.
    """

    lessons: tuple[Lesson, ...]
    conversation: Callable[[Lesson, int, int, str], Conversation]
    examined: Callable[[Lesson], Lesson]
    exams: tuple[Lesson, ...]

    def sentences(self, faces: int, seed: int) -> list[str]:
        """All that is said about the first faces, in every lesson: what the tokenizer is learned from."""
        return [
            text
            for lesson in self.lessons
            for face in range(faces)
            for turn in self.conversation(lesson, face, seed, "train")
            for text in turn
        ]

    def fingerprint(self, seed: int) -> str:
        """SHA-256 of the `sentences` about the first 100 faces: equal for equal training text."""
        return hashlib.sha256("\n".join(self.sentences(100, seed)).encode()).hexdigest()


DRAWN_FACES = Subject(
    CURRICULUM,
    conversation,
    examined,
    tuple(replace(CURRICULUM[-1], level=level) for level in synthetic_text.TEXT_LEVELS),
)


def encode(tokenizer: PreTrainedTokenizerFast, turns: Conversation) -> tuple[list[int], list[int]]:
    """Token ids of a conversation in ChatML and their labels: the answers with their end of turn, -100 elsewhere."""
    pieces = []
    for number, (question, answer) in enumerate(turns):
        start = "\n" if number else ""
        pieces.append(f"{start}{TURN_START}user\n{question}{TURN_END}\n{TURN_START}assistant\n")
        pieces.append(f"{answer}{TURN_END}")
    ids, labels = [], []
    for number, piece in enumerate(tokenizer(pieces, add_special_tokens=False)["input_ids"]):
        ids += piece
        labels += piece if number % 2 else [-100] * len(piece)
    return ids, labels


def collate(examples: list[tuple[list[int], list[int]]], pad_id: int) -> dict[str, torch.Tensor]:
    """Right-padded `input_ids`, `attention_mask` and `labels`, each int64 of shape (batch, length)."""
    length = max(len(ids) for ids, _ in examples)
    return {
        "input_ids": torch.tensor([ids + [pad_id] * (length - len(ids)) for ids, _ in examples]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in examples]),
        "labels": torch.tensor([labels + [-100] * (length - len(labels)) for _, labels in examples]),
    }


def new_text_tower(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """An untrained text tower whose first layer begins by looking one to four tokens back.

    Meaning sits in neighbours here ("no beard"), and a small model takes long to find that out: the biases of the
    first layer's queries and keys start as rotary positions that match at a fixed distance. Nothing is frozen.
    """
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        attention_bias=True,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    model = Qwen3ForCausalLM(config)
    attention, half = model.model.layers[0].self_attn, config.head_dim // 2
    query, key = torch.zeros(4, config.head_dim), torch.zeros(4, config.head_dim)
    for head in range(4):
        for frequency in range(3):  # the fast ones: only they tell neighbours apart
            angle = (head + 1) * 1000.0 ** (-frequency / half)
            key[head, frequency] = 2.0
            query[head, frequency], query[head, frequency + half] = 2 * math.cos(angle), -2 * math.sin(angle)
    with torch.no_grad():
        attention.q_proj.bias.copy_(query.flatten())
        attention.k_proj.bias.copy_(key.flatten())
        attention.q_norm.weight.fill_(2.0)
        attention.k_norm.weight.fill_(2.0)
    return model


def photograph_sentences() -> list[str]:
    """What is said about photographs (FairFace and the like), so that those corpora are spelled in whole words too."""
    sentences = [
        f"A photo of {who}, aged {age}." for who in ("a man", "a woman", "a boy", "a girl") for age in AGE_GROUPS
    ]
    for task in (TASKS[name] for name in PHOTOGRAPHED):
        sentences += [*task.questions, task.statement, *task.checks, *task.answers.values()]
        sentences += [wording for wordings in task.claims.values() for wording in wordings]
        sentences += [claim.text for claim in task.ranges]
    return sentences


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE from `texts` and `photograph_sentences`; it can encode any text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, TURN_START, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, *photograph_sentences() * 20, *ROLES * 100], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=TURN_END, pad_token=PAD)


class TextTraining:
    """The text tower in training, lesson by lesson: a new one, or that in `folder`, to go on or only to measure.

    `seed` is that of the weights and of the conversations, which are about `subject`.
    """

    def __init__(self, seed: int = 0, folder: Path | None = None, subject: Subject = DRAWN_FACES):
        torch.manual_seed(seed)
        self.seed, self.subject = seed, subject
        if folder is None:
            self.tokenizer = train_tokenizer(subject.sentences(1500, seed))
            self.model = new_text_tower(self.tokenizer)
        else:
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            self.model = Qwen3ForCausalLM.from_pretrained(folder)
        self.optimizer = TowerOptimizer((self.model,), learning_rate=2e-3)
        self.steps = 0
        self._faces = count()
        self._rng = random.Random(seed)

    def train(self, max_steps: int = 4000) -> None:
        """Go through the curriculum.

        Raises:
            ThresholdMissed: if a lesson has not reached its accuracy after `max_steps` steps in all.
        """
        bar = tqdm(total=DEFAULT_STEPS, desc="text tower", unit="step", mininterval=1)
        for number, lesson in enumerate(self.subject.lessons):
            accuracy = 0.0
            while accuracy < lesson.accuracy:
                if self.steps >= max_steps:
                    raise ThresholdMissed(
                        f"text tower: lesson {number + 1} of {len(self.subject.lessons)} is at {accuracy:.3f} after "
                        f"{max_steps} steps and needs {lesson.accuracy}: try another --seed"
                    )
                for _ in range(CHECK_EVERY):
                    self.step(number)
                    bar.update()
                accuracy = self.accuracy(lesson, faces=64)
                bar.set_postfix_str(f"lesson {number + 1}/{len(self.subject.lessons)}, accuracy {accuracy:.2f}")
        self.optimizer.cool_down(COOL_DOWN)
        while not self.optimizer.finished:
            self.step(len(self.subject.lessons) - 1)
            bar.update()
        bar.close()

    def step(self, number: int) -> float:
        """One step on lesson `number` and, for a quarter of the conversations, the lessons before it."""
        lessons, examples, longest = self.subject.lessons, [], 0
        while longest * len(examples) < TOKENS_PER_STEP:
            chosen = lessons[number if self._rng.random() < 0.75 else self._rng.randint(0, number)]
            turns = self.subject.conversation(chosen, next(self._faces), self.seed, "train")
            examples.append(encode(self.tokenizer, turns))
            longest = max(longest, len(examples[-1][0]))
        logits, targets = self._forward(collate(examples, self.tokenizer.pad_token_id))
        loss = functional.cross_entropy(logits, targets)
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        return loss.item()

    @torch.no_grad()
    def accuracy(self, lesson: Lesson, faces: int) -> float:
        """Share of answers about held-out faces that greedy decoding gets wholly right, the end of turn included."""
        lesson, right = self.subject.examined(lesson), []
        for start in range(0, faces, 32):
            numbers = range(start, min(start + 32, faces))
            turns = [self.subject.conversation(lesson, face, self.seed, "test") for face in numbers]
            batch = collate([encode(self.tokenizer, turn) for turn in turns], self.tokenizer.pad_token_id)
            logits, targets = self._forward(batch)
            ends = (targets == self.tokenizer.eos_token_id).long()
            answer = ends.cumsum(0) - ends  # which answer each token belongs to
            wrong = torch.zeros(int(ends.sum())).index_add(0, answer, (logits.argmax(-1) != targets).float())
            right.append(wrong == 0)
        return torch.cat(right).float().mean().item()

    def measure(self, faces: int = 300) -> dict[str, Any]:
        """What the tower has reached on held-out faces, and what it was trained on.

        Raises:
            ThresholdMissed: if answers of the last exam are right less often than `REQUIRED_ACCURACY`.
        """
        accuracy = {exam.level: self.accuracy(exam, faces) for exam in self.subject.exams}
        hardest = self.subject.exams[-1].level
        if accuracy[hardest] < REQUIRED_ACCURACY:
            raise ThresholdMissed(
                f"text tower: accuracy {accuracy[hardest]:.3f} on {hardest}, {REQUIRED_ACCURACY} is needed: try "
                "another --seed"
            )
        return {
            "parameters": self.model.num_parameters(),
            "vocabulary": len(self.tokenizer),
            "steps": self.steps,
            "fingerprint": self.subject.fingerprint(self.seed),
            "accuracy": {level: round(share, 3) for level, share in accuracy.items()},
        }

    def save(self, out: Path) -> None:
        """Write the model and its tokenizer into the folder `out`."""
        self.model.eval().save_pretrained(out)
        self.tokenizer.save_pretrained(out)
        make_tokenizer_portable(out)

    def _forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (answer tokens, vocabulary) and target ids (answer tokens) of a collated batch."""
        hidden = self.model.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
        targets = batch["labels"][:, 1:]
        scored = targets != -100
        return self.model.lm_head(hidden[:, :-1][scored]), targets[scored]
