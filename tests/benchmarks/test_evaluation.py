"""Evaluation with a generator, a tokenizer and a scorer that can be followed by hand."""

import json
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from markscheme.benchmarks.evaluation import EvaluationConfig, evaluate
from markscheme.benchmarks.findings import sample_counts, values_by_metric
from markscheme.benchmarks.outcomes import load_evaluation
from markscheme.benchmarks.protocols import EvaluationProtocol
from markscheme.files import InputError
from markscheme.generation import Completion, FinishReason, Request, Sampling
from markscheme.problems import Problem
from markscheme.prompting import PromptFormat
from markscheme.scoring import Outcome, Sample, Score


class LetterTokenizer:
    """One token a character, no chat template."""

    chat_template = None

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return [*([1] if add_special_tokens else []), *map(ord, text)]


class SumGenerator:
    """Greedy adds right; a sample is one too high for every third seed, and `skill` moves that. Counts its work."""

    batch_invariant, kind, tokenizer = True, "torch", LetterTokenizer()

    def __init__(self, *, stop_after: int | None = None, offset: int = 0) -> None:
        self.stop_after = stop_after
        self.offset = offset
        self.generated = 0
        self.prompt_lengths: list[int] = []

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, int, Completion]]:
        self.prompt_lengths += [len(request.prompt_ids) for request in requests]
        for request_index, request in enumerate(requests):
            for seed_index, seed in enumerate(request.seeds):
                if self.generated == self.stop_after:
                    raise KeyboardInterrupt
                self.generated += 1
                yield request_index, seed_index, self._complete(request, seed, sampling)

    def _complete(self, request: Request, seed: int, sampling: Sampling) -> Completion:
        question = "".join(map(chr, request.prompt_ids[1:])).removeprefix("Question: ").partition("\n")[0]
        left, _, right = question.partition(" + ")
        error = random.Random(seed).choice((0, 0, 1)) if sampling.temperature else 0
        text = f"= {int(left) + int(right) + error + self.offset}"
        return Completion(
            text=text, ids=tuple(range(len(text))), logprobs=(0.0,) * len(text), finish_reason=FinishReason.STOP
        )

    def fingerprint(self) -> str:
        return "weights A"

    def load_weights(self, named_tensors: Iterable[tuple[str, Any]]) -> None:
        raise NotImplementedError


class EqualsScorer:
    """Right where the text after `= ` is the gold; gives up on the answers in `too_hard`."""

    name, version = "equals", "1"

    def __init__(self, too_hard: Sequence[str] = ()) -> None:
        self.too_hard = too_hard

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [self._score(sample) for sample in samples]

    def _score(self, sample: Sample) -> Score:
        answer = sample.completion.partition("= ")[2]
        if not answer:
            return Score(value=0.0, outcome=Outcome.NO_ANSWER)
        if answer in self.too_hard:
            return Score(value=None, outcome=Outcome.UNDECIDED, answer=answer)
        right = answer == sample.gold
        return Score(value=float(right), outcome=Outcome.CORRECT if right else Outcome.INCORRECT, answer=answer)


def sums(*terms: tuple[int, int]) -> list[Problem]:
    return [
        Problem(id=f"sums/{left}-{right}", question=f"{left} + {right}", gold=str(left + right), source="-", split="-")
        for left, right in terms
    ]


PROBLEMS = sums((1, 1), (20, 30), (400, 500), (2, 5))
CONFIG = EvaluationConfig(num_samples=4)
PROTOCOL = EvaluationProtocol(name="sums", form=PromptFormat(), max_completion_tokens=20)


def run(out: Path, generator: Any = None, scorer: Any = None, **changes: Any) -> Any:
    generator = generator or SumGenerator()
    generator.kind = changes.pop("engine", "torch")
    settings: dict[str, Any] = {"problems": PROBLEMS, "out": out, "protocol": PROTOCOL, "config": CONFIG, **changes}
    return evaluate(generator, scorer or EqualsScorer(), **settings)


def unfinished(out: Path) -> None:
    """All completions are there, and no summary."""
    run(out)
    (out / "summary.json").unlink()


def prompt_length(problem: Problem) -> int:
    return len(PROTOCOL.prompt_ids(problem.question, LetterTokenizer()))


