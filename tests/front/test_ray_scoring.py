"""Scoring on a local Ray of two CPUs, beside scoring in this process."""

import gc
import gzip
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.cloudpickle
import ray.data
from ray.exceptions import RayTaskError
from transformers import PreTrainedTokenizerBase

from markscheme import cli, ray_scoring
from markscheme.models import save_policy
from markscheme.policy.make import make_model
from markscheme.ray_scoring import job, score_of, scored
from markscheme.reward_models import RewardModel, RewardNetwork
from markscheme.scoring import Outcome, Sample, Score, StepScore
from markscheme.verifiers import MathVerifier

pytestmark = pytest.mark.processes

PATIENCE_S = 60.0
INTEGRAL = r"\boxed{\int_0^1 2x\,dx}"
"""Which is compared with a letter by the symbolic tier, in processes of its own."""


@pytest.fixture(scope="module", autouse=True)
def address() -> Iterator[str]:
    """Of a Ray of our own, which neither phones home nor leaves anything behind."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a Ray worker cannot import this module
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray") as folder:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(16))  # else Ray writes one into the home folder
        patch.delenv("RAY_ADDRESS", raising=False)
        ray.init(
            "local",
            num_cpus=2,
            num_gpus=1,  # which Ray takes on trust
            include_dashboard=False,
            object_store_memory=150 << 20,
            log_to_driver=False,
            _temp_dir=folder,
        )
        gc.freeze()  # so that to collect what a test leaves takes no time
        yield ray.get_runtime_context().gcs_address
        gc.unfreeze()
        ray.shutdown()


@pytest.fixture(autouse=True)
def _afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a job sets holds for that test only, and so do the CPUs of its actors."""
    gc.collect()
    context = ray.data.DataContext.get_current()
    monkeypatch.setattr(context, "enable_progress_bars", False)
    monkeypatch.setattr(context, "target_max_block_size", context.target_max_block_size)
    monkeypatch.setattr(context.execution_options, "preserve_order", False)


class Toy:
    """Does what the completion says."""

    name, version = "toy", "1"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [self.score_one(sample) for sample in samples]

    def score_one(self, sample: Sample) -> Score:
        verb, _, rest = sample.completion.partition(" ")
        if verb == "undecided":
            return Score(value=None, outcome=Outcome.UNDECIDED, evidence={"tier": "limit", "seconds": 5.0})
        if verb == "raise":
            raise ZeroDivisionError("a bug")
        if verb == "steps":
            steps = StepScore(end=3, value=1.0), StepScore(end=len(rest), value=0.25)
            return Score(value=0.25, outcome=Outcome.RATED, steps=steps)
        if verb == "parts":
            part = Score(value=1.0, outcome=Outcome.CORRECT, answer=rest, evidence={"kind": {"boxed": True}})
            return Score(value=0.9, outcome=Outcome.RATED, parts={rest: part}, evidence={rest: [1, "two", None]})
        if verb == "die_once" and not Path(rest).exists():
            Path(rest).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if verb == "echo":
            facts = {"gold": sample.gold, "id": sample.id, "group": sample.group, "meta": dict(sample.meta)}
            return Score(value=1.0, outcome=Outcome.RATED, evidence=facts)
        return Score(value=len(rest) / 8, outcome=Outcome.RATED, answer=rest)


def problems() -> list[dict[str, Any]]:
    """Sums: right, wrong, without an answer, as a fraction; and two for the symbolic tier."""
    rows: list[dict[str, Any]] = []
    for i in range(60):
        answers = rf"\boxed{{{i + 7}}}", rf"\boxed{{{i}}}", "I do not know.", rf"\boxed{{\frac{{{2 * i + 14}}}{{2}}}}"
        rows.append({"id": f"q{i}", "prompt": f"What is {i} + 7?", "completion": answers[i % 4], "gold": str(i + 7)})
    for i in (5, 33):
        rows[i] |= {"completion": INTEGRAL, "gold": "y"}
    return rows


