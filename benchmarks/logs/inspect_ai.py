"""Reading the logs of Inspect: `.eval`, a zip with one JSON file a sample, or one `.json` file."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markscheme.benchmarks.logs.rows import parsed
from markscheme.benchmarks.logs.sample import LoggedSample
from markscheme.benchmarks.logs.values import answers_of, count_of, id_of, listed, prompt_of, text_of
from markscheme.benchmarks.logs.values import verdict_of as number_verdict_of
from markscheme.benchmarks.logs.zipped import members
from markscheme.files import InputError, kind_of, noun_of

LETTERS = {"C": True, "I": False, "N": False}  # N: no answer, which Inspect counts as 0; P, partial, is no verdict
CUT_SHORT = {"max_tokens": True, "model_length": True, "stop": False}
"""Stop reasons that say whether a completion was cut; the others do not."""
MEMBERS = re.compile(r"samples/.+(_epoch_\d+\.json|/sample\.json)")
ATTACHMENT = "attachment://"
LEFT_OUT = ("attachments", "events", "events_data", "store", "timelines")
"""What an agent did on the way: most of a log's bytes, and nothing that a verifier asks for."""
Place = tuple[str, Mapping[str, Any]]
"""Where a sample stands, and the sample."""


class ErrorSampleWarning(UserWarning):
    """Samples that ended in an error, before the model had answered, were left out; the message says how many."""


def samples_of_eval(path: Path) -> Iterator[Place]:
    """The samples of an `.eval` file.

    Raises:
        InputError: if it cannot be read, or holds no samples.
    """
    found = False
    for name, content in members(path, MEMBERS):
        found = True
        where = f"{path}:{name}"
        if name.endswith("/sample.json"):
            raise InputError(f"{where}: a sample in chunks; write the log anew by inspect log convert --to json")
        sample = parsed(content, where)
        if not isinstance(sample, dict):
            raise InputError(f"{where}: a JSON object is needed, got {kind_of(sample)}; give the log whole again")
        yield where, sample
    if not found:
        raise InputError(f"{path}: a zip without samples/*.json in it; an Inspect log that has samples is needed")


def samples_of_json(path: Path, log: Mapping[str, Any]) -> Iterator[Place]:
    """The samples of a `.json` file, which holds `log`.

    Raises:
        InputError: if it holds no samples.
    """
    samples = log.get("samples")
    if not isinstance(samples, list) or not samples:
        raise InputError(f"{path}: an Inspect log without samples; one written with log_samples is needed")
    for index, sample in enumerate(samples):
        where = f"{path}:samples[{index}]"
        if not isinstance(sample, dict):
            raise InputError(f"{where}: a JSON object is needed, got {kind_of(sample)}; give the log whole again")
        yield where, sample


def read_inspect(
    samples: Iterable[Place], path: Path, *, filter: str | None = None, verdict: str | None = None
) -> list[LoggedSample]:
    """The samples of a log, epoch by epoch. Samples that ended in an error without an answer are left out with an
    ErrorSampleWarning.

    Args:
        samples: Those of the file.
        path: The file, for messages.
        filter: The scorer whose values are the verdicts; None takes the first one whose values all are verdicts
            (C, I, N, P, 0, 1).
        verdict: Where a scorer's value is an object, the key in it.

    Raises:
        InputError: if a sample is not of this format, or there is no such scorer or key.
    """
    kept = [(where, _slim(sample, where), *_texts(sample)) for where, sample in samples]
    unfinished = [where for where, row, _, completion in kept if row.get("error") is not None and not completion]
    if unfinished:
        samples_left = f"{len(unfinished)} {noun_of(len(unfinished), 'sample')}"
        message = f"{path}: left out {samples_left} that ended in an error: {listed(unfinished)}"
        warnings.warn(message, ErrorSampleWarning, stacklevel=4)  # whoever calls read_log
        left_out = set(unfinished)
        kept = [entry for entry in kept if entry[0] not in left_out]
    kept.sort(key=lambda entry: entry[1]["epoch"])
    scorer = _scorer([row for _, row, _, _ in kept], filter, verdict, path)
    counts: Counter[str] = Counter()
    logged: list[LoggedSample] = []
    for where, row, prompt, completion in kept:
        problem = id_of(row.get("id"), where, name="id")
        if prompt is None or completion is None:
            raise InputError(f"{where}: 'input' and 'output' must be those of a model; give the log whole again")
        output = row["output"]
        usage, choices = output.get("usage"), output.get("choices")
        tokens = usage.get("output_tokens") if isinstance(usage, Mapping) else None
        reason = choices[0].get("stop_reason") if choices else None
        logged.append(
            LoggedSample(
                problem=problem,
                question=prompt,
                completion=completion,
                gold=answers_of(row.get("target"), where, name="target"),
                verdict=_verdict(row, scorer, verdict),
                k=counts[problem],
                tokens=count_of(tokens, where, name="output_tokens"),
                truncated=CUT_SHORT.get(reason) if isinstance(reason, str) else None,
                row=row,
                where=where,
            )
        )
        counts[problem] += 1
    return logged


