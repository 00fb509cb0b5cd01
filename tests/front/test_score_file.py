"""`markscheme score` on files of any size: in order, in several processes, through kills, in constant memory."""

import errno
import gzip
import json
import os
import random
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from markscheme import cli, score_output, score_rows
from markscheme.commands import score as command
from markscheme.files import InputError
from markscheme.score_output import is_stream, open_output
from markscheme.score_rows import Batch, Tally, read_batches, score_here, score_lines
from markscheme.score_workers import score_in_workers
from markscheme.scoring import GoldError, Outcome, Sample, Score

TOY_SCORER = '''
import os, signal, time
from pathlib import Path
from markscheme.scoring import GoldError, Outcome, Score


def peak_kilobytes():
    # Not ru_maxrss: that counts the process that this one was forked from.
    return float(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


class Toy:
    """Does what the completion says."""

    name = "toy"

    def __init__(self, lenient=False):
        self.lenient = lenient
        self.version = "lenient" if lenient else "strict"

    def score(self, samples):
        if "WORKERS" in os.environ:
            Path(os.environ["WORKERS"], str(os.getpid())).touch()
        return [self.score_one(sample) for sample in samples]

    def score_one(self, sample):
        verb, _, rest = sample.completion.partition(" ")
        if sample.gold == "unreadable":
            raise GoldError(f"sample {sample.id}: no gold")
        if verb == "sleep":
            time.sleep(float(rest))
        elif verb == "wait_for":
            while not Path(rest).exists():
                time.sleep(0.01)
        elif verb == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif verb == "die_once" and not Path(rest).exists():
            Path(rest).touch()
            os._exit(7)
        elif verb == "memory":
            raise MemoryError
        elif verb == "raise":
            raise ZeroDivisionError("a bug")
        elif verb == "peak":
            return Score(value=peak_kilobytes(), outcome=Outcome.RATED)
        elif verb == "undecided":
            return Score(value=None, outcome=Outcome.UNDECIDED, evidence={"tier": "limit", "message": "took too long"})
        elif verb == "echo":
            facts = {"prompt": sample.prompt, "id": sample.id, "group": sample.group, "meta": dict(sample.meta)}
            return Score(value=1.0, outcome=Outcome.RATED, evidence=facts)
        evidence = {"tier": "toy", "kind": "length"}
        return Score(value=len(rest) / 7, outcome=Outcome.RATED, answer=rest, evidence=evidence)
'''

