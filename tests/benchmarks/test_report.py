"""The report: what it says, that it needs nothing from outside, and that completions cannot harm it."""

import base64
import doctest
import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import markscheme.benchmarks.examples
import markscheme.benchmarks.wording
from markscheme.benchmarks.compare import Comparison, compare
from markscheme.benchmarks.examples import HEAD_CHARACTERS, TAIL_CHARACTERS, example_groups, shortened
from markscheme.benchmarks.outcomes import Evaluation, GradedCompletion, Kind, ProblemOutcome
from markscheme.benchmarks.report import write_report
from markscheme.benchmarks.wording import headline
from markscheme.generation import FinishReason
from markscheme.problems import Problem
from markscheme.scoring import Outcome, Score

HOSTILE = "</pre><script>alert(1)</script><img src=https://evil.example/x.png onerror=alert(2)>\x00\x1b[31m\ud800 &amp;"
TRAINING = [
    {"step": step, "reward": step / 40, "dev_accuracy": step / 40 if step % 10 == 0 else None} for step in range(31)
]


def graded(right: bool, kind: Kind, k: int, text: str) -> GradedCompletion:
    return GradedCompletion(
        kind=kind,
        k=k,
        completion=text,
        completion_tokens=12,
        finish_reason=FinishReason.STOP,
        score=Score(
            value=float(right),
            outcome=Outcome.CORRECT if right else Outcome.INCORRECT,
            answer="7" if right else text[-9:],
        ),
        vote=True if right else text[-9:],
    )


def evaluation(
    rights: Sequence[int], *, num_samples: int = 4, greedy: bool = True, text: str = "3 + 4 = 7", hostile: str = ""
) -> Evaluation:
    """`rights`: how many of a problem's samples are right, one number a problem; greedy is right from half on."""
    outcomes = tuple(
        ProblemOutcome(
            problem=Problem(
                id=f"sums/{index}{hostile}",
                question=f"3 + 4? {hostile}",
                gold=f"7{hostile}",
                source="own",
                split="test",
            ),
            greedy=graded(2 * right >= num_samples, "greedy", 0, text) if greedy else None,
            sampled=tuple(graded(k < right, "sampled", k, text) for k in range(num_samples)),
        )
        for index, right in enumerate(rights)
    )
    protocol = {
        "num_samples": num_samples,
        "temperature": 1.0,
        "max_completion_tokens": 20,
        "greedy": greedy,
        "stop": [],
        "scorer": "equals 1",
    }
    summary = {
        "fingerprint": "0123abcd",
        "protocol": protocol,
        "seed": 0,
        "date": "2026-01-02T03:04:05+00:00",
        "versions": {"markscheme": "0.1.0"},
    }
    return Evaluation(outcomes=outcomes, summary=summary)