def files(folder: Path) -> dict[str, str]:
    """Every file's text, but for what the clock says."""
    texts = {path.name: path.read_text() for path in folder.iterdir() if path.name != "costs.jsonl"}
    summary = json.loads(texts["summary.json"])
    del summary["date"], summary["cost"]
    return {**texts, "summary.json": json.dumps(summary)}


def test_the_folder_loads_as_it_was_returned(tmp_path: Path) -> None:
    evaluation = run(tmp_path)
    assert load_evaluation(tmp_path) == evaluation
    assert [outcome.problem for outcome in evaluation.outcomes] == PROBLEMS
    assert all(len(outcome.sampled) == 4 for outcome in evaluation.outcomes)


def test_numbers_of_the_summary(tmp_path: Path) -> None:
    evaluation = run(tmp_path)
    summary = evaluation.summary
    rights = [[sample.score.correct for sample in outcome.sampled] for outcome in evaluation.outcomes]
    shares = [sum(map(bool, of_one)) / 4 for of_one in rights]
    assert summary["metrics"]["greedy"]["value"] == 1
    assert summary["metrics"]["pass@1"]["value"] == pytest.approx(sum(shares) / 4)
    assert summary["metrics"]["pass@4"]["value"] == sum(share > 0 for share in shares) / 4
    assert summary["counts"]["sampled"]["correct"] == sum(map(sum, rights))
    assert summary["counts"]["greedy"]["mean_completion_tokens"] == (3 + 4 + 5 + 3) / 4  # "= 2", "= 50", "= 900", "= 7"
    assert summary["constant_guess"] == {"answer": "2", "accuracy": 0.25}
    assert list(summary["metrics"]) == ["greedy", "pass@1", "pass@2", "pass@4", "maj@4", "cons@4"]
    assert summary["protocol"]["scorer"] == "equals 1"


@pytest.mark.parametrize("stop_after", [0, 1, 7, 19])
def test_an_interrupted_run_goes_on_to_identical_files(tmp_path: Path, stop_after: int) -> None:
    run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", SumGenerator(stop_after=stop_after))
    with pytest.raises(InputError, match="unfinished; run it again"):
        load_evaluation(tmp_path / "cut")
    rest = SumGenerator()
    run(tmp_path / "cut", rest)
    assert rest.generated == 20 - stop_after
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_torn_last_line_is_generated_again(tmp_path: Path) -> None:
    run(tmp_path)
    whole = files(tmp_path)
    path = tmp_path / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    again = SumGenerator()
    run(tmp_path, again)
    assert again.generated == 1
    assert files(tmp_path) == whole


def test_a_finished_run_generates_nothing(tmp_path: Path) -> None:
    run(tmp_path)
    again = SumGenerator()
    run(tmp_path, again)
    assert again.generated == 0


def test_more_samples_keep_those_that_are_there(tmp_path: Path) -> None:
    first = run(tmp_path)
    more = SumGenerator()
    second = run(tmp_path, more, config=replace(CONFIG, num_samples=6))
    assert more.generated == 2 * len(PROBLEMS)
    assert second.outcomes[0].sampled[:4] == first.outcomes[0].sampled


def test_other_weights_in_the_same_folder_are_not_served_stale(tmp_path: Path) -> None:
    unfinished(tmp_path)
    changed = SumGenerator(offset=1)
    evaluation = run(tmp_path, changed, fingerprint="weights B")
    assert changed.generated == 20
    assert evaluation.summary["metrics"]["greedy"]["value"] == 0


SUM = PromptFormat(instruction="Add.")

