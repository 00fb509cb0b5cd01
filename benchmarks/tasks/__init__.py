"""The tasks: GSM8K, MATH, MATH-500, CMATH, the generated task, and any JSONL file of problems."""

import itertools

from markscheme.benchmarks.tasks.datasets import HUB_DATASETS, load_problems, load_task
from markscheme.benchmarks.tasks.generated import SOURCE, generated_problems
from markscheme.files import InputError, StrPath
from markscheme.problems import Problem

__all__ = ["generated_problems", "load_problems", "load_task", "task_problems"]

DEFAULT_GENERATED = 500  # problems: the generated task has no end of its own


def task_problems(
    task: str,
    split: str,
    *,
    data: StrPath | None = None,
    limit: int | None = None,
    difficulty: int = 4,
    seed: int = 0,
) -> list[Problem]:
    """The problems of a task by its name or file.

    Args:
        task: gsm8k, math, math500, cmath, generated, or the path of a .jsonl or .jsonl.gz file.
        split: train, dev, test, ...: whatever the task has; a file has none.
        data: For a data set, a local file or folder to read instead of the hub.
        limit: The first so many problems only.
        difficulty: Of generated problems, 1 to 5.
        seed: Of generated problems: another seed gives other problems.

    Raises:
        InputError: if there is no such task, split or file, or nothing in it.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    if task == SOURCE:
        return list(itertools.islice(generated_problems(split, difficulty, seed), limit or DEFAULT_GENERATED))
    if task in HUB_DATASETS:
        return load_task(task, split, data)[:limit]
    if task.endswith((".jsonl", ".jsonl.gz")):
        return load_problems(task)[:limit]
    raise InputError(f"no task {task!r}; there are {', '.join(HUB_DATASETS)}, {SOURCE}, and .jsonl or .jsonl.gz files")
