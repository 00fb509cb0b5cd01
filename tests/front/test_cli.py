"""The command line from outside: what it makes of good input, and that bad input costs one line and leaves nothing."""

import errno
import gzip
import json
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme import cli
from markscheme.adapters import as_scorer
from markscheme.models import has_adapter, load_policy, save_policy
from markscheme.policy.make import make_model
from markscheme.scoring import Sample, Score

ROW = {"prompt": "1 + 2?", "completion": r"It is \boxed{3}.", "gold": "3"}
PAIR = {"prompt": "1 + 2?", "chosen": "3, of course", "rejected": "4, I think"}
PAIRS = [{**PAIR, "prompt": f"1 + {i}?", "chosen": f"{1 + i}, of course"} for i in range(30)]
TRAIN_ON_LONG = "train-reward-model long_pairs.jsonl --model policy --over-long leave-out --batch-size 8"
TINY = "--task generated --model policy --max-completion-tokens 4"
EVALUATE = f"evaluate {TINY} --limit 3 --num-samples 2"
GRPO = f"grpo {TINY} --steps 4 --prompts-per-step 2 --group-size 2 --checkpoint-every 1"
SFT = "sft --task generated --model policy --limit 12 --batch-size 4 --log-every 1 --checkpoint-every 1"
RFT, DPO = (f"{name} {TINY} --limit 2 --num-samples 2" for name in ("rft", "dpo"))
DRAWN = "--task generated --difficulty 1 --limit 16 --num-samples 6 --max-completion-tokens 40"
LEARNT = "--epochs 3 --batch-size 8 --log-every 1 --checkpoint-every 1"
EMBEDDED_RFT, EMBEDDED_DPO = (f"{name} {DRAWN} {LEARNT}" for name in ("rft", "dpo"))
TRAIN_REWARD_MODEL = "train-reward-model pairs.jsonl --model policy --batch-size 8 --log-every 1 --checkpoint-every 1"


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def tiny(tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    model = make_model(len(tokenizer), width=32, layers=1, seed=seed)
    model.config.max_position_embeddings = 512
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A folder with a tiny model and with good and bad files."""
    folder = tmp_path_factory.mktemp("cli")
    save_policy(tiny(tokenizer, seed=0), tokenizer, folder / "policy")
    (folder / "torn_policy").mkdir()
    for path in (folder / "policy").iterdir():
        (folder / "torn_policy" / path.name).write_bytes(path.read_bytes()[:1_000])
    (folder / "no_policy").mkdir()
    (folder / "run_folder" / "policy").mkdir(parents=True)
    (folder / "run_folder" / "policy" / "config.json").write_text("{}")
    texts = {
        "good.jsonl": lines(ROW, {**ROW, "completion": "no idea"}),
        "broken.jsonl": lines(ROW) + '{"completion": "3"\n',
        "list.jsonl": "[1, 2]\n",
        "deep.jsonl": "[" * 100_000 + "\n",
        "empty.jsonl": "\n\n",
        "no_completion.jsonl": lines(ROW, {"answer": "3", "text": "3"}),
        "no_gold.jsonl": lines({"completion": "3"}),
        "null_gold.jsonl": lines({**ROW, "gold": None}),
        "empty_gold.jsonl": lines({**ROW, "gold": " "}),
        "bad_gold.jsonl": lines({**ROW, "gold": r"\frac{1}{2"}),
        "problems.jsonl": lines({"question": "1 + 2?", "gold": "3"}),
        "bad_problems.jsonl": lines({"question": "1 + 2?", "gold": "3"}, {"question": "2 + 2?", "gold": r"\frac{1}{2"}),
        "empty_gold_problems.jsonl": lines({"question": "1 + 2?", "gold": ""}),
        "long_problems.jsonl": lines({"id": "long", "question": "egg " * 600, "gold": "3", "solution": "3"}),
        "pairs.jsonl": lines(*PAIRS),
        "no_chosen.jsonl": lines(PAIR, {"prompt": "1 + 2?", "rejected": "4"}),
        "same_pair.jsonl": lines({**PAIR, "rejected": PAIR["chosen"]}),
        "one_question.jsonl": lines(PAIR),
        "long_pairs.jsonl": lines(*PAIRS, {**PAIR, "chosen": "egg " * 600}),
        "broken.toml": "scorer = \n",
        "unknown.toml": 'scorrer = "math"\n',
        "wrong_type.toml": 'warmup_steps = "many"\n',
        "group.toml": "group_size = 1\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "latin.jsonl").write_bytes(lines(ROW, ROW).encode() + '{"completion": "ü"}\n'.encode("latin-1"))
    (folder / "torn.jsonl.gz").write_bytes(gzip.compress(lines(*[ROW] * 9_000).encode())[:-20])
    (folder / "plain.jsonl.gz").write_text(lines(ROW), encoding="utf-8")
    (folder / "other").mkdir()
    (folder / "other" / "notes.txt").write_text("mine", encoding="utf-8")
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of `made`, as the current one."""
    monkeypatch.chdir(made)
    return made


def run(command: str) -> int:
    """Runs a command line; of an option given twice, the last counts."""
    words = shlex.split(command)
    last = {word: place for place, word in enumerate(words) if word.startswith("--")}
    dropped = {place for place, word in enumerate(words) if last.get(word, place) != place}
    return cli.run([word for place, word in enumerate(words) if not {place, place - 1} & dropped])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and every empty folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
        if path.is_file() or not any(path.iterdir())
    }


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert error.startswith("markscheme: ")
    return error