# (what is changed, the completions that it leaves of the 4 greedy and 16 drawn ones, what the refusal names)
CHANGES: list[tuple[dict[str, Any], int, str]] = [
    ({"config": replace(CONFIG, temperature=0.7)}, 4, "temperature 1.0 there, 0.7 here"),
    ({"config": replace(CONFIG, top_p=0.9)}, 4, "top_p 1.0 there, 0.9 here"),
    ({"config": replace(CONFIG, seed=1)}, 4, "seed 0 there, 1 here"),
    ({"config": replace(CONFIG, num_samples=3)}, 16, "num_samples 4 there, 3 here"),
    ({"config": replace(CONFIG, greedy=False)}, 16, "greedy True there, False here"),
    (
        {"config": replace(CONFIG, num_samples=5, seed=1), "engine": "vllm"},
        0,
        "engine 'torch' there, 'vllm' here; seed 0 there, 1 here",
    ),
    ({"protocol": replace(PROTOCOL, max_completion_tokens=21)}, 0, "max_completion_tokens 20 there, 21 here"),
    ({"protocol": replace(PROTOCOL, stop=("\n",))}, 0, "stop [] there, ['\\n'] here"),
    ({"protocol": replace(PROTOCOL, name="add", form=SUM)}, 0, "protocol 'sums' there, 'add' here"),
    (
        {"protocol": replace(PROTOCOL, form=SUM)},
        0,
        f"protocol hash {PROTOCOL.hash!r} there, {replace(PROTOCOL, form=SUM).hash!r} here",
    ),
    ({"engine": "vllm"}, 0, "engine 'torch' there, 'vllm' here"),
    ({"fingerprint": "weights B"}, 0, "model fingerprint 'weights A' there, 'weights B' here"),
    ({"problems": PROBLEMS[1:]}, 15, "this one leaves out 1 of its 4 problems"),
    (
        {"problems": [replace(PROBLEMS[0], question="1 + 3"), *PROBLEMS[1:]]},
        15,
        "this one leaves out 5 of its 20 completions",
    ),
]


