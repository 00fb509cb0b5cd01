"""Evaluation of a policy: generate what is missing, grade every record, sum up.

An evaluation is a folder. `records.jsonl` grows by one line a completion, so a killed run loses at most the
completion it was writing; what is in it depends on the settings alone, never on the clock or on what was generated
together, as far as the engine keeps that promise. `costs.jsonl` says what each session took. `scores.jsonl` and
`summary.json` are written at the end, whole: grading is a pass of its own.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markscheme.benchmarks.cost import evaluation_cost, session_cost
from markscheme.benchmarks.grading import Progress, finish, grade, json_line, write_problems
from markscheme.benchmarks.outcomes import (
    RECORDS,
    SCHEMA,
    SCORES,
    SUMMARY,
    Evaluation,
    Kind,
)
from markscheme.benchmarks.protocols import BOXED_CHAT, EvaluationProtocol
from markscheme.files import InputError, StrPath, drop_torn_line, json_object, read_jsonl
from markscheme.generation import Completion, Generator, Request, Sampling, seed_of
from markscheme.problems import Problem
from markscheme.scoring import Scorer, check_scorer

REQUESTS_PER_CHUNK = 1_000  # enough to keep an engine full; a chunk's end waits for its longest completion

LABELS = {"name": "protocol", "hash": "protocol hash", "fingerprint": "model fingerprint"}
"""What settings are called in a message, where not by their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """How a policy is evaluated."""

    num_samples: int = 8
    """Completions drawn per problem, K: for pass@k and maj@k. 0 for none."""
    temperature: float = 1.0
    """Of the drawn completions."""
    top_p: float = 1.0
    """Of the drawn completions: draw from the likeliest tokens that together have this probability."""
    greedy: bool = True
    """Whether to write one completion per problem at temperature 0 as well."""
    seed: int = 0
    """Of the drawn completions."""

    def __post_init__(self) -> None:
        if self.num_samples < 0:
            raise ValueError(f"num_samples must be at least 0, got {self.num_samples}")
        if self.num_samples == 0 and not self.greedy:
            raise ValueError("num_samples is 0 and greedy is off: there is nothing to evaluate")
        if self.num_samples > 0 and self.temperature == 0:
            raise ValueError("temperature 0 draws the same completion each time; set num_samples to 0 instead")
        Sampling(temperature=self.temperature, top_p=self.top_p)  # checks the rest

    def sampling(self, kind: Kind, protocol: EvaluationProtocol) -> Sampling:
        return Sampling(
            temperature=0.0 if kind == "greedy" else self.temperature,
            top_p=1.0 if kind == "greedy" else self.top_p,
            max_completion_tokens=protocol.max_completion_tokens,
            stop=protocol.stop,
        )

    def completions_per_problem(self) -> list[tuple[Kind, int]]:
        """(kind, k) of every completion of a problem."""
        greedy: list[tuple[Kind, int]] = [("greedy", 0)] if self.greedy else []
        return [*greedy, *(("sampled", k) for k in range(self.num_samples))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """One completion that the evaluation consists of."""

    key: str
    """Names the completion by everything that it depends on."""
    problem: Problem
    kind: Kind
    k: int
    seed: int
    prompt_ids: tuple[int, ...]


def evaluate(
    generator: Generator,
    scorer: Scorer,
    problems: Sequence[Problem],
    out: StrPath,
    *,
    protocol: EvaluationProtocol = BOXED_CHAT,
    config: EvaluationConfig | None = None,
    fingerprint: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluates a policy on problems, in the folder `out`; run again, it generates only what is missing there.

    Args:
        generator: Holds the policy. Records of another engine are left alone.
        protocol: How the questions are put, and where a completion ends.
        config: What is sampled; by default one greedy completion and 8 samples of each problem.
        fingerprint: Names the weights and the tokenizer; by default, and as they are now, `generator.fingerprint()`.
            Records of other weights are left alone.
        progress: Called as progress(stage, done, total).

    Raises:
        InputError: if there are no problems, two have one id, the scorer rates instead of deciding, `out` holds a
            finished evaluation that this one would replace, or the generator cannot name its weights.
        OSError: if `out` cannot be written.
        TypeError: if `scorer` is none, such as a plain function.
    """
    check_scorer(scorer)
    _check(problems)
    out, config = Path(out), config or EvaluationConfig()
    weights = fingerprint or generator.fingerprint()
    engine, tokenizer = generator.kind, generator.tokenizer
    check_finished(problems, tokenizer, protocol, config, out, fingerprint=weights, engine=engine)
    wanted = _plan(problems, tokenizer, protocol, config, weights, engine)
    out.mkdir(parents=True, exist_ok=True)
    (out / SUMMARY).unlink(missing_ok=True)  # it stands for a finished evaluation, so it goes first and comes last
    write_problems(out, problems)
    records = _generate_missing(generator, wanted, protocol, config, out, weights, progress)
    in_order = [records[one.key] for one in wanted]
    about = {
        "fingerprint": weights,
        "engine": engine,
        "batch_invariant": generator.batch_invariant,
        "protocol": {**_settings(config, protocol), "scorer": f"{scorer.name} {scorer.version}"},
        "seed": config.seed,
        "cost": evaluation_cost(out, in_order),
    }
    scores, votes = grade(scorer, problems, in_order, progress)
    return finish(out, problems, in_order, scores, votes, about, config.num_samples)


def check_finished(
    problems: Sequence[Problem],
    tokenizer: Any,
    protocol: EvaluationProtocol,
    config: EvaluationConfig,
    out: Path,
    *,
    fingerprint: str,
    engine: str,
) -> None:
    """A finished evaluation in `out` may be gone on with or graded anew, not replaced: all of its completions must be
    among those of the new one.

    Raises:
        InputError: if they are not, naming what differs, or if `out` holds the summary of something else.
    """
    path = out / SUMMARY
    if not path.exists():
        return
    summary = json_object(path.read_bytes(), path, 1)
    if summary.get("schema") != SCHEMA:
        raise InputError(f"{path}: no summary of an evaluation (its schema is not {SCHEMA!r}): choose another --out")
    scored = [record for _, record in read_jsonl(out / SCORES)]
    keys = {one.key for one in _plan(problems, tokenizer, protocol, config, fingerprint, engine)}
    unwanted = [record for record in scored if record["key"] not in keys]
    if not unwanted:
        return
    settings = _settings(config, protocol) | {"fingerprint": fingerprint, "engine": engine, "seed": config.seed}
    what = _differences({**summary, **summary["protocol"]}, settings)
    ids = {record["problem"] for record in scored}
    if not what and (missing := ids - {problem.id for problem in problems}):
        what = f"this one leaves out {len(missing):,} of its {len(ids):,} problems"
    elif not what:
        what = f"this one leaves out {len(unwanted):,} of its {len(scored):,} completions"
    raise InputError(f"{out} holds a finished evaluation, and this is another ({what}): choose another --out")


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The settings that give two evaluations other completions; more samples, and greedy added, give more of them."""
    alike = {"form", "note", *(name for name in ("num_samples", "greedy") if old[name] < new[name])}
    if not old["num_samples"]:
        alike |= {"temperature", "top_p", "seed"}
    found = [name for name in new if name in old and old[name] != new[name] and name not in alike]
    if not {"name", "stop", "max_completion_tokens"}.isdisjoint(found):
        found = [name for name in found if name != "hash"]  # which says no more than they
    return "; ".join(f"{LABELS.get(name, name)} {old[name]!r} there, {new[name]!r} here" for name in found)


def _check(problems: Sequence[Problem]) -> None:
    if not problems:
        raise InputError("no problems to evaluate on; the task or file is empty")
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise InputError(f"two problems have the id {problem.id!r}; ids must differ")
        seen.add(problem.id)


def _plan(
    problems: Sequence[Problem],
    tokenizer: Any,
    protocol: EvaluationProtocol,
    config: EvaluationConfig,
    fingerprint: str,
    engine: str,
) -> list[_Wanted]:
    wanted = []
    for problem in problems:
        prompt_ids = protocol.prompt_ids(problem.question, tokenizer)
        for kind, k in config.completions_per_problem():
            # Greedy completions are the same by any seed: kept when another is given.
            seed = seed_of(kind, problem.id) if kind == "greedy" else seed_of(config.seed, problem.id, kind, k)
            key = _sha256([fingerprint, engine, prompt_ids, asdict(config.sampling(kind, protocol)), seed])
            wanted.append(_Wanted(key=key, problem=problem, kind=kind, k=k, seed=seed, prompt_ids=prompt_ids))
    return wanted


def _generate_missing(
    generator: Generator,
    wanted: Sequence[_Wanted],
    protocol: EvaluationProtocol,
    config: EvaluationConfig,
    out: Path,
    fingerprint: str,
    progress: Progress | None,
) -> dict[str, dict[str, Any]]:
    """The record of every wanted completion; those not yet in the file are generated and appended to it."""
    keys, path = {one.key for one in wanted}, out / RECORDS
    drop_torn_line(path)
    lines = read_jsonl(path) if path.exists() else iter(())
    records = {record["key"]: record for _, record in lines if record.get("key") in keys}
    if progress:
        progress("generate", len(records), len(wanted))
    missing = [one for one in wanted if one.key not in records]
    with session_cost(out) as cost, path.open("a", encoding="utf-8") as file:
        try:
            for one, completion in _stream(generator, missing, protocol, config):
                record = _record(one, completion, fingerprint, generator.kind)
                cost.add(completion, len(one.prompt_ids))
                file.write(json_line(record))
                file.flush()
                records[one.key] = record
                if progress:
                    progress("generate", len(records), len(wanted))
        finally:
            os.fsync(file.fileno())
    if len(records) < len(keys):
        raise RuntimeError(f"the generator left out {len(keys) - len(records)} of {len(keys)} completions")
    return records


def _stream(
    generator: Generator, missing: Sequence[_Wanted], protocol: EvaluationProtocol, config: EvaluationConfig
) -> Iterator[tuple[_Wanted, Completion]]:
    """Longest prompts first: a batch then holds prompts of one length, and a lack of memory shows at once."""
    groups: dict[tuple[Kind, str], list[_Wanted]] = {}
    for one in missing:
        groups.setdefault((one.kind, one.problem.id), []).append(one)
    for kind in ("greedy", "sampled"):
        of_kind = [group for (group_kind, _), group in groups.items() if group_kind == kind]
        of_kind.sort(key=lambda group: -len(group[0].prompt_ids))
        for start in range(0, len(of_kind), REQUESTS_PER_CHUNK):
            chunk = of_kind[start : start + REQUESTS_PER_CHUNK]
            requests = [
                Request(prompt_ids=group[0].prompt_ids, seeds=tuple(one.seed for one in group)) for group in chunk
            ]
            for request_index, seed_index, completion in generator.stream(requests, config.sampling(kind, protocol)):
                yield chunk[request_index][seed_index], completion


def _record(one: _Wanted, completion: Completion, fingerprint: str, engine: str) -> dict[str, Any]:
    return {
        "key": one.key,
        "problem": one.problem.id,
        "kind": one.kind,
        "k": one.k,
        "seed": one.seed,
        "fingerprint": fingerprint,
        "engine": engine,
        "prompt_sha256": _sha256(one.prompt_ids),
        "prompt_tokens": len(one.prompt_ids),
        "completion": completion.text,
        "completion_tokens": len(completion.ids),
        "finish_reason": completion.finish_reason.value,
    }


def _settings(config: EvaluationConfig, protocol: EvaluationProtocol) -> dict[str, Any]:
    """Every one but the seed: two evaluations may draw other samples and still measure the same."""
    return {name: value for name, value in asdict(config).items() if name != "seed"} | protocol.to_dict()


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
