"""Prompts that show worked examples before the question."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markscheme.benchmarks.tasks import load_problems, task_problems
from markscheme.benchmarks.tasks.datasets import HUB_DATASETS
from markscheme.benchmarks.tasks.generated import SOURCE
from markscheme.files import InputError
from markscheme.generation import seed_of
from markscheme.problems import Problem, question_hash

SHOTS_SEED = 0
"""Draws the exemplars. It never changes: another seed would be another protocol under the same name."""
TRAIN_PARTS = {"math500": "math"}
"""MATH-500 is a part of MATH's test split, so its exemplars come from MATH's train split."""
QUESTION_FORM = "Question: {question}\nAnswer:"


def no_text(question: str) -> str:
    return ""


def question_and_answer(question: str) -> str:
    return QUESTION_FORM.format(question=question)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemplar:
    """A worked example that a prompt shows."""

    id: str
    question: str
    prompt: str
    """The question as it is put to the model."""
    solution: str

    def to_dict(self) -> dict[str, str]:
        """What a record says: records are published, and the text may be somebody else's."""
        text = json.dumps([self.prompt, self.solution])
        return {"id": self.id, "sha256": hashlib.sha256(text.encode()).hexdigest()}


@dataclass(frozen=True, slots=True, kw_only=True)
class FewShotForm:
    """Exemplars before the question, the same ones for every question.

    An exemplar whose question is the very one that is asked is left out, and the first to spare is shown in its place.
    That depends on the question alone, so that sharding or resuming an evaluation changes no prompt.
    """

    source: str
    """Where the exemplars come from."""
    exemplars: tuple[Exemplar, ...]
    """Those to spare stand last."""
    num_shots: int
    question_text: Callable[[str], str] = question_and_answer
    """A question as it is put to the model."""
    description: Callable[[str], str] = no_text
    """What stands before it all."""
    after_question: str = " "
    after_exemplar: str = "\n\n"
    chat: bool = False
    """Whether a model with a chat template gets exemplars as turns of a chat; else all is one text without it."""

    def render(self, question: str, tokenizer: Any) -> str:
        """The prompt text."""
        asked = question_hash(question)
        shown = [one for one in self.exemplars if question_hash(one.question) != asked][: self.num_shots]
        description, prompt = self.description(question), self.question_text(question)
        if not self.through_template(tokenizer):
            shots = [f"{one.prompt}{self.after_question}{one.solution}{self.after_exemplar}" for one in shown]
            return f"{description}{''.join(shots)}{prompt}"
        messages = [{"role": "system", "content": description}] if description else []
        for one in shown:
            messages += [{"role": "user", "content": one.prompt}, {"role": "assistant", "content": one.solution}]
        messages.append({"role": "user", "content": prompt})
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def through_template(self, tokenizer: Any) -> bool:
        """Whether the prompt comes out of the tokenizer's chat template, which writes special tokens itself."""
        return self.chat and tokenizer.chat_template is not None

    def to_dict(self) -> dict[str, Any]:
        """The settings, exemplars by their hash. The words around a question are in the protocol's hash only."""
        return {
            "source": self.source,
            "num_shots": self.num_shots,
            "exemplars": [one.to_dict() for one in self.exemplars],
            "after_question": self.after_question,
            "after_exemplar": self.after_exemplar,
            "chat": self.chat,
        }


def train_split_form(
    task: str, num_shots: int, *, data: Path | None, difficulty: int, problem_seed: int, chat: bool
) -> FewShotForm:
    """The few-shot form with exemplars of the task's train split, those that a hash of their ids puts first.

    Raises:
        InputError: if the task has no train split, or too few problems or one without a solution would be shown.
    """
    part = TRAIN_PARTS.get(task, task)
    if part != SOURCE and "train" not in (HUB_DATASETS[part].splits if part in HUB_DATASETS else ()):
        raise InputError(
            f"{task} has no train split to take exemplars from: give --exemplars, a file of problems with solutions"
        )
    if data is not None and not data.is_dir():
        raise InputError(f"{data} is one file, and exemplars come from the train split: give the folder of both splits")
    problems = task_problems(part, "train", data=data, difficulty=difficulty, seed=problem_seed)
    problems.sort(key=lambda problem: (seed_of(SHOTS_SEED, "exemplar", problem.id), problem.id))
    return _form(problems, num_shots, f"{part}/train", chat)


def file_form(path: Path, num_shots: int, *, chat: bool) -> FewShotForm:
    """The few-shot form with the first problems of a file, in the order of whoever wrote it.

    Raises:
        InputError: if the file cannot be read, has too few problems, or one without a solution would be shown.
    """
    return _form(load_problems(path), num_shots, path.name, chat)


def _form(problems: list[Problem], num_shots: int, source: str, chat: bool) -> FewShotForm:
    distinct: dict[str, Problem] = {}
    for problem in problems:
        distinct.setdefault(question_hash(problem.question), problem)
    chosen = list(distinct.values())[: num_shots + 1]  # one to spare, for a question that is an exemplar itself
    if len(chosen) < num_shots:
        raise InputError(f"{source} has {len(chosen)} different questions, too few for few-shot:{num_shots}")
    return FewShotForm(source=source, exemplars=tuple(map(_exemplar, chosen)), num_shots=num_shots, chat=chat)


def _exemplar(problem: Problem) -> Exemplar:
    if problem.solution is None:
        raise InputError(
            f"problem {problem.id} of {problem.source} has no solution to show: give a file of problems with solutions"
        )
    return Exemplar(
        id=problem.id,
        question=problem.question,
        prompt=question_and_answer(problem.question),
        solution=problem.solution,
    )