class Page(HTMLParser):
    """What a browser would make of the page: tags with their attributes, and the text between them."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def written(out: Path, comparison: Comparison, **arguments: Any) -> Page:
    return Page(write_report(comparison, out, "Sums before and after", **arguments))


def test_docstring_examples() -> None:
    assert doctest.testmod(markscheme.benchmarks.wording).failed == 0
    assert doctest.testmod(markscheme.benchmarks.examples).failed == 0


def test_headline_of_a_gain() -> None:
    # 20 problems each: 1 of 4 right before, 3 of 4 after. Every difference is 0.5, so the interval is what 20
    # questions can exclude: 1 - 0.025^(1/20) = 16.8 % of others: 0.5 - 1.5 * 0.168 = 0.247, 0.5 + 0.5 * 0.168.
    comparison = compare(evaluation([1] * 20), evaluation([3] * 20))
    assert headline(comparison) == (
        "pass@1 rose from 0.250 to 0.750: +50.0 points (95 % interval +24.7 to +58.4), n = 20, one training seed."
    )


def test_a_handful_of_changes_is_no_rise() -> None:
    # 3 of 400 problems gained, none lost: the bootstrap excludes 0, the exact test (p = 2 / 2^3) does not
    before, after = evaluation([0] * 3 + [4] * 397), evaluation([4] * 400)
    text = headline(compare(before, after))
    assert text.startswith("pass@1 went from")
    assert "but p = 0.25: by chance as easily" in text


def test_headline_of_a_loss_and_of_nothing() -> None:
    assert headline(compare(evaluation([3] * 20), evaluation([1] * 20))).startswith(
        "pass@1 fell from 0.750 to 0.250: −50.0"
    )
    unclear = headline(compare(evaluation([1, 2, 3, 2]), evaluation([2, 1, 3, 2])))
    assert unclear.startswith("pass@1 went from 0.500 to 0.500: 0.0 points")
    assert "which includes no change" in unclear


def test_the_page_says_what_was_found(tmp_path: Path) -> None:
    comparison = compare(evaluation([0, 1, 2, 4] * 5), evaluation([2, 0, 3, 4] * 5))
    page = written(tmp_path, comparison, training_metrics=TRAINING, provenance={"command": "markscheme quickstart"})
    for words in (
        headline(comparison),
        "greedy accuracy",
        "maj@4",
        "constant guess",
        "markscheme quickstart",
        "0123abcd",
    ):
        assert words in page.text
    assert "Gained: 5" in page.text
    assert "By greedy accuracy, 5 problems got better and 0 got worse (exact McNemar test: p = 0.062)" in page.text


def test_every_file_is_there(tmp_path: Path) -> None:
    written(tmp_path, compare(evaluation([1, 2]), evaluation([2, 2])), training_metrics=TRAINING)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"report.html", "comparison.json", "pass_at_k.png", "training.png", "lengths.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.glob("*.png"))
    assert json.loads((tmp_path / "comparison.json").read_text())["num_problems"] == 2


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    page = written(tmp_path, compare(evaluation([1, 2]), evaluation([2, 2])), training_metrics=TRAINING)
    source = (tmp_path / "report.html").read_text()
    assert "http:" not in source
    assert "https:" not in source
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 3
    for picture in pictures:
        assert picture["alt"]
        head, _, data = str(picture["src"]).partition(",")
        assert head == "data:image/svg+xml;base64"
        assert b"<svg" in base64.b64decode(data)


def test_hostile_completions_stay_text(tmp_path: Path) -> None:
    sides = (evaluation([0, 4, 2], text=HOSTILE, hostile=HOSTILE), evaluation([4, 0, 2], text=HOSTILE, hostile=HOSTILE))
    plain = written(tmp_path / "plain", compare(evaluation([0, 4, 2]), evaluation([4, 0, 2])))
    path = write_report(compare(*sides), tmp_path / "hostile", HOSTILE, provenance={HOSTILE: HOSTILE})
    page = Page(path)
    # Same elements as a page of harmless completions, but for one more line of provenance (tr, th, td).
    assert sorted(tag for tag, _ in page.tags) == sorted([*(tag for tag, _ in plain.tags), "tr", "th", "td"])
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "<script>alert(1)</script>" in page.text
    assert "␀␛[31m? &amp;" in page.text


@pytest.mark.parametrize(("num_samples", "greedy"), [(0, True), (1, True), (4, False)])
def test_evaluations_of_one_kind(tmp_path: Path, num_samples: int, greedy: bool) -> None:
    sides = [evaluation(rights, num_samples=num_samples, greedy=greedy) for rights in ([0, 0], [num_samples, 0])]
    page = written(tmp_path, compare(*sides))
    assert ("Greedy" in page.text) == greedy
    assert ("Sampled" in page.text) == bool(num_samples)
    assert (tmp_path / "pass_at_k.png").exists() == (num_samples > 1)
    assert not (tmp_path / "training.png").exists()


def test_a_sample_that_shows_the_change_is_shown() -> None:
    sides = (evaluation([2, 4], greedy=False), evaluation([3, 1], greedy=False))
    gained, lost, unchanged = example_groups(compare(*sides))
    assert (gained.total, lost.total, unchanged.total) == (1, 1, 0)
    # Samples 1 and 2 are right before: the first wrong one is sample 3.
    assert (gained.examples[0].before.origin, gained.examples[0].before.style) == ("sample 3 of 4", "wrong")
    assert (gained.examples[0].after.origin, gained.examples[0].after.style) == ("sample 1 of 4", "right")
    assert (lost.examples[0].after.origin, lost.examples[0].after.style) == ("sample 2 of 4", "wrong")


def test_long_texts_lose_their_middle_and_say_so() -> None:
    text = "a" * HEAD_CHARACTERS + "b" * 1_234 + "c" * TAIL_CHARACTERS
    assert shortened(text) == "a" * HEAD_CHARACTERS + "\n\n[… 1,234 characters left out …]\n\n" + "c" * TAIL_CHARACTERS
    assert shortened("a" * 20) == "a" * 20