def written(folder: Path) -> bytes:
    return b"".join(part.read_bytes() for part in sorted(folder.iterdir()))


def lines_of(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def test_scores_are_those_of_this_process() -> None:
    rows = problems()
    samples = [Sample(**row) for row in rows]
    expected = {row["id"]: score for row, score in zip(rows, MathVerifier().score(samples), strict=True)}
    found = scored(
        ray.data.from_items(rows, override_num_blocks=4), MathVerifier, concurrency=2, batch_size=4
    ).take_all()
    assert {row["id"]: score_of(row["score"]) for row in found} == expected
    assert [{name: row[name] for name in rows[0]} for row in sorted(found, key=lambda row: int(row["id"][1:]))] == rows
    assert expected["q5"].evidence["tier"] == "symbolic"
    outcomes = [score.outcome for score in expected.values()]
    judged = (Outcome.CORRECT, Outcome.INCORRECT, Outcome.NO_ANSWER)
    assert [outcomes.count(outcome) for outcome in judged] == [30, 15, 15]


def test_each_actor_makes_one_scorer(tmp_path: Path) -> None:
    class Meeting(Toy):
        """Waits until there are two of it."""

        def __init__(self) -> None:
            (tmp_path / str(len(list(tmp_path.iterdir())))).write_text(str(os.getpid()))

        def score(self, samples: Sequence[Sample]) -> list[Score]:
            deadline = time.monotonic() + PATIENCE_S
            while len(list(tmp_path.iterdir())) < 2:
                assert time.monotonic() < deadline, "the other never came"
                time.sleep(0.05)
            return [Score(value=float(os.getpid()), outcome=Outcome.RATED) for _ in samples]

    rows = ray.data.from_items([{"completion": str(i)} for i in range(24)], override_num_blocks=8)
    found = scored(rows, Meeting, concurrency=2, batch_size=1).take_all()
    makers = {int(path.read_text()) for path in tmp_path.iterdir()}
    assert len(makers) == len(list(tmp_path.iterdir())) == 2
    assert {row["score"]["value"] for row in found} <= makers
    assert os.getpid() not in makers


FREE_FORM = ("rate aaa", "undecided", "raise", "steps one two", "parts a", "parts b", "undecided", "")


def test_batches_differ_in_what_their_scores_hold(tmp_path: Path) -> None:
    rows = [{"id": i, "completion": text} for i, text in enumerate(FREE_FORM)]
    found = scored(ray.data.from_items(rows, override_num_blocks=4), Toy, concurrency=1, batch_size=1).materialize()
    found.write_parquet(str(tmp_path / "parquet"))
    found.write_json(str(tmp_path / "json"))
    forms = {
        "parquet": pq.read_table(tmp_path / "parquet").to_pylist(),
        "json": [json.loads(line) for line in written(tmp_path / "json").splitlines()],
    }
    for form, records in forms.items():
        scores = {row["id"]: score_of(row["score"]) for row in records}
        failed = Score(value=None, outcome=Outcome.FAILED, evidence={"message": "ZeroDivisionError: a bug"})
        assert scores.pop(2) == failed, form
        assert scores == {
            i: Toy().score_one(Sample(prompt="", completion=text)) for i, text in enumerate(FREE_FORM) if i != 2
        }, form
        assert [row["score"]["value"] for row in records if row["id"] in (1, 2, 6)] == [None] * 3


def test_a_null_is_no_value_and_an_old_score_makes_room() -> None:
    rows = [
        {"completion": "echo", "id": "full", "gold": 7, "group": "g", "finish_reason": "stop", "choices": ["a", "b"]},
        {"completion": "echo", "id": "bare", "gold": None, "group": None, "finish_reason": None, "choices": None},
        {"completion": "echo", "id": None, "gold": 12, "group": None, "finish_reason": "length", "choices": None},
    ]
    rows = [{"score": "an old one", **row} for row in rows]
    found = scored(ray.data.from_arrow(pa.Table.from_pylist(rows)), Toy).take_all()
    assert [score_of(row["score"]).evidence for row in found] == [
        {"gold": "7", "id": "full", "group": "g", "meta": {"finish_reason": "stop", "choices": ["a", "b"]}},
        {"gold": None, "id": "bare", "group": None, "meta": {}},
        {"gold": "12", "id": "a row without id", "group": None, "meta": {"finish_reason": "length"}},
    ]
    assert [set(row) for row in found] == [set(row) for row in rows]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"id": "bad", "completion": r"\boxed{1}", "gold": "{1"},
            r"GoldError: sample bad: the braces of the gold '\{1'",
        ),
        ({"id": "bad", "completion": None, "gold": "1"}, "InputError: row 'bad': no column 'completion'; it has 'id'"),
    ],
)
def test_a_bad_row_is_named(row: dict[str, Any], message: str) -> None:
    rows = [{"id": "good", "completion": r"\boxed{1}", "gold": "1"}, row]
    with pytest.raises(RayTaskError, match=message):
        scored(ray.data.from_items(rows), MathVerifier).take_all()