BAD = [
    ("nonsense", "no command 'nonsense'; there are quickstart, score,"),
    ("score", "FILE requires an argument"),
    ("score missing.jsonl", "missing.jsonl: no such file"),
    ("score broken.jsonl", "broken.jsonl:2: not JSON"),
    ("score list.jsonl", "list.jsonl:1: begins with '[1, 2]', which is no JSON object"),
    ("score deep.jsonl", "deep.jsonl:1: begins with '[[[["),
    ("score latin.jsonl", "latin.jsonl:3: not readable as JSON in UTF-8"),
    ("score torn.jsonl.gz", "torn.jsonl.gz:"),
    ("score plain.jsonl.gz", "plain.jsonl.gz:1: not readable as gzip"),
    ("score empty.jsonl", "empty.jsonl: no rows in it"),
    ("score no_completion.jsonl", "no_completion.jsonl:2: no column 'completion'; it has 'answer', 'text'"),
    ("score no_gold.jsonl", "no_gold.jsonl:1: a verifier needs a gold"),
    ("score null_gold.jsonl", "null_gold.jsonl:1: column 'gold' must be text, got null"),
    ("score empty_gold.jsonl", "empty_gold.jsonl:1: the gold ' ' is empty"),
    ("score bad_gold.jsonl", r"bad_gold.jsonl:1: the braces of the gold '\\frac{1}{2' do not match"),
    ("score good.jsonl --scorer maths", "no scorer 'maths'; there are math, gsm8k, cmath"),
    ("score good.jsonl --scorer policy", "policy: no reward model in it"),
    ("score good.jsonl --scoer math", "--scoer"),
    ("score good.jsonl broken.jsonl", "do not know what to do with broken.jsonl"),
    ("score good.jsonl --out other", "other is a folder"),
    ("score good.jsonl --out good.jsonl/out.jsonl", "good.jsonl"),
    ("score good.jsonl --config", "--config needs a TOML file"),
    ("score good.jsonl --config missing.toml", "--config missing.toml: no such file"),
    ("score good.jsonl --config=broken.toml", "--config broken.toml: not TOML"),
    ("score good.jsonl --config unknown.toml", "scorrer"),
    (f"{EVALUATE}", "--out requires an argument"),
    (f"{EVALUATE} --out out --limit 0", "limit must be at least 1, got 0"),
    (f"{EVALUATE} --out out --limit few", 'unable to convert "few" into int'),
    (f"{EVALUATE} --out out --task gsm9k", "no task 'gsm9k'; there are gsm8k,"),
    (f"{EVALUATE} --out out --split tset", "no split 'tset'"),
    (f"{EVALUATE} --out out --task gsm8k --data empty.jsonl", "empty.jsonl: no problems in it"),
    (f"{EVALUATE} --out out --task gsm8k --data missing", "missing: no such file"),
    (f"{EVALUATE} --out out --task gsm8k --split dev", "gsm8k has no split 'dev'; it has train, test"),
    (f"{EVALUATE} --out out --task bad_problems.jsonl", r"bad_problems/1: the braces of the gold '\\frac{1}{2'"),
    (f"{EVALUATE} --out out --task empty_gold_problems.jsonl", "empty_gold_problems.jsonl:1: the gold is empty"),
    (f"{EVALUATE} --out out --difficulty 9", "difficulty must be 1 to 5, got 9"),
    (f"{EVALUATE} --out out --scorer maths", "no verifier 'maths'"),
    (f"{EVALUATE} --out out --scorer policy", "no verifier 'policy'; there are math"),
    (f"{EVALUATE} --out out --model missing/model", "cannot load the model 'missing/model'"),
    (f"{EVALUATE} --out out --model no_policy", "no_policy: no config.json in this folder"),
    (f"{EVALUATE} --out out --model torn_policy", "cannot load the model 'torn_policy': the files in this folder"),
    (f"{EVALUATE} --out out --dtype float64", "no dtype 'float64'"),
    (f"{EVALUATE} --out out --temperature nan", "temperature must be a finite number, got nan"),
    (f"{EVALUATE} --out out --top-p 2", "top_p must be above 0 and at most 1, got 2"),
    (f"{EVALUATE} --out out --max-completion-tokens 512", "--max-completion-tokens 4"),
    (f"{EVALUATE} --out other", "other is not empty and holds no evaluation"),
    (f"{EVALUATE} --out good.jsonl", "good.jsonl"),
    ("compare missing other", "missing: not an evaluation"),
    ("compare other other --out out", "other: not an evaluation"),
    ("compare other", "AFTER requires an argument"),
    (f"{GRPO} --out out --group-size 1", "group_size must be at least 2 to compare rollouts, got 1"),
    (f"{GRPO} --out out --config wrong_type.toml", 'wrong_type.toml: unable to convert "many" into int'),
    (f"{GRPO} --out out --stesp 3", "--stesp"),
    (f"{GRPO} --out out --learning-rate inf", "learning_rate must be a finite number, got inf"),
    (f"{GRPO} --out out --dev-split tset", "--dev-split tset: "),
    (f"{GRPO} --out out --dev-split tset", "no split 'tset'"),
    (
        f"{GRPO} --out out --task problems.jsonl --dev-split dev",
        "which has no split 'dev' (held-out takes some",
    ),
    (f"{GRPO} --out out --task problems.jsonl --split dev", "problems.jsonl is a file, which has no split 'dev'"),
    (f"{EVALUATE} --out out --task problems.jsonl --split dev", "problems.jsonl is a file, which has no split 'dev'"),
    (f"{GRPO} --out out --task problems.jsonl --dev-split held-out", "--dev-limit 200 holds out all of the"),
    (
        f"{EVALUATE} --out out --model run_folder",
        f"run_folder: a run folder; its policy is {Path('run_folder', 'policy')}",
    ),
    (f"{GRPO} --out out --scorer maths", "no scorer 'maths'"),
    (f"{GRPO} --out out --max-completion-tokens 500", "--max-completion-tokens 4"),
    (f"{GRPO} --out out --task bad_problems.jsonl", r"the braces of the gold '\\frac{1}{2'"),
    (f"{GRPO} --out out --task long_problems.jsonl", "tokens of problem long is more than the model's 512 positions"),
    (f"{GRPO} --out out --critic.gamma 0.9", "the estimator grpo has no critic: leave out --critic"),
    (f"{GRPO} --out out --estimator gae --critic.gamma 2", "gamma must be 0 to 1, got 2"),
    (f"{GRPO} --out out --labeller math --iteration-steps 1", "the scorer math cannot be trained further"),
    (f"{GRPO} --out out --refresh.replay-share 0.1", "give the --labeller too"),
    (f"{GRPO} --out out --scorer policy", "policy: no reward model in it"),
    (f"{GRPO} --out out --tracker comet", "comet"),
    (f"{GRPO} --out other", "other is not empty and holds no run"),
    (f"{SFT} --out out --task problems.jsonl", "problem problems/0 has no solution"),
    (f"{SFT} --out out --task long_problems.jsonl", "problem long has"),
    (f"{SFT} --out out --learning-rate 0", "learning_rate must be above 0, got 0"),
    (f"{SFT} --out other", "other is not empty and holds no run"),
    (f"{RFT} --out out --num-samples 0", "num_samples must be above 0, got 0"),
    (f"{RFT} --out out --temperature 0", "temperature must be above 0, got 0"),
    (f"{RFT} --out out --score-deadline-s 0", "score_deadline_s must be above 0 and finite, got 0"),
    (f"{RFT} --out out --scorer maths", "no scorer 'maths'"),
    (f"{RFT} --out out --max-completion-tokens 500", "--max-completion-tokens 4"),
    (f"{RFT} --out out --task bad_problems.jsonl", r"the braces of the gold '\\frac{1}{2'"),
    (f"{RFT} --out out --model no_policy", "no_policy: no config.json"),
    (f"{RFT} --out other", "other is not empty and holds no run"),
    (f"{DPO} --out out --beta 0", "beta must be above 0, got 0"),
    (f"{DPO} --out out --pairs-per-problem 0", "pairs_per_problem must be above 0, got 0"),
    (f"{DPO} --out out --learning-rate nan", "learning_rate must be a finite number, got nan"),
    (f"{DPO} --out out --config wrong_type.toml", 'wrong_type.toml: unable to convert "many" into int'),
    (f"{DPO} --out other", "other is not empty and holds no run"),
    ("train-reward-model missing.jsonl --model policy --out out", "missing.jsonl: no such file"),
    ("train-reward-model broken.jsonl --model policy --out out", "broken.jsonl:"),
    ("train-reward-model empty.jsonl --model policy --out out", "empty.jsonl: no pairs in it"),
    ("train-reward-model no_chosen.jsonl --model policy --out out", "no_chosen.jsonl:2: no column 'chosen'"),
    ("train-reward-model same_pair.jsonl --model policy --out out", "same_pair.jsonl:1:"),
    ("train-reward-model one_question.jsonl --model policy --out out", "held_out_share 0.1 of 1 questions"),
    ("train-reward-model long_pairs.jsonl --model policy --out out", "1 of 61 completions are longer"),
    (f"{TRAIN_REWARD_MODEL} --out out --held-out-share 1", "held_out_share must be above 0 and below 1, got 1"),
    (f"{TRAIN_REWARD_MODEL} --out out --model no_policy", "no_policy: no config.json"),
    (f"{TRAIN_REWARD_MODEL} --out other", "other is not empty and holds no run"),
    ("evaluate-reward-model missing pairs.jsonl", "missing: no reward model in it"),
    ("evaluate-reward-model policy pairs.jsonl --out out", "policy: no reward model in it"),
    ("evaluate-reward-model policy", "PAIRS requires an argument"),
    ("quickstart --out out --steps 0", "steps must be at least 1, got 0"),
    ("quickstart --out out --seeds 0", "--seeds"),
]


