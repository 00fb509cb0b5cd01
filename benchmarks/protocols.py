"""Protocols: how a question is put to a model and where its completion ends, by name, with a hash.

Two figures compare only where the protocol was the same. The hash is taken of what a protocol writes (the prompts of
probe questions with and without a chat template, stop strings, limit): it changes exactly when prompts do.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from markscheme.benchmarks.few_shot import FewShotForm, file_form, train_split_form
from markscheme.files import InputError, StrPath
from markscheme.prompting import PromptFormat

NAMES = ("boxed-chat-0shot", "plain", "few-shot:K", "lm-eval:TASK")
CHAT = "+chat"
"""Ends the name of a protocol that shows its exemplars as turns of a chat."""

# What completions may have: a worked solution of grade-school mathematics, one of MATH, and one that thinks aloud.
GRADE_SCHOOL_TOKENS, COMPETITION_TOKENS, BOXED_TOKENS = 512, 1_024, 2_048

NEXT_QUESTION = "\nQuestion:"
"""Where a model that has learned nothing of turns goes on with a question of its own."""

PROBES = ("2 + 3?", " <b>{{ x }}</b>, {0} & 'y' \"z\" % #\n\n\\boxed{\\frac{1}{2}} \ufb01 \u4e8c\n")
"""Questions that every hash sees: a short one, and one full of what a template could spoil."""


class PromptForm(Protocol):
    """What an evaluation needs to know of a protocol: the prompt of a question."""

    def render(self, question: str, tokenizer: Any) -> str: ...

    def prompt_ids(self, question: str, tokenizer: Any) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationProtocol:
    """How questions are put to a model and where its completions end."""

    name: str
    form: PromptFormat | FewShotForm
    stop: tuple[str, ...] = ()
    """A completion ends before the first of these strings."""
    max_completion_tokens: int
    """A longer completion is cut off, and counted as truncated."""
    note: str = ""
    """What a reader of the record should know; not a part of the hash."""

    def __post_init__(self) -> None:
        if self.max_completion_tokens < 1:
            raise ValueError(f"max_completion_tokens must be at least 1, got {self.max_completion_tokens}")

    def render(self, question: str, tokenizer: Any) -> str:
        """The prompt text."""
        return self.form.render(question, tokenizer)

    def prompt_ids(self, question: str, tokenizer: Any) -> tuple[int, ...]:
        """The prompt as token ids, with one start token at most: the template's, the text's own or the tokenizer's.

        Raises:
            InputError: if there are two nevertheless. They cost accuracy, and nothing else would show why.
        """
        text = self.render(question, tokenizer)
        start, start_id = getattr(tokenizer, "bos_token", None), getattr(tokenizer, "bos_token_id", None)
        complete = self._through_template(tokenizer) or bool(start and text.startswith(start))
        ids = tuple(tokenizer.encode(text, add_special_tokens=not complete))
        if start_id is not None and ids[:2] == (start_id, start_id):
            raise InputError(f"the prompt begins with {start} twice: take one out of the chat template or tokenizer")
        return ids

    def _through_template(self, tokenizer: Any) -> bool:
        if isinstance(self.form, FewShotForm):
            return self.form.through_template(tokenizer)
        return tokenizer.chat_template is not None

    @property
    def hash(self) -> str:
        """Names the protocol by the prompts that it writes, its stop strings and its limit."""
        # Asked for an exemplar's own question, a few-shot form shows the others and the one to spare.
        own = [one.question for one in self.form.exemplars] if isinstance(self.form, FewShotForm) else []
        prompts = [
            self.render(question, tokenizer) for tokenizer in (_Plain(), _Template()) for question in (*PROBES, *own)
        ]
        decisive = json.dumps([prompts, self.stop, self.max_completion_tokens])
        return hashlib.sha256(decisive.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """What a record says: every setting; of exemplars the ids and hashes only."""
        return {
            "name": self.name,
            "hash": self.hash,
            "form": self.form.to_dict() if isinstance(self.form, FewShotForm) else asdict(self.form),
            "stop": list(self.stop),  # as it comes back from JSON
            "max_completion_tokens": self.max_completion_tokens,
            "note": self.note,
        }


class _Plain:
    """Stands for every tokenizer without a chat template."""

    chat_template: str | None = None


class _Template(_Plain):
    """Stands for every tokenizer with one: writes down what the template is given."""

    chat_template = "as JSON"

    def apply_chat_template(self, messages: Sequence[Mapping[str, str]], **options: bool) -> str:
        return json.dumps([list(map(dict, messages)), options], sort_keys=True)


BOXED_CHAT = EvaluationProtocol(name="boxed-chat-0shot", form=PromptFormat(), max_completion_tokens=BOXED_TOKENS)
"""The question and a request for a boxed answer."""

PLAIN = EvaluationProtocol(name="plain", form=PromptFormat(instruction=""), max_completion_tokens=GRADE_SCHOOL_TOKENS)
"""The question and nothing else."""


def protocol_named(
    name: str,
    *,
    task: str,
    data: StrPath | None = None,
    difficulty: int = 4,
    problem_seed: int = 0,
    exemplars: StrPath | None = None,
) -> EvaluationProtocol:
    """A protocol by its name.

    `boxed-chat-0shot`: the question and a request for a boxed answer, through the chat template where there is one.
    `plain`: the question and nothing else, through the chat template as well.
    `few-shot:K`: K worked solutions of the task's train split and the question, one text without the chat template.
    `lm-eval:TASK`: exemplars, wording and stop strings of a task of the installed lm_eval; answers are still graded
    by our scorers. With `+chat` after it, either of the last two shows exemplars as turns of a chat where there is a
    chat template.

    Args:
        task, data, difficulty, problem_seed: What is evaluated, as for `task_problems`.
        exemplars: For `few-shot:K`, a file of problems with solutions whose first K are shown in place of the split's.

    Raises:
        InputError: if there is no such protocol, or its exemplars cannot be had.
    """
    base, chat = name.removesuffix(CHAT), name.endswith(CHAT)
    kind, _, of = base.partition(":")
    if exemplars is not None and kind != "few-shot":
        raise InputError(f"the protocol {name} takes no file of exemplars; few-shot:K does")
    if name == "boxed-chat-0shot":
        return BOXED_CHAT
    if name == "plain":
        return PLAIN
    if kind == "few-shot" and of.isdecimal() and int(of) > 0:
        if exemplars is not None:
            shots = file_form(Path(exemplars), int(of), chat=chat)
        else:
            folder = None if data is None else Path(data)
            shots = train_split_form(
                task, int(of), data=folder, difficulty=difficulty, problem_seed=problem_seed, chat=chat
            )
        return EvaluationProtocol(
            name=name,
            form=shots,
            stop=(NEXT_QUESTION,),
            max_completion_tokens=COMPETITION_TOKENS if task.startswith("math") else GRADE_SCHOOL_TOKENS,
        )
    if kind == "lm-eval" and of:
        return _lm_eval_protocol(name, of, chat)
    raise InputError(f"no protocol {name!r}; there are {', '.join(NAMES)}; the last two also with {CHAT} at the end")


def _lm_eval_protocol(name: str, task: str, chat: bool) -> EvaluationProtocol:
    from markscheme.benchmarks.lm_eval_tasks import OWN_LIMIT, lm_eval_task  # the only ones that need YAML

    found = lm_eval_task(task, chat=chat)
    tokens = found.limit or (GRADE_SCHOOL_TOKENS if "gsm" in task else COMPETITION_TOKENS)
    return EvaluationProtocol(
        name=name,
        form=found.form,
        stop=found.stop,
        max_completion_tokens=tokens,
        note="" if found.limit else f"lm-eval's own limit is {OWN_LIMIT} tokens; here {tokens}",
    )
