"""Prompts of lm-eval's tasks, made of the lm_eval package that is installed beside this one.

Built as lm-eval 0.4.13 builds them (`fewshot_context`), for tasks whose prompt is exemplars that never change and a
question. A task's `process_docs` is not run: a question stands in the prompt as our own task has it.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.nodes import Template
from jinja2.sandbox import SandboxedEnvironment

from markscheme.benchmarks.few_shot import Exemplar, FewShotForm
from markscheme.benchmarks.lm_eval_package import FunctionTag, call, installed_version, load_function, task_settings
from markscheme.files import InputError

QUESTION_COLUMNS = ("question", "problem", "Question", "Problem")
"""What tasks on mathematics call the question."""
LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""lm-eval's names for the longest completion, in the order in which they count."""
OWN_LIMIT = 256
"""lm-eval's own where a task sets none."""
TARGET_DELIMITER, FEWSHOT_DELIMITER = " ", "\n\n"
"""lm-eval's own after an exemplar's question and after its solution, where a task sets none."""
NOT_SUPPORTED = ("class", "use_prompt", "doc_to_choice", "doc_to_image", "doc_to_audio", "gen_prefix")
"""Settings that make a prompt something else than exemplars and a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LmEvalTask:
    """What of a task decides prompts and where completions end."""

    form: FewShotForm
    stop: tuple[str, ...]
    limit: int | None
    """Tokens that a completion may have; None where the task does not say."""


class _QuestionAlone(Mapping[str, str]):
    """A doc, as lm-eval calls a row, of which nothing is known but the question.

    A function that only asks whether there is another column would go another way with lm-eval's own docs, so asking
    is an error too.
    """

    def __init__(self, question: str) -> None:
        self._question = question

    def __getitem__(self, column: str) -> str:
        if column not in QUESTION_COLUMNS:
            raise InputError(f"needs more than a question (column {column!r})")
        return self._question

    def __iter__(self) -> Iterator[str]:
        return iter(QUESTION_COLUMNS)

    def __len__(self) -> int:
        return len(QUESTION_COLUMNS)


def lm_eval_task(task: str, *, chat: bool = False) -> LmEvalTask:
    """Reads a task of the installed lm_eval package.

    Args:
        chat: Whether exemplars become turns of a chat, as lm-eval's --apply_chat_template has it.

    Raises:
        InputError: if lm_eval is not installed, has no such task, or the task's prompts cannot be made here: its
            exemplars are drawn anew for every question, or it needs more than a question.
    """
    try:
        return _read_task(task, chat)
    except InputError as error:
        raise InputError(f"lm-eval:{task} {error}; few-shot:K takes exemplars of our own tasks") from error


def _read_task(task: str, chat: bool) -> LmEvalTask:
    settings = task_settings(task)
    shots: dict[str, Any] = {**settings, **(settings.get("fewshot_config") or {})}  # its settings are for exemplars
    if settings.get("output_type", "generate_until") != "generate_until":
        raise InputError(f"has models choose and not write ({settings['output_type']})")
    for name in NOT_SUPPORTED:
        if shots.get(name) is not None:
            raise InputError(f"has a {name}, which is not supported")
    num_shots = settings.get("num_fewshot") or 0
    generation = settings.get("generation_kwargs") or {}
    until = generation.get("until", settings.get("fewshot_delimiter", FEWSHOT_DELIMITER))
    version = (settings.get("metadata") or {}).get("version", "unknown")
    question_text = _of_question(settings.get("doc_to_text"))
    if question_text("a probe") == question_text("another"):
        raise InputError("has a doc_to_text without a question")
    form = FewShotForm(
        source=f"lm_eval {installed_version()}, task {task}, version {version}",
        exemplars=_exemplars(task, shots, num_shots) if num_shots else (),
        num_shots=num_shots,
        question_text=question_text,
        description=_of_question(settings.get("description") or ""),
        after_question=shots.get("target_delimiter", TARGET_DELIMITER),
        after_exemplar=shots.get("fewshot_delimiter", FEWSHOT_DELIMITER),
        chat=chat,
    )
    return LmEvalTask(
        form=form,
        stop=(until,) if isinstance(until, str) else tuple(until),
        limit=next((int(generation[name]) for name in LIMITS if name in generation), None),
    )


def _exemplars(task: str, shots: Mapping[str, Any], num_shots: int) -> tuple[Exemplar, ...]:
    sampler = shots.get("sampler", "default")
    anew = "" if sampler == "first_n" else ", drawn anew for each question in an order that sharding changes"
    if shots.get("split", shots.get("fewshot_split")) is not None or shots.get("samples") is None:
        raise InputError(f"takes its {num_shots} exemplars from a split of its data set{anew}")
    if anew:
        raise InputError(f"has {num_shots} exemplars{anew}")
    samples = shots["samples"]
    docs = call(load_function(samples)) if isinstance(samples, FunctionTag) else samples
    if len(docs) < num_shots:
        raise InputError(f"asks for {num_shots} exemplars and has {len(docs)}")
    return tuple(_exemplar(f"{task}/{index}", doc, shots) for index, doc in enumerate(docs))


def _exemplar(id_: str, doc: Mapping[str, Any], shots: Mapping[str, Any]) -> Exemplar:
    prompt, target = (_of_doc(shots.get(name), doc) for name in ("doc_to_text", "doc_to_target"))
    # lm-eval puts no delimiter after an empty target, and reads brackets as several targets.
    if not target or (target.startswith("[") and target.endswith("]")):
        raise InputError(f"has an exemplar with the target {target[:20]!r}, which is not supported")
    question = next((str(doc[column]) for column in QUESTION_COLUMNS if column in doc), prompt)
    return Exemplar(id=id_, question=question, prompt=prompt, solution=target)


def _of_question(made_by: Any) -> Callable[[str], str]:
    """What turns a question into text: a column's name, a template or a function."""
    if isinstance(made_by, FunctionTag):
        function = load_function(made_by)
        return lambda question: str(call(function, _QuestionAlone(question)))
    variables = meta.find_undeclared_variables(_parsed(made_by))
    columns = {made_by} if made_by in QUESTION_COLUMNS else variables
    if unknown := columns.difference(QUESTION_COLUMNS):
        raise InputError(f"needs more than a question (column {min(unknown)!r})")
    if len(columns) > 1:
        raise InputError(f"has its question in one of the columns {', '.join(sorted(columns))}: which one is not known")
    return lambda question: _of_doc(made_by, dict.fromkeys(columns, question))


def _of_doc(made_by: Any, doc: Mapping[str, Any]) -> str:
    """The text that a column, a template or a function makes of a whole doc."""
    if isinstance(made_by, FunctionTag):
        return str(call(load_function(made_by), doc))
    template = _parsed(made_by)
    if made_by in doc:
        return str(doc[made_by])
    try:
        return _templates().from_string(template).render(**doc)
    except TemplateError as error:
        raise InputError(f"has a template that does not fit its exemplars ({error})") from error


def _parsed(template: Any) -> Template:
    if not isinstance(template, str):
        raise InputError(f"has {template!r} for a template, which is not supported")
    try:
        return _templates().parse(template)
    except TemplateError as error:
        raise InputError(f"has a template that cannot be read ({error})") from error


@functools.cache
def _templates() -> SandboxedEnvironment:
    """As lm-eval's own but for the sandbox: what has no value is an error, and a last line end stays."""
    templates = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    templates.filters["regex_replace"] = lambda text, pattern, repl, count=0: re.sub(pattern, repl, text, count=count)
    return templates