def inspect_scorers(samples: Iterable[Place]) -> tuple[str, ...]:
    """The names of a log's scorers."""
    return _scorers([sample for _, sample in samples])


def _slim(sample: Mapping[str, Any], where: str) -> dict[str, Any]:
    row = {name: value for name, value in sample.items() if name not in LEFT_OUT}
    row["epoch"] = count_of(row.get("epoch", 1), where, name="epoch") or 0
    return row


def _texts(sample: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The prompt and the completion. Long texts may stand apart, under a name that takes their place."""
    attachments = sample.get("attachments")
    texts: list[str | None] = []
    for text in (prompt_of(sample.get("input")), _completion(sample)):
        if text is not None and text.startswith(ATTACHMENT) and isinstance(attachments, Mapping):
            attached = attachments.get(text.removeprefix(ATTACHMENT))
            text = attached if isinstance(attached, str) else text
        texts.append(text)
    return texts[0], texts[1]


def _completion(row: Mapping[str, Any]) -> str | None:
    """What the model wrote last, its reasoning apart; None if the row has no output."""
    output = row.get("output")
    if not isinstance(output, Mapping):
        return None
    choices = output.get("choices")
    if not choices:
        return output.get("completion") if isinstance(output.get("completion"), str) else None
    if not isinstance(choices, list) or not isinstance(choices[0], Mapping):
        return None
    message = choices[0].get("message")
    return text_of(message.get("content")) if isinstance(message, Mapping) else None


def _scorers(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    scores = [row["scores"] for row in rows if isinstance(row.get("scores"), Mapping)]
    return tuple(dict.fromkeys(name for score in scores for name in score))


def _scorer(rows: Sequence[Mapping[str, Any]], name: str | None, key: str | None, path: Path) -> str | None:
    scorers = _scorers(rows)
    if name is not None and name not in scorers:
        raise InputError(f"{path}: no scorer {name!r} in it; it has {listed(scorers)}")
    candidates = scorers if name is None else (name,)
    for scorer in candidates:
        values = [value for row in rows if (value := _value(row, scorer, key)) is not None]
        if values and all(value == "P" or _as_verdict(value) is not None for value in values):
            return scorer
    if key is not None and not any(_value(row, scorer, key) is not None for scorer in candidates for row in rows):
        raise InputError(f"{path}: no scorer's value has a key {key!r}; the scorers are {listed(candidates)}")
    return name


def _value(row: Mapping[str, Any], scorer: str, key: str | None) -> Any:
    scores = row.get("scores")
    score = scores.get(scorer) if isinstance(scores, Mapping) else None
    value = score.get("value") if isinstance(score, Mapping) else None
    if isinstance(value, float) and value != value:  # NaN: not scored
        return None
    return value if key is None else value.get(key) if isinstance(value, Mapping) else None


def _as_verdict(value: Any) -> bool | None:
    return LETTERS.get(value) if isinstance(value, str) else number_verdict_of(value)


def _verdict(row: Mapping[str, Any], scorer: str | None, key: str | None) -> bool | None:
    return None if scorer is None else _as_verdict(_value(row, scorer, key))