DRIVER = """
import os, sys
from markscheme import cli, score_output
from markscheme.commands import score
from toy_scorer import Toy, peak_kilobytes

score.RULES = ("math",)
score.scorer_by_name = lambda name, lenient: Toy(lenient)
score.MAX_BATCH_LINES = int(os.environ.get("MAX_BATCH_LINES", "10"))
score_output.CHECKPOINT_EVERY_S = 0.05
code = cli.run(sys.argv[1:])
if "PEAK" in os.environ:
    print(peak_kilobytes(), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder; the toy scorer stands for every verifier, here and in `start`."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "toy_scorer.py").write_text(TOY_SCORER)
    (programs / "driver.py").write_text(DRIVER)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend(programs)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(programs), os.environ.get("PYTHONPATH")])))
    monkeypatch.setattr(command, "scorer_by_name", toy)
    monkeypatch.setattr(command, "MAX_BATCH_LINES", 10)
    return tmp_path / "here"


def toy(name: str = "math", lenient: bool = False) -> Any:
    sys.modules.pop("toy_scorer", None)  # each test has its own
    import toy_scorer

    return toy_scorer.Toy(lenient)


def start(words: str, **options: Any) -> subprocess.Popen[str]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen([sys.executable, "-m", "driver", *shlex.split(words)], **options)


def ends_with(process: subprocess.Popen[str], code: int) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    return out, err


def write(path: Path, completions: Sequence[str], **columns: Any) -> None:
    rows = [{"n": n, "completion": text, **columns} for n, text in enumerate(completions)]
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


SLEEPS = [f"sleep {(n * 7 % 5) / 1_000}" for n in range(400)]  # 0.8 s in all, and neighbours unlike


def test_rows_stay_in_order_and_all_processes_work(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pids").mkdir()
    monkeypatch.setenv("WORKERS", str(tmp_path / "pids"))
    write(here / "rows.jsonl", SLEEPS)
    assert cli.run(["score", "rows.jsonl", "--processes", "3"]) == 0
    rows = read(here / "rows.scored.jsonl")
    assert [row["n"] for row in rows] == list(range(400))
    assert [row["score"]["answer"] for row in rows] == [text.removeprefix("sleep ") for text in SLEEPS]
    assert len(names(tmp_path / "pids")) == 3
    assert not any(lives(int(pid)) for pid in names(tmp_path / "pids"))
    output = capsys.readouterr().out
    assert "400 rows by toy strict: rated 400; mean value" in output
    assert "rows/s\nscores: rows.scored.jsonl\n" in output


def test_the_number_of_processes_and_the_packing_change_nothing(here: Path) -> None:
    write(here / "rows.jsonl", [f"say {'x' * (n % 50)}" for n in range(500)])
    write(here / "packed.jsonl.gz", [f"say {'x' * (n % 50)}" for n in range(500)])
    for words in ("rows.jsonl --processes 1 --out one", "rows.jsonl --out two", "packed.jsonl.gz --out three"):
        assert cli.run(["score", *words.split()]) == 0
    assert (here / "one").read_bytes() == (here / "two").read_bytes() == (here / "three").read_bytes()


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(
    name: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pids").mkdir()
    monkeypatch.setenv("WORKERS", str(tmp_path / "pids"))
    gate = tmp_path / "gate"  # closed, it keeps a run from ending before it is killed
    write(here / name, [*SLEEPS, f"wait_for {gate}"])
    moments = random.Random(0)
    for kills in range(6):
        before = lines_done(here / ".broken.progress.json")
        process = start(f"score {name} --processes 2 --out broken")
        if kills % 2:
            wait_until(lambda before=before: lines_done(here / ".broken.progress.json") > min(before, 300))
        time.sleep(moments.uniform(0, 0.1 if kills % 2 else 0.3))
        process.kill()
        process.communicate()
        assert not (here / "broken").exists()
    gate.touch()
    out, _ = ends_with(start(f"score {name} --processes 2 --out broken"), 0)
    ends_with(start(f"score {name} --processes 2 --out whole"), 0)
    assert out.startswith("going on after row ")
    assert (here / "broken").read_bytes() == (here / "whole").read_bytes()
    assert "\n401 rows by toy strict: rated 401; mean value" in out  # of all rows, not of the last run's
    assert names(here) == sorted([name, "whole", "broken"])
    wait_until(lambda: not any(lives(int(pid)) for pid in names(tmp_path / "pids")))


def lines_done(record: Path) -> int:
    done: int = json.loads(record.read_bytes())["progress"]["line"] if record.exists() else 0
    return done


def half_done(here: Path) -> None:
    """Leaves what a killed run leaves of rows.jsonl."""
    gate = here.parent / "gate"
    gate.unlink(missing_ok=True)
    write(here / "rows.jsonl", [*SLEEPS, f"wait_for {gate}"])
    process = start("score rows.jsonl --processes 1")
    wait_until(lambda: lines_done(here / ".rows.scored.jsonl.progress.json"))
    process.kill()
    process.communicate()
    gate.touch()


def test_another_input_or_option_starts_over(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half_done(here)
    assert cli.run(shlex.split("score rows.jsonl --lenient")) == 0
    named = "starting over: scorer_version was 'strict' when rows.scored.jsonl was begun, and is 'lenient'\n"
    assert named in capsys.readouterr().out
    assert len(read(here / "rows.scored.jsonl")) == 401

    half_done(here)
    write(here / "rows.jsonl", ["say yes", "say no"])
    assert cli.run(["score", "rows.jsonl"]) == 0
    assert "starting over: input_bytes was" in capsys.readouterr().out
    assert [row["score"]["answer"] for row in read(here / "rows.scored.jsonl")] == ["yes", "no"]

    half_done(here)
    (here / ".rows.scored.jsonl.partial").write_bytes(b"")
    assert cli.run(["score", "rows.jsonl"]) == 0
    assert "starting over: .rows.scored.jsonl.partial is shorter than it was" in capsys.readouterr().out
    assert len(read(here / "rows.scored.jsonl")) == 401
    assert names(here) == ["rows.jsonl", "rows.scored.jsonl"]


def test_two_runs_do_not_write_one_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "rows.jsonl", ["say yes"])
    with open_output(here / "rows.scored.jsonl", {}):
        assert cli.run(["score", "rows.jsonl"]) == 2
        assert "rows.scored.jsonl: another run is writing it; give another --out" in capsys.readouterr().err
    assert names(here) == ["rows.jsonl", "rows.scored.jsonl"]


def test_a_worker_that_dies_costs_the_row_that_killed_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    completions = [f"die_once {here}/once", *["say yes"] * 39, "die", *["say yes"] * 40, "memory", "raise"]
    write(here / "rows.jsonl", completions)
    assert cli.run(shlex.split("score rows.jsonl --processes 2")) == 3
    rows = read(here / "rows.scored.jsonl")
    assert [row["n"] for row in rows] == list(range(len(completions)))
    failed = {row["n"]: row["score"] for row in rows if row["score"]["outcome"] == "failed"}
    assert {n: score["evidence"]["message"] for n, score in failed.items()} == {
        40: "the scoring process was ended by SIGKILL on this row",
        81: "the scoring process ran out of memory on this row",
        82: "ZeroDivisionError: a bug",
    }
    assert all(score["value"] is None for score in failed.values())
    output = capsys.readouterr().out
    assert "83 rows by toy strict: rated 80, failed 3; mean value" in output
    assert "of the 80 scored rows" in output
    assert "first that failed: rows.jsonl:41: the scoring process was ended by SIGKILL on this row\n" in output


def test_workers_killed_from_outside_lose_nothing(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pids").mkdir()
    write(here / "rows.jsonl", SLEEPS)
    ends_with(start("score rows.jsonl --out whole"), 0)
    monkeypatch.setenv("WORKERS", str(tmp_path / "pids"))
    process = start("score rows.jsonl --processes 2")
    killed: set[str] = set()
    while process.poll() is None and len(killed) < 2:  # a third could meet one row alone, which then is FAILED
        for pid in sorted({*names(tmp_path / "pids")} - killed)[: 2 - len(killed)]:
            os.kill(int(pid), signal.SIGKILL)
            killed.add(pid)
            time.sleep(0.05)
    ends_with(process, 0)
    assert killed
    assert (here / "rows.scored.jsonl").read_bytes() == (here / "whole").read_bytes()


def test_workers_that_cannot_start_are_an_error(here: Path) -> None:
    scorer = toy()
    sys.path.remove(str(here.parent / "programs"))  # where the workers would find its module
    batch = Batch(lines=(b'{"completion": "say yes"}\n',), first_line=1, end_bytes=0, read_bytes=0)
    with pytest.raises(ChildProcessError, match="the scoring processes cannot start: the last one ended with code 1"):
        list(score_in_workers([batch], scorer, "rows.jsonl", 2))


def test_ctrl_c_ends_everything_at_once(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pids").mkdir()
    write(here / "rows.jsonl", [*SLEEPS[:100], "sleep 600", "sleep 600"])
    monkeypatch.setenv("WORKERS", str(tmp_path / "pids"))
    process = start("score rows.jsonl --processes 2", start_new_session=True)
    wait_until(lambda: lines_done(here / ".rows.scored.jsonl.progress.json"))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole group gets it
    stopped = time.monotonic()
    _, error = ends_with(process, 130)
    assert time.monotonic() - stopped < 10
    assert error == "\nstopped; give the same command again to go on\n"
    assert not any(lives(int(pid)) for pid in names(tmp_path / "pids"))
    assert not (here / "rows.scored.jsonl").exists()


LEAVING = """
import os, signal, socket
from multiprocessing.connection import Connection
from markscheme.score_workers import _work
from markscheme.scorer_process import run_scorer_process
import sys