@pytest.mark.parametrize(("change", "kept", "named"), CHANGES, ids=[named[:20] for _, _, named in CHANGES])
def test_a_finished_evaluation_is_not_replaced(tmp_path: Path, change: dict[str, Any], kept: int, named: str) -> None:
    run(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    generator = SumGenerator()
    with pytest.raises(InputError) as refused:
        run(tmp_path, generator, **change)
    assert str(refused.value) == (
        f"{tmp_path} holds a finished evaluation, and this is another ({named}): choose another --out"
    )
    assert generator.generated == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_refusal_names_no_setting_of_samples_where_none_are_replaced(tmp_path: Path) -> None:
    run(tmp_path, config=replace(CONFIG, num_samples=0))
    with pytest.raises(InputError, match=r"this is another \(engine 'torch' there, 'vllm' here\)"):
        run(tmp_path, engine="vllm", config=replace(CONFIG, temperature=0.7, top_p=0.9, seed=1))


@pytest.mark.parametrize(("change", "kept", "named"), CHANGES, ids=[named[:20] for _, _, named in CHANGES])
def test_of_an_unfinished_one_is_kept_what_is_the_same(
    tmp_path: Path, change: dict[str, Any], kept: int, named: str
) -> None:
    unfinished(tmp_path)
    again = SumGenerator()
    evaluation = run(tmp_path, again, **change)
    completions = sum(len(outcome.of_kind(kind)) for outcome in evaluation.outcomes for kind in ("greedy", "sampled"))
    assert again.generated == completions - kept


@pytest.mark.parametrize(
    ("first", "change", "generated"),
    [
        (CONFIG, {"config": replace(CONFIG, num_samples=6)}, 4 * 2),
        (CONFIG, {"problems": [*sums((8, 8)), *reversed(PROBLEMS)]}, 5),
        (CONFIG, {"scorer": EqualsScorer(too_hard=["50"])}, 0),
        (replace(CONFIG, greedy=False), {}, 4),
        (replace(CONFIG, num_samples=0), {"config": EvaluationConfig(num_samples=2, temperature=0.5, seed=1)}, 4 * 2),
    ],
    ids=["more samples", "more problems", "another scorer", "greedy added", "samples added"],
)
def test_a_finished_evaluation_may_grow(
    tmp_path: Path, first: EvaluationConfig, change: dict[str, Any], generated: int
) -> None:
    run(tmp_path, config=first)
    more = SumGenerator()
    run(tmp_path, more, **change)
    assert more.generated == generated


@pytest.mark.parametrize(
    ("text", "message"), [('{"n": 500}', "no summary of an evaluation.*choose another --out"), ("{", "not JSON")]
)
def test_a_summary_of_something_else_is_not_replaced(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(InputError, match=message):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
    assert (tmp_path / "summary.json").read_text() == text


def test_every_record_is_in_the_file_before_the_next_is_generated(tmp_path: Path) -> None:
    class Reader(SumGenerator):
        def _complete(self, request: Request, seed: int, sampling: Sampling) -> Completion:
            assert (tmp_path / "records.jsonl").read_bytes().count(b"\n") == self.generated - 1
            return super()._complete(request, seed, sampling)

    reader = Reader()
    run(tmp_path, reader)
    assert reader.generated == 20


def test_a_session_that_is_cut_off_leaves_records_and_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(SumGenerator):
        def _complete(self, request: Request, seed: int, sampling: Sampling) -> Completion:
            if self.generated == 8:
                raise ConnectionError("the server is gone")
            return super()._complete(request, seed, sampling)

    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    with pytest.raises(ConnectionError):
        run(tmp_path, Broken())
    assert synced[-1] == (tmp_path / "records.jsonl").stat().st_size  # they are on the disk
    records, (cost,) = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("records.jsonl", "costs.jsonl")
    )
    assert len(records) == cost["completions"] == 7
    for name in ("prompt_tokens", "completion_tokens"):
        assert cost[name] == sum(record[name] for record in records)


def test_the_cost_is_of_the_evaluation_and_what_was_measured_of_its_sessions(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, SumGenerator(stop_after=7))
    (tmp_path / "costs.jsonl").unlink()  # as if that session had been killed
    killed = run(tmp_path).summary["cost"]
    # Prompts "Question: 1 + 1\nAnswer:" and the like, with a start token; answers "= 2" to "= 901".
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert (killed["completions"], killed["measured_completions"]) == (20, 13)
    assert killed["prompt_tokens"] == 5 * sum(map(prompt_length, PROBLEMS))
    assert killed["completion_tokens"] == sum(len(record["completion"]) for record in records)
    assert killed["measured_completion_tokens"] == sum(len(record["completion"]) for record in records[7:])

    unfinished(tmp_path)
    other = run(tmp_path, config=EvaluationConfig(num_samples=1, seed=1)).summary["cost"]
    assert (other["completions"], other["measured_completions"]) == (4 + 4, 13 + 4)  # greedy was there
    assert other["prompt_tokens"] == 2 * sum(map(prompt_length, PROBLEMS))


def test_longest_prompts_go_first(tmp_path: Path) -> None:
    generator = SumGenerator()
    run(tmp_path, generator, config=replace(CONFIG, num_samples=0))
    assert generator.prompt_lengths == sorted(generator.prompt_lengths, reverse=True)


def test_unscored_completions_are_left_out_and_counted(tmp_path: Path) -> None:
    evaluation = run(tmp_path, scorer=EqualsScorer(too_hard=["50", "51"]))
    values = values_by_metric(evaluation.outcomes, 4)
    assert "sums/20-30" not in values["greedy"]
    assert "sums/20-30" not in values["pass@1"]
    counts = evaluation.summary["counts"]
    assert (counts["greedy"]["unscored"], counts["sampled"]["unscored"]) == (1, 4)
    assert evaluation.summary["metrics"]["greedy"]["value"] == 1  # 3 of the 3 that were scored
    assert evaluation.summary["metrics"]["greedy"]["n"] == 3
    assert counts["greedy"]["pessimistic"] == 0.75  # 3 of 4, the unscored one counted wrong


def test_some_unscored_samples_shrink_a_question(tmp_path: Path) -> None:
    evaluation = run(tmp_path, scorer=EqualsScorer(too_hard=["51"]))
    values = values_by_metric(evaluation.outcomes, 4)
    unscored = evaluation.summary["counts"]["sampled"]["unscored"]
    assert 0 < unscored < 4
    assert values["pass@1"]["sums/20-30"] == 1  # what is left is right
    assert "sums/20-30" not in values["pass@4"]  # fewer than 4 are left


def test_sample_counts() -> None:
    assert [sample_counts(n) for n in (0, 1, 6, 8)] == [[], [1], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    run(tmp_path, progress=lambda *call: calls.append(call))
    assert calls[0] == ("generate", 0, 20)
    assert ("generate", 20, 20) in calls
    assert calls[-1] == ("grade", 20, 20)


def test_a_rating_scorer_is_refused(tmp_path: Path) -> None:
    class Rater(EqualsScorer):
        def _score(self, sample: Sample) -> Score:
            return Score(value=0.3, outcome=Outcome.RATED)

    with pytest.raises(InputError, match="rates instead of deciding"):
        run(tmp_path, scorer=Rater())


def test_problems_must_be_there_and_differ(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no problems"):
        run(tmp_path, problems=[])
    with pytest.raises(InputError, match="two problems have the id"):
        run(tmp_path, problems=[PROBLEMS[0], PROBLEMS[0]])


def test_a_generator_that_forgets_is_found_out(tmp_path: Path) -> None:
    class Forgetful(SumGenerator):
        def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, int, Completion]]:
            yield from list(super().stream(requests, sampling))[1:]

    with pytest.raises(RuntimeError, match="left out 2 of 20"):
        run(tmp_path, Forgetful())


def test_any_text_survives_the_records(tmp_path: Path) -> None:
    text = "two\nlines\u2028\x00\ud800 '\"\\ 三"

    class Babbler(SumGenerator):
        def _complete(self, request: Request, seed: int, sampling: Sampling) -> Completion:
            return Completion(text=text, ids=(1, 2), logprobs=(0.0, 0.0), finish_reason=FinishReason.LENGTH)

    problems = [replace(PROBLEMS[0], gold=text)]
    evaluation = run(tmp_path, Babbler(), problems=problems)
    assert load_evaluation(tmp_path) == evaluation
    assert evaluation.outcomes[0].sampled[3].completion == text
    assert evaluation.summary["counts"]["sampled"]["truncated"] == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_samples": -1}, "at least 0, got -1"),
        ({"num_samples": 0, "greedy": False}, "nothing to evaluate"),
        ({"temperature": 0.0}, "set num_samples to 0"),
        ({"top_p": 0.0}, "top_p"),
    ],
)
def test_impossible_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationConfig(**change)