def test_an_actor_that_dies_is_replaced(tmp_path: Path) -> None:
    marker = tmp_path / "died"
    rows = [{"id": i, "completion": f"die_once {marker}" if i == 5 else f"rate {'x' * i}"} for i in range(12)]
    found = scored(ray.data.from_items(rows, override_num_blocks=4), Toy, batch_size=2).take_all()
    assert marker.exists()
    values = {row["id"]: row["score"]["value"] for row in found}
    assert len(found) == 12
    assert values == {i: (len(str(marker)) if i == 5 else i) / 8 for i in range(12)}


# The command.


def hostile_rows() -> list[dict[str, Any]]:
    """What Ray's own readers change or cannot read."""
    texts = ["007", "0.10", "1e5", "2026-01-02", "a\u2028b", "half \ud83d", "\x1f\x85", ""]
    golds: list[Any] = [7, "007", 0.5, 10**30, "2026-01-02", "1/2"]
    notes: list[Any] = [None, 1, "one", {"k": [1]}, [2.0]]
    return [
        {"completion": f"{text} \\boxed{{{i}}}", "gold": golds[i % 6], "note": notes[i % 5]}
        for i, text in enumerate(texts * 2)
    ]


def test_the_job_writes_what_the_command_writes(tmp_path: Path, address: str) -> None:
    source, out, expected = tmp_path / "in", tmp_path / "out", tmp_path / "expected.jsonl"
    source.mkdir()
    parts = lines_of(problems()[:40]), "\n" + lines_of(problems()[40:]) + lines_of(hostile_rows()) + "\n\n"
    (source / "a.jsonl").write_text(parts[0])
    (source / "b.jsonl.gz").write_bytes(gzip.compress(parts[1].encode()))
    (source / "notes.txt").write_text("not read")
    whole = tmp_path / "whole.jsonl"
    whole.write_text("".join(parts))
    assert cli.run(["score", str(whole), "--processes", "1", "--out", str(expected)]) == 0

    options = ["--scorer", "math", "--concurrency", "2", "--batch-size", "7"]
    command = [sys.executable, "-m", "markscheme.ray_scoring", str(source), str(out), *options]
    environment = os.environ | {"RAY_ADDRESS": address}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    assert written(out) == expected.read_bytes()
    assert len(list(out.iterdir())) > 1
    counts, place = found.stdout.splitlines()
    assert counts.startswith("76 rows by math ")
    assert "correct 3" in counts
    assert place == f"scores: {out}"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_job_takes_parquet_a_reward_model_and_gpus(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model(len(tokenizer), width=32, layers=1, seed=0)
    save_policy(model, tokenizer, tmp_path / "policy")
    RewardNetwork.from_pretrained(str(tmp_path / "policy"), seed=1).save(tmp_path / "reward")
    rows = [{**row, "flaw": None} for row in problems()]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=20)
    source, out, scorer = (str(tmp_path / name) for name in ("in.parquet", "out", "reward"))
    assert job(source, out, scorer=scorer, num_gpus_each=0.5, concurrency=1) == 0
    table = pq.read_table(out)
    assert table.schema.field("score").type == ray_scoring.SCORE_TYPE
    assert table.drop_columns(["score"]).to_pylist() == rows
    scores = [score_of(score) for score in table["score"].to_pylist()]
    expected = RewardModel(tmp_path / "reward").score(
        [Sample(prompt=row["prompt"], completion=row["completion"]) for row in rows]
    )
    assert [score.value for score in scores] == pytest.approx([score.value for score in expected], abs=1e-5)
    assert [score.evidence["tokens"] for score in scores] == [score.evidence["tokens"] for score in expected]
    said = capsys.readouterr()
    assert said.out.startswith("60 rows by reward_model ")
    assert "markscheme: warning" not in said.err