close = Connection.__del__

def closed_while_the_signal_comes(self):
    os.kill(os.getpid(), signal.SIGTERM)
    close(self)

Connection.__del__ = closed_while_the_signal_comes
parent, worker = socket.socketpair()
parent.close()
sys.argv[1:] = [str(worker.detach())]
run_scorer_process(_work)
"""


def test_a_worker_whose_parent_goes_says_nothing(tmp_path: Path) -> None:
    # The parent closes two things, and the signal that follows from one may come while the other is put away.
    process = [sys.executable, "-c", LEAVING]
    result = subprocess.run(process, stdin=subprocess.PIPE, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("last_row", "message"),
    [
        ('{"completion": "x"', "rows.jsonl:301: not JSON"),
        (
            '{"gold": "x"}',
            "rows.jsonl:301: no column 'completion'; it has 'gold'; in place of it 'response', 'model_output', ",
        ),
        ('{"completion": "x", "gold": "unreadable", "id": "p7"}', "rows.jsonl:301: sample p7: no gold; correct this"),
        ('{"completion": "x", "gold": "unreadable"}', "markscheme: sample rows.jsonl:301: no gold; correct this line"),
    ],
)
def test_a_bad_line_is_named_and_leaves_all_as_it_was(
    last_row: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here / "rows.jsonl", ["say yes"] * 300)
    with (here / "rows.jsonl").open("a") as file:
        file.write(f"{last_row}\n{last_row}\n")
    (here / "rows.scored.jsonl").write_text("earlier")
    assert cli.run(["score", "rows.jsonl"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert (here / "rows.scored.jsonl").read_text() == "earlier"
    assert names(here) == ["rows.jsonl", "rows.scored.jsonl"]


def test_columns_have_the_names_that_a_log_has(here: Path) -> None:
    from markscheme.benchmarks.logs import read_log

    rows = [
        {"question": "1 + 2?", "response": "echo", "answer": "3"},
        {"input": "1 + 2?", "output": "echo", "gts": 3},
        {"prompt": "1 + 2?", "code": "not this", "completion": "echo", "answer": "4", "gt": "3"},
    ]
    (here / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    logged = read_log(here / "rows.jsonl")
    samples = [score_rows.sample_of(row, "") for row in rows]
    assert [(one.prompt, one.completion, one.gold) for one in samples] == [("1 + 2?", "echo", "3")] * 3
    assert [(one.question, one.completion, one.gold) for one in logged] == [("1 + 2?", "echo", "3")] * 3
    assert cli.run(["score", "rows.jsonl"]) == 0
    assert [row["score"]["evidence"]["prompt"] for row in read(here / "rows.scored.jsonl")] == ["1 + 2?"] * 3


def test_of_a_worked_solution_the_marked_answer_is_the_gold(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def gold(row: dict[str, Any]) -> Any:
        return score_rows.sample_of({"completion": "echo", **row}, "rows.jsonl:1").gold

    assert gold({"solution": r"1 + 2 is 3: \boxed{3}"}) == gold({"solution": "1 + 2 is 3\n#### 3"}) == "3"
    assert gold({"solution": r"\boxed{3}", "answer": "4"}) == "4"
    assert gold({"solution": "1 + 2 is 3"}) is None  # not its words, which nothing would equal
    (here / "rows.jsonl").write_text('{"completion": "\\\\boxed{5}", "solution": "So \\\\boxed{3}."}\n')
    assert cli.run(["score", "rows.jsonl", "--explain"]) == 0
    assert "    gold    3\n" in capsys.readouterr().out


CHAT = [{"role": "user", "content": "say what?"}]
SAID = [
    {"role": "assistant", "content": "say"},
    {"role": "tool", "content": "42"},
    {"role": "assistant", "content": [{"type": "text", "text": "yes"}]},
]


def test_of_messages_the_assistants_are_the_completion() -> None:
    sample = score_rows.sample_of({"prompt": CHAT, "completion": SAID, "gold": "yes"}, "rows.jsonl:1")
    assert (sample.prompt, sample.completion) == (tuple(CHAT), "say\nyes")


BAD_ROWS: list[tuple[dict[str, Any], str]] = [
    (
        {"text": "4"},
        "1: no column 'completion'; it has 'text'; in place of it 'response', 'model_output', 'generation', ",
    ),
    ({"completion": "4", "gold": None}, "1: column 'gold' must be text, got null"),
    ({"completion": {"text": "4"}}, "1: column 'completion' must be text, got an object"),
    ({"response": ["4"]}, "1: column 'response' must be text, got a list that does not hold messages, each with role"),
    ({"completion": [{"content": "4"}]}, "1: column 'completion' must be text, got a list that does not hold messages"),
    (
        {"completion": [{"role": "assistant", "content": [{"text": 4}]}]},
        "1: column 'completion' must be text, got a list",
    ),
    ({"completion": [{"role": "assistant", "content": [4]}]}, "1: column 'completion' must be text, got a list"),
    ({"completion": []}, "1: column 'completion' must be text, got a list that does not hold messages"),
    ({"completion": CHAT}, "1: column 'completion' holds messages of which none has the role 'assistant'"),
    (
        {"completion": "4", "prompt": [{"role": "user", "content": 4}]},
        "1: column 'prompt' must be text, got a list that",
    ),
]


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_a_row_that_cannot_be_read_is_named_in_words(
    row: dict[str, Any], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "rows.jsonl").write_text(json.dumps(row))
    assert cli.run(["score", "rows.jsonl"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"markscheme: rows.jsonl:{message}")
    assert error.endswith("; correct this line or take it out\n")
    assert error.count("\n") == 1


@pytest.mark.parametrize(("content", "start"), [("completion,gold\n4,4\n", "'completion,gold'"), ("[\n{}]", "'['")])
def test_another_format_is_one_line(content: str, start: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "rows.csv").write_text(content)
    assert cli.run(["score", "rows.csv"]) == 2
    assert capsys.readouterr().err == (
        f"markscheme: rows.csv:1: begins with {start}, which is no JSON object; JSON lines are needed, one object a "
        "line: write the file anew in that form\n"
    )
    assert names(here) == ["rows.csv"]


def test_one_row_is_no_rows(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "rows.jsonl", ["say 1234567"])
    assert cli.run(["score", "rows.jsonl"]) == 0
    output = capsys.readouterr().out
    assert "percent of the file 100/100 1 row\n1 row by toy strict: " in output
    write(here / "rows.jsonl", ["say 1234567", "undecided", "undecided"])
    assert cli.run(["score", "rows.jsonl"]) == 0
    assert "of the 1 scored row, 0.3333 with the 2 unscored ones as 0\n" in capsys.readouterr().out


def test_one_backslash_where_json_needs_two_is_warned_of(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        r'{"completion": "say \boxed{5}", "gold": "\frac12"}',
        r'{"completion": "say \boxed{5}", "gold": "\\frac12"}',
        r'{"completion": "say \\boxed{5}", "gold": "\frac12"}',
        r'{"completion": "say \\boxed{5}\n\there", "gold": "\\frac12"}',
    ]
    (here / "rows.jsonl").write_text("\n".join(rows))
    for words in ("--processes 2", "--explain"):
        assert cli.run(["score", "rows.jsonl", *words.split()]) == 0
        assert (
            "\nwarning: 3 rows hold a backspace or form feed in a completion or gold: likely \\boxed or \\frac written "
            'with one backslash, which JSON reads as such a character; write two ("\\\\boxed"), as json.dumps does\n'
        ) in capsys.readouterr().out
    for number, words in ((3, None), (0, "1 row holds")):
        (here / "rows.jsonl").write_text(rows[number])
        assert cli.run(["score", "rows.jsonl"]) == 0
        output = capsys.readouterr().out
        assert f"warning: {words} a backspace" in output if words else "warning" not in output


def test_the_input_is_not_overwritten(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "rows.jsonl", ["say yes"])
    before = (here / "rows.jsonl").read_bytes()
    (here / "link").symlink_to("rows.jsonl")
    (here / "folder").symlink_to(".")
    for out in ("rows.jsonl", "./rows.jsonl", f"{here}/rows.jsonl", "link", "folder/rows.jsonl"):
        assert cli.run(["score", "rows.jsonl", "--out", out]) == 2
        named = out.removeprefix("./")
        assert capsys.readouterr().err == f"markscheme: {named} is the input itself: choose another --out\n"
    (here / "rows.scored.jsonl").symlink_to("rows.jsonl")
    assert cli.run(["score", "rows.jsonl"]) == 2
    assert (here / "rows.jsonl").read_bytes() == before
    assert names(here) == ["folder", "link", "rows.jsonl", "rows.scored.jsonl"]


def test_undecided_rows_are_no_failure(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "rows.jsonl", ["say 1234567", "say 1234567", "say 1234567", "undecided"])  # 7 / 7 each
    assert cli.run(["score", "rows.jsonl"]) == 0
    output = capsys.readouterr().out
    assert "mean value 1.0000 of the 3 scored rows, 0.7500 with the 1 unscored one as 0\n" in output
    write(here / "rows.jsonl", ["undecided"])
    assert cli.run(["score", "rows.jsonl"]) == 0
    assert "undecided 1; no row could be scored\n" in capsys.readouterr().out


def test_a_full_disk_costs_no_row_that_is_done(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(here / "rows.jsonl", [f"say {n}" for n in range(100)])
    assert cli.run(shlex.split("score rows.jsonl --out whole")) == 0
    monkeypatch.setattr(score_output, "CHECKPOINT_EVERY_S", 0.0)
    fsync, calls = os.fsync, iter(range(1_000))

    def soon_full(file: int) -> None:
        if next(calls) == 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    monkeypatch.setattr(os, "fsync", soon_full)
    assert cli.run(shlex.split("score rows.jsonl --out broken")) == 2
    assert names(here) == [".broken.partial", ".broken.progress.json", "rows.jsonl", "whole"]
    assert cli.run(shlex.split("score rows.jsonl --out broken")) == 0
    assert (here / "broken").read_bytes() == (here / "whole").read_bytes()


def test_explain_says_why_row_by_row(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "rows.jsonl", ["say two\x1b[31m\nlines"], gold="7")
    with (here / "rows.jsonl").open("a") as file:
        file.write('\n{"completion": "undecided", "answer": 8}\n')
    assert cli.run(shlex.split("score rows.jsonl --explain")) == 0
    output = capsys.readouterr().out
    assert output.startswith(
        "rows.jsonl:1: rated, value 2\n"  # 14 characters / 7
        "    answer  two\\x1b[31m lines\n"
        "    gold    7\n"
        "    by      tier toy, kind length\n"
        "rows.jsonl:3: undecided, no value\n"
        "    gold    8\n"
        "    by      tier limit\n"
        "    because took too long\n"
        "2 rows by toy strict: "
    )
    assert names(here) == ["rows.jsonl"]
    assert cli.run(shlex.split("score rows.jsonl --explain --out scored")) == 0
    assert capsys.readouterr().out.startswith("rows.jsonl:1: rated")
    assert [row["score"]["outcome"] for row in read(here / "scored")] == ["rated", "undecided"]


@pytest.mark.parametrize(
    ("scorer", "completion", "words"),
    [
        (
            "math",
            "it is seven",
            r'such as \boxed{7}, <answer>7</answer>, #### 7 or "the answer is 7", or it is taken back',
        ),
        ("math", "it is seven", "; --lenient takes the last number of the last line\n"),
        (
            "math --lenient",
            "so x = 7+1",
            "the last line ends in no value that stands for one: it may be part of a calc",
        ),
        (
            "choice",
            "who knows",
            r'as the answer, such as \boxed{B} or "the correct option is B"; --lenient takes a letter',
        ),
        ("choice --lenient", "who knows", "no one letter is stated as the answer, and none stands alone on the last"),
    ],
)
def test_explain_says_why_there_is_no_answer(
    scorer: str, completion: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "rows.jsonl", [completion], gold="B" if "choice" in scorer else "7")
    assert cli.run(shlex.split(f"score {tmp_path}/rows.jsonl --explain --processes 1 --scorer {scorer}")) == 0
    output = capsys.readouterr().out
    assert "no_answer, value 0\n    answer  none\n" in output
    assert words in output
    assert "..." not in output  # it is whole


def test_explain_shows_no_answer_where_none_is_looked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "rows.jsonl", ["2 + 2 = 4"])
    assert cli.run(shlex.split(f"score {tmp_path}/rows.jsonl --explain --processes 1 --scorer steps")) == 0
    output = capsys.readouterr().out
    assert "rows.jsonl:1: rated, value 1\n" in output
    assert "    answer" not in output


@pytest.mark.parametrize("words", ["--explain", "--out /dev/stdout"])
def test_a_reader_that_leaves_ends_it_quietly(words: str, here: Path) -> None:
    write(here / "rows.jsonl", SLEEPS * 2)
    process = start(f"score rows.jsonl {words}")
    assert process.stdout
    assert process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, error = ends_with(process, 141)
    assert error == ""
    assert names(here) == ["rows.jsonl"]


def test_rows_go_into_pipes(here: Path) -> None:
    write(here / "rows.jsonl", ["say yes"] * 300)
    ends_with(start("score rows.jsonl"), 0)
    expected = (here / "rows.scored.jsonl").read_text()
    out, err = ends_with(start("score rows.jsonl --out /dev/stdout"), 0)
    assert out == expected
    assert "300 rows by toy strict" in err

    os.mkfifo(here / "pipe")
    process = start("score rows.jsonl --out pipe")
    assert (here / "pipe").read_text() == expected
    ends_with(process, 0)
    assert (here / "pipe").is_fifo()

    before = os.lstat("/dev/stdout")
    with (here / "file").open("w") as file:
        file.write("before\n")
        file.flush()
        ends_with(start("score rows.jsonl --out /dev/stdout", stdout=file), 0)
    assert (here / "file").read_text() == f"before\n{expected}"
    assert (os.lstat("/dev/stdout").st_ino, stat.S_ISLNK(before.st_mode)) == (before.st_ino, True)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory from /proc")
def test_memory_does_not_grow_with_the_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEAK", "1")
    monkeypatch.setenv("MAX_BATCH_LINES", "100")
    peaks = []
    for rows in (4_000, 40_000):
        write(here / "rows.jsonl", [*["say yes"] * rows, "peak"], padding="x" * 300)  # 1.4 MB, then 14 MB
        _, err = ends_with(start("score rows.jsonl --processes 1"), 0)
        peaks.append((float(err), read(here / "rows.scored.jsonl")[-1]["score"]["value"]))
    for few, many in zip(*peaks, strict=True):
        assert many < few + 3_000


def test_what_a_row_says_reaches_the_scorer(here: Path) -> None:
    facts = {"question": "1 + 2?", "id": 7, "group": "g", "completion_tokens": 3, "finish_reason": "stop", "other": 1}
    write(here / "rows.jsonl", ["echo"], **facts)
    with (here / "rows.jsonl").open("a") as file:
        file.write('{"completion": "echo", "id": null}\n')
    assert cli.run(["score", "rows.jsonl"]) == 0
    known, unknown = (row["score"]["evidence"] for row in read(here / "rows.scored.jsonl"))
    meta = {"completion_tokens": 3, "finish_reason": "stop"}
    assert known == {"prompt": "1 + 2?", "id": "7", "group": "g", "meta": meta}
    assert unknown == {"prompt": "", "id": "rows.jsonl:2", "group": None, "meta": {}}


def test_a_learned_scorer_works_in_this_process(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batches: list[int] = []

    class Learned:
        name = version = "learned"

        def score(self, samples: Sequence[Sample]) -> list[Score]:
            batches.append(len(samples))
            return [Score(value=1.0, outcome=Outcome.RATED) for _ in samples]

    monkeypatch.setattr(command, "scorer_by_name", lambda name, lenient: Learned())
    monkeypatch.setattr(command, "LEARNED_BATCH_LINES", 9)
    write(here / "rows.jsonl", ["say yes"] * 20)
    assert cli.run(shlex.split("score rows.jsonl --scorer folder")) == 0
    assert batches == [9, 9, 2]
    capsys.readouterr()
    assert cli.run(shlex.split("score rows.jsonl --scorer folder --processes 2")) == 2
    assert "leave out --processes 2" in capsys.readouterr().err
    assert cli.run(shlex.split("score rows.jsonl --processes 0")) == 2
    assert "processes must be at least 1, got 0" in capsys.readouterr().err


def test_batches_end_with_a_line_and_start_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_rows, "MAX_BATCH_BYTES", 9)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"12345\n\n123\n1234567890\n1")
    batches = list(read_batches(path, batch_lines=lambda line: 3))
    # Three lines of 6 + 1 + 4 = 11 bytes, then one of 11 that is long enough, then the 1 that is left.
    assert [batch.lines for batch in batches] == [(b"12345\n", b"\n", b"123\n"), (b"1234567890\n",), (b"1",)]
    ends = [(batch.first_line, batch.end_line, batch.end_bytes) for batch in batches]
    assert ends == [(1, 3, 11), (4, 4, 22), (5, 5, 23)]
    assert list(read_batches(path, batch_lines=lambda line: 3, after_line=3, after_bytes=11)) == batches[1:]
    rows = [(row.lines, row.first_line, row.end_bytes) for row in batches[0].apart()]
    assert rows == [((b"12345\n",), 1, 6), ((b"\n",), 2, 7), ((b"123\n",), 3, 11)]


def test_a_bad_gold_names_its_line_without_workers(here: Path) -> None:
    lines = [b'{"completion": "say yes"}\n', b'{"completion": "say yes", "gold": "unreadable", "id": "a"}\n']
    with pytest.raises(GoldError, match=r"^x.jsonl:8: sample a: no gold; correct this line or take it out$"):
        score_lines(lines, 7, toy(), "x.jsonl")
    batch = Batch(lines=tuple(lines[:1]), first_line=7, end_bytes=26, read_bytes=26)
    [scored] = score_here([batch], toy(), "x.jsonl")
    assert scored.tally == Tally(rows=1, outcomes={"rated": 1}, value_sum=3 / 7)


def test_what_is_a_file_and_what_is_a_stream(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for path in (Path("/dev/stdout"), Path("/dev/fd/1"), Path("/proc/self/fd/1"), tmp_path / "pipe"):
        assert is_stream(path)
    for path in (Path("/dev/shm/new.jsonl"), tmp_path / "new", tmp_path / "file"):
        assert not is_stream(path)
    with pytest.raises(InputError, match="is a folder: give the name of a file"), open_output(tmp_path, {}):
        pass


def test_tallies_add_up() -> None:
    one = score_rows.Tally(rows=2, outcomes={"correct": 2}, value_sum=2.0, mangled=1)
    other = score_rows.Tally(
        rows=3, outcomes={"correct": 1, "failed": 2}, value_sum=1.0, failure="x:4: down", mangled=2
    )
    both = score_rows.Tally(rows=5, outcomes={"correct": 3, "failed": 2}, value_sum=3.0, failure="x:4: down", mangled=3)
    assert one + other == both
    assert (one + other).unscored == 2


def test_an_input_is_a_prompt_where_nothing_else_is() -> None:
    row = {"input": "in", "completion": "4"}
    for name in ("prompt", "question", "problem"):
        assert score_rows.sample_of({**row, name: "asked"}, "x:1").prompt == "asked"
    assert score_rows.sample_of(row, "x:1").prompt == "in"