def test_a_folder_that_is_no_evaluation(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an evaluation"):
        load_evaluation(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(InputError, match="not the summary of an evaluation"):
        load_evaluation(tmp_path)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        load_evaluation(tmp_path)


def test_files_that_do_not_fit_together(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "records.jsonl").write_text("")
    with pytest.raises(InputError, match="do not fit together"):
        load_evaluation(tmp_path)


def test_an_evaluation_prints_its_figures(tmp_path: Path) -> None:
    evaluation = run(tmp_path)
    figures = evaluation.summary["metrics"]
    shown, lines = str(evaluation), str(evaluation).splitlines()
    assert lines[0] == "n = 4"
    for name, metric in figures.items():
        [row] = [line for line in lines if line.startswith(f"│ {name} ")]
        cells = [cell.strip() for cell in row.split("│")]
        assert cells[2:4] == [f"{metric['value']:.3f}", f"{metric['low']:.3f} to {metric['high']:.3f}"]
    assert "sampled: 16 completions" in shown
    assert "\x1b" not in shown
    assert repr(evaluation).startswith("<Evaluation of 4 problems: greedy 1.000, pass@1 ")


def test_it_is_of_the_weights_that_the_generator_has_now(tmp_path: Path) -> None:
    generator = SumGenerator()
    first = evaluate(generator, EqualsScorer(), PROBLEMS, str(tmp_path / "a"), protocol=PROTOCOL, config=CONFIG)
    assert first.summary["fingerprint"] == "weights A"
    generator.fingerprint = lambda: "weights B"  # type: ignore[method-assign]
    with pytest.raises(InputError, match="model fingerprint 'weights A' there, 'weights B' here"):
        evaluate(generator, EqualsScorer(), PROBLEMS, str(tmp_path / "a"), protocol=PROTOCOL, config=CONFIG)


def test_by_default_it_is_greedy_and_eight_samples_of_boxed_answers(tmp_path: Path) -> None:
    summary = evaluate(SumGenerator(), EqualsScorer(), PROBLEMS, tmp_path).summary
    assert summary["protocol"]["name"] == "boxed-chat-0shot"
    assert (summary["counts"]["greedy"]["completions"], summary["counts"]["sampled"]["completions"]) == (4, 32)


def test_it_prints_what_a_log_says(tmp_path: Path) -> None:
    evaluation = run(tmp_path)
    summary = json.loads(json.dumps(evaluation.summary))
    summary["counts"]["sampled"] |= {"truncated": 8, "mean_completion_tokens": None}
    del summary["protocol"]["max_completion_tokens"]
    shown = str(replace(evaluation, summary=summary))
    assert "sampled: 16 completions; without an answer 0, truncated 8, not scored 0" in shown
    assert "50 % of them were cut off\n" in shown + "\n"


def test_in_a_notebook_the_text_has_the_table_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert "│ greedy " in str(run(tmp_path))