def test_the_job_says_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray_scoring, "scorer_by_name", lambda name: Toy())
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 1.0})
    source = tmp_path / "in.jsonl"
    source.write_text(lines_of([{"completion": text} for text in FREE_FORM]))
    assert job(str(source), str(tmp_path / "out")) == 3
    said = capsys.readouterr()
    assert "8 rows by toy 1: rated 5, undecided 2, failed 1; mean value" in said.out
    assert f"first that failed: {source}:3: ZeroDivisionError: a bug" in said.out
    assert "markscheme: warning: the job waits until there are two CPUs" in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("in.jsonl", "old"), "old exists: give a new folder"),
        (("in.jsonl", "in.jsonl"), "in.jsonl exists: give a new folder"),
        (("gone.jsonl", "out"), "gone.jsonl: no such file"),
        (("old", "out"), "old: neither .jsonl nor .jsonl.gz, nor a folder of such files"),
        (
            ("bad.jsonl", "out"),
            "bad.jsonl:61: sample bad: the braces of the gold '{' do not match; correct this line or",
        ),
        (
            ("nameless.jsonl", "out"),
            "nameless.jsonl:61: no column 'completion'; it has 'gold'; in place of it",
        ),
        (("blank.jsonl", "out"), "blank.jsonl: no rows in it"),
        (("cut.jsonl.gz", "out"), "cut.jsonl.gz: not readable after line 0 .*; give it whole again"),
        (("in.jsonl", "out", "--scorer", "maths"), "no scorer 'maths'; there are math, "),
        (("in.jsonl", "out", "--concurrency", "0"), "concurrency must be at least 1, got 0"),
        (("in.jsonl", "out", "--batch-size", "0"), "batch_size must be at least 1, got 0"),
        (
            ("in.jsonl", "out", "--num-gpus-each", "1.5"),
            "num_gpus_each must be a whole number or a part of one, got 1.5",
        ),
        (
            ("in.jsonl", "out", "--num-gpus-each", "nan"),
            "num_gpus_each must be a whole number or a part of one, got nan",
        ),
        (("in.jsonl", "scheme://out"), "scheme://out: "),
        (("in.jsonl", "out", "--fast"), 'Unknown option: "?--fast'),
        (("in.jsonl",), "OUT"),
    ],
)
def test_what_cannot_be_used_ends_in_one_line(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old").mkdir()
    Path("in.jsonl").write_text(lines_of(problems()))
    Path("bad.jsonl").write_text(lines_of([*problems(), {"id": "bad", "completion": "1", "gold": "{"}]))
    Path("nameless.jsonl").write_text(lines_of([*problems(), {"gold": "1"}]))
    Path("blank.jsonl").write_text("\n\n")
    Path("cut.jsonl.gz").write_bytes(gzip.compress(lines_of(problems()).encode())[:100])
    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setattr(sys, "argv", ["ray_scoring", *arguments])
    with pytest.raises(SystemExit) as ended:
        ray_scoring.main()
    assert ended.value.code == 2
    [said] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("markscheme: ")]
    assert re.search(message, said), said
    assert sorted(path.name for path in tmp_path.iterdir()) == before