@pytest.mark.parametrize(("command", "named"), BAD, ids=[command for command, _ in BAD])
def test_bad_input_costs_one_line_and_leaves_nothing(
    command: str, named: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(here)
    assert run(command) == 2
    assert named in complaint(capsys)
    assert contents(here) == before


def test_a_run_that_cannot_go_on_says_why(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"{TRAIN_REWARD_MODEL} --out {tmp_path / 'one'} --learning-rate 1e30 --epochs 9") == 2
    assert "lower learning_rate" in complaint(capsys)
    monkeypatch.setattr("markscheme.commands.grpo.scorer_by_name", lambda name: as_scorer(lambda sample: None))
    assert run(f"{GRPO} --out {tmp_path / 'two'}") == 2
    assert "4 of 4 completions could not be scored, such as" in complaint(capsys)
    assert run(f"{RFT} --out {tmp_path / 'three'}") == 2
    assert "of 4 completions none is to be learned from: 0 are correct" in complaint(capsys)
    assert run(f"{DPO} --out {tmp_path / 'four'}") == 2
    assert "none of 2 problems has both a correct and an incorrect completion" in complaint(capsys)
    monkeypatch.setattr("markscheme.commands.sampled.scorer_by_name", lambda name: as_scorer(lambda sample: None))
    assert run(f"{DPO} --out {tmp_path / 'five'}") == 2
    assert "stopped: 4 of 4 completions could not be scored" in complaint(capsys)
    monkeypatch.setattr("markscheme.commands.sampled.scorer_by_name", lambda name: as_scorer(lambda sample: 0.5))
    assert run(f"{RFT} --out {tmp_path / 'six'}") == 2
    assert "give the --threshold above which a rating is correct" in complaint(capsys)
    assert run(f"{RFT} --out {tmp_path / 'seven'} --threshold 0.4") == 2
    assert "of 4 completions none is to be learned from: 4 are correct, 4 cut off" in complaint(capsys)


def test_a_bug_is_not_taken_for_bad_input(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("markscheme.commands.score.scorer_by_name", lambda name, lenient: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("score good.jsonl")


def test_score_adds_a_column_and_keeps_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    answers = [r"\boxed{3}", r"\boxed{4}", "no idea", "\ud800"] * 400  # more than are scored at a time
    rows = [{"n": n, "question": "1 + 2?", "completion": text, "answer": 3} for n, text in enumerate(answers)]
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(lines(*rows).encode()))
    assert run("score rows.jsonl.gz") == 0
    scored = [json.loads(line) for line in (tmp_path / "rows.scored.jsonl").read_text().splitlines()]
    assert [{key: row[key] for key in row if key != "score"} for row in scored] == rows
    assert [row["score"]["outcome"] for row in scored[:4]] == ["correct", "incorrect", "no_answer", "no_answer"]
    output = capsys.readouterr().out
    assert "1600 rows by math" in output
    assert "correct 400, incorrect 400, no_answer 800; mean value 0.2500" in output
    assert "scores: rows.scored.jsonl\n" in output
    assert {path.name for path in tmp_path.iterdir()} == {"rows.jsonl.gz", "rows.scored.jsonl"}


def test_the_command_line_overrules_the_settings_file(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "run.toml"
    settings.write_text(f'scorer = "gsm8k"\nout = "{tmp_path}/scored.jsonl"\n')
    assert run(f"score good.jsonl --config {settings}") == 0
    assert "2 rows by gsm8k" in capsys.readouterr().out
    assert run(f"score good.jsonl --config={settings} --scorer math") == 0
    assert "2 rows by math" in capsys.readouterr().out
    assert (tmp_path / "scored.jsonl").exists()

    settings.write_text('task = "generated"\nmodel = "policy"\nsteps = 1\ngroup_size = 3\nmax_completion_tokens = 4\n')
    assert run(f"grpo --config {settings} --out {tmp_path / 'run'} --prompts-per-step 2 --group-size 2") == 0
    record = (tmp_path / "run" / "config.toml").read_text()
    assert "steps = 1\nprompts_per_step = 2\ngroup_size = 2\n" in record


def test_evaluate_and_compare(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert run(f"{EVALUATE} --out {one}") == 0
    assert "pass@1" in capsys.readouterr().out
    records = (one / "records.jsonl").read_bytes()
    assert records.count(b"\n") == 3 * (1 + 2)
    assert run(f"{EVALUATE} --out {one}") == 0  # nothing is generated again
    assert (one / "records.jsonl").read_bytes() == records
    (one / "records.jsonl").write_bytes(records[:-10])  # as a kill leaves it
    (one / "summary.json").unlink()
    assert run(f"{EVALUATE} --out {one}") == 0
    assert sorted((one / "records.jsonl").read_bytes().splitlines()) == sorted(records.splitlines())

    assert run(f"{EVALUATE} --out {other} --seed 1") == 0
    capsys.readouterr()
    assert run(f"compare {one} {other} --out {tmp_path / 'report'}") == 0
    output = capsys.readouterr().out
    assert "n = 3" in output
    assert f"report: {tmp_path / 'report' / 'report.html'}\n" in output
    assert (tmp_path / "report" / "report.html").exists()

    assert run(f"{EVALUATE} --out {other} --num-samples 3 --seed 1") == 0
    capsys.readouterr()
    assert run(f"compare {one} {other} --out {tmp_path / 'none'}") == 2
    assert "num_samples 2 before, 3 after; evaluate both alike" in complaint(capsys)
    assert not (tmp_path / "none").exists()
    (one / "summary.json").write_text("{")
    assert run(f"compare {one} {other}") == 2
    assert "summary.json: not JSON" in complaint(capsys)


def test_a_finished_evaluation_is_not_replaced_by_another(
    here: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerBase, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(f"{EVALUATE} --out {out}") == 0
    save_policy(tiny(tokenizer, seed=1), tokenizer, tmp_path / "policy")
    before = contents(out)
    for change, named in (
        (f"--model {tmp_path / 'policy'}", "this is another (model fingerprint"),
        ("--split dev", "this is another (this one leaves out 3 of its 3 problems)"),
        ("--limit 2", "this one leaves out 1 of its 3 problems"),
        ("--seed 1", "seed 0 there, 1 here"),
    ):
        capsys.readouterr()
        assert run(f"{EVALUATE} --out {out} {change}") == 2
        assert named in complaint(capsys)
        assert contents(out) == before


@pytest.mark.parametrize(
    "command", [GRPO, SFT, EMBEDDED_RFT, EMBEDDED_DPO, TRAIN_REWARD_MODEL], ids=lambda command: command.split()[0]
)
def test_ctrl_c_and_the_same_command_goes_on(
    command: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(f"{command} --out {whole}") == 0
    assert f"in {whole}: " in capsys.readouterr().out

    from markscheme.progress import Bar

    def interrupt(bar: Bar, done: int, note: str = "") -> None:
        if done == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Bar, "update", interrupt)
        assert run(f"{command} --out {broken}") == 130
    assert "give the same command again to go on" in capsys.readouterr().err
    assert (broken / "metrics.jsonl").read_bytes().count(b"\n") == 2
    assert run(f"{command} --out {broken}") == 0
    results = {name: data for name, data in contents(whole).items() if not name.startswith(("timings", "checkpoints"))}
    assert any(name.endswith("model.safetensors") for name in results)
    for name, data in results.items():
        assert (broken / name).read_bytes() == data, name

    steps = (whole / "metrics.jsonl").read_bytes().count(b"\n")
    said = f"goes on after step 2 of {steps}, the last with a checkpoint" in capsys.readouterr().out
    assert said == (steps > 2)  # else all of them were done
    before = contents(broken)
    assert run(f"{command} --out {broken} --seed 7") == 2
    assert "seed was 0, is 7): choose another --out" in complaint(capsys)
    other = SFT if command != SFT else GRPO
    assert run(f"{other} --out {broken}") == 2
    assert "command was" in complaint(capsys)
    assert contents(broken) == before


def test_ctrl_c_leaves_no_half_scored_file(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        name = version = "interrupted"

        def score(self, samples: list[Sample]) -> list[Score]:
            raise KeyboardInterrupt

    monkeypatch.setattr("markscheme.commands.score.scorer_by_name", lambda name, lenient: Interrupted())
    monkeypatch.setattr("markscheme.commands.score.RULES", ())  # any other scorer works in this process
    assert run(f"score good.jsonl --out {tmp_path / 'out' / 'scored.jsonl'}") == 130
    assert "give the same command again to go on" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_reward_model_is_trained_measured_and_used(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert (
        run(f"train-reward-model long_pairs.jsonl --model policy --out {out} --over-long leave-out --batch-size 8") == 0
    )
    output = capsys.readouterr().out
    assert "1 completions are longer than 512 tokens: 0 cut, 1 left out with 1 pairs" in output
    for words in ("pair accuracy", "95 % interval", "questions", "always the longer one", "held-out pairs, n = "):
        assert words in output
    record = (out / "config.toml").read_text()
    assert 'file = "long_pairs.jsonl"\nsha256 = "' in record

    assert run(f"evaluate-reward-model {out} pairs.jsonl") == 2
    assert f"its reward model is {out / 'model'}" in complaint(capsys)
    assert run(f"evaluate-reward-model {out / 'model'} long_pairs.jsonl --out {tmp_path / 'figures.json'}") == 0
    assert "1 pairs without a score are left out" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["num_pairs"], figures["num_unscored"]) == (31, 1)
    assert 0 <= figures["scorer"]["low"] <= figures["scorer"]["accuracy"] <= figures["scorer"]["high"] <= 1
    assert run(f"evaluate-reward-model {out / 'model'} empty.jsonl") == 2
    assert "empty.jsonl: no pairs in it" in complaint(capsys)

    assert run(f"score good.jsonl --scorer {out / 'model'} --out {tmp_path / 'scored.jsonl'}") == 0
    assert "2 rows by reward_model" in capsys.readouterr().out
    assert run(f"{GRPO} --scorer {out / 'model'} --out {tmp_path / 'grpo'} --steps 1") == 0


def test_a_device_that_is_full_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score good.jsonl --out /dev/full") == 2
    assert "/dev/full: No space left on device" in complaint(capsys)
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)  # written to, not replaced by a file


def test_a_reward_model_is_trained_further_after_each_iteration(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A policy with random weights is never right, so there is nothing to pair: the model of before goes on."""
    reward, out = tmp_path / "reward", tmp_path / "grpo"
    assert (
        run(f"train-reward-model long_pairs.jsonl --model policy --out {reward} --over-long leave-out --batch-size 8")
        == 0
    )
    command = f"{GRPO} --scorer {reward / 'model'} --labeller math --out {out}"
    assert run(command) == 2
    assert "give --iteration-steps too" in complaint(capsys)
    assert run(f"{command} --iteration-steps 2") == 0
    assert "iteration 1: no pairs to train on" in capsys.readouterr().err
    record = json.loads((out / "reward-models" / "1" / "refresh.json").read_text())
    assert (record["iteration"], record["trained"]) == (1, False)
    rows = [json.loads(line) for line in (out / "completions.jsonl").read_text().splitlines()]
    assert len(rows) == 4 * 2 * 2, "every completion is kept, for they are what it learns from"
    assert [row["iteration"] for row in rows] == [0] * 8 + [1] * 8
    assert "[refresh.reward_model]" in (out / "config.toml").read_text()


@pytest.mark.parametrize("command", ["score good.jsonl --out {out}/x.jsonl", f"{EVALUATE} --out {{out}}"])
def test_no_room_leaves_nothing_half_written(
    command: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert run(command.format(out=tmp_path)) == 2
    assert "No space left on device; make room and give the same command again" in complaint(capsys)
    assert {path.name for path in tmp_path.iterdir()} <= {"records.jsonl"}  # an evaluation keeps its completions
    assert run(command.format(out=tmp_path)) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize(
    "command",
    [GRPO, SFT, TRAIN_REWARD_MODEL, "score many.jsonl"],
    ids=lambda command: command.split()[0],
)
def test_a_disk_that_is_really_full(
    command: str, here: Path, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "many.jsonl"
    rows.write_text(lines(*[ROW] * 2_000))
    command = command.replace("many.jsonl", str(rows))
    assert run(f"{command} --out {small_disk / 'out'}") == 2
    message = complaint(capsys)
    assert "No space left on device; make room" in message
    assert str(small_disk / "out") in message
    goes_on_with = {".out.partial", ".out.progress.json"} if command.startswith("score") else set()
    assert {path.name for path in small_disk.rglob(".*")} <= goes_on_with
    assert not list(small_disk.rglob("rest.pt"))
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    assert run(f"{command} --out {small_disk / 'out'}") == 0


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run("--help") == 0
    output = capsys.readouterr().out
    for name, text in cli.COMMANDS.items():
        assert name in output
        assert text in output


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_explains_every_option(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(f"{command} --help") == 0
    output = capsys.readouterr().out
    arguments = cli.make_app()[command].assemble_argument_collection(parse_docstring=True)
    assert len(arguments) > 2
    shown = " ".join(output.split())
    for argument in arguments:
        if argument.name == "*" or argument.children:  # settings as a whole, which stand there one by one
            continue
        assert argument.name in shown
        assert argument.parameter.help, f"{argument.name} has no help text"
        assert argument.parameter.help.split(".")[0][:30] in shown


def test_without_the_train_extra_score_works_and_the_rest_says_what_to_install(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"completion": "\\\\boxed{2}", "gold": "2"}\n')
    script = """
import sys
sys.modules.update(dict.fromkeys(("torch", "numpy", "transformers", "datasets", "scipy", "matplotlib", "jinja2")))
from markscheme.cli import run
print(run(["score", sys.argv[1]]), run(["evaluate", "--task", "generated", "--out", sys.argv[2]]))
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(file), str(tmp_path / "out")], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "0 2"
    assert re.fullmatch(
        r"markscheme: markscheme evaluate needs \w+, which is not installed: pip install 'markscheme\[train\]'\n",
        result.stderr,
    )
    assert not (tmp_path / "out").exists()


def test_score_choices_and_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"completion": "So it is (B).\nThe answer is B.", "gold": "B"},
        {"completion": "The answer is 12.", "gold": "C", "choices": ["7", "9", "12"]},
    ]
    (tmp_path / "choices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cli.run(["score", str(tmp_path / "choices.jsonl"), "--scorer", "choice", "--processes", "1"]) == 0
    assert "correct 2" in capsys.readouterr().out
    row = {"completion": "3 + 4 = 8. 2 * 4 = 8.", "step_ends": [10, 21]}
    (tmp_path / "steps.jsonl").write_text(json.dumps(row) + "\n")
    words = ["score", str(tmp_path / "steps.jsonl"), "--scorer", "steps", "--processes", "1", "--explain"]
    assert cli.run(words) == 0
    output = capsys.readouterr().out
    assert "value 0.5" in output
    assert "wrong   3 + 4 = 8" in output
    assert cli.run([*words, "--lenient"]) == 2
    assert "leave out --lenient" in capsys.readouterr().err


def test_an_adapter_on_a_coarse_model_is_trained_and_merged(here: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = "--dtype bfloat16 --lora-rank 2 --gradient-checkpointing --objective.kl-coef 0.1"
    assert run(f"{GRPO} {options} --updates-per-batch 2 --out {out}") == 0
    policy, _ = load_policy(str(out / "policy"), dtype="bfloat16")
    assert not has_adapter(policy)
    assert "lora_rank = 2" in (out / "config.toml").read_text()


@pytest.mark.parametrize("command", ["sft", "rft", "dpo"])
def test_an_adapter_is_trained_by_each_method(command: str, here: Path, tmp_path: Path) -> None:
    options = {"sft": SFT.replace("--model policy", "--model embedded"), "rft": EMBEDDED_RFT, "dpo": EMBEDDED_DPO}
    assert run(f"{options[command]} --lora-rank 2 --learning-rate 1e-2 --out {tmp_path / 'run'}") == 0
    trained, _ = load_policy(str(tmp_path / "run" / "policy"))
    before, _ = load_policy("embedded")
    moved = [name for name, t in trained.state_dict().items() if not torch.equal(t, before.state_dict()[name])]
    assert moved
    assert all("_proj" in name for name in moved)


def test_an_engine_that_is_none_is_named(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"{GRPO} --out {tmp_path / 'run'} --engine sglang") == 2
    assert "no engine 'sglang'; there are torch, vllm, and addresses of servers (http://...)" in complaint(capsys)
    assert run(f"{GRPO} --out {tmp_path / 'run'} --gpu-share 1.5") == 2
    assert "gpu_share must be above 0 and at most 1, got 1.5" in complaint(capsys)
    assert run(f"{GRPO} --out {tmp_path / 'run'} --async-depth 1") == 2
    assert "async_depth 1 needs vLLM servers (--engine http://...), not torch" in complaint(capsys)
    assert run(f"{GRPO} --out {tmp_path / 'run'} --async-depth 1 --engine http://127.0.0.1:9") == 2
    assert "learns from what older weights wrote: give an --objective.correction too" in complaint(capsys)
    assert not (tmp_path / "run").exists()


def test_a_server_that_is_not_there_ends_the_run_in_one_line(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"{GRPO} --out {tmp_path / 'run'} --engine http://127.0.0.1:9 --server-patience-s 0") == 2
    assert "http://127.0.0.1:9 has not answered for 0 s" in complaint(capsys)
