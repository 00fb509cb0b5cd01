"""The report: what it says, that it needs nothing from outside, and that completions cannot harm it."""

import base64
import doctest
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from matplotlib.collections import LineCollection

import markscheme.benchmarks.examples
import markscheme.benchmarks.wording
from markscheme.benchmarks.comparison import Comparison, compare
from markscheme.benchmarks.examples import HEAD_CHARACTERS, TAIL_CHARACTERS, example_groups, shortened
from markscheme.benchmarks.outcomes import LOG_ENGINE, Evaluation, GradedCompletion, Kind, ProblemOutcome
from markscheme.benchmarks.plots import group_map_figure, lengths_figure, pass_at_k_figure
from markscheme.benchmarks.report import write_report
from markscheme.benchmarks.shown import evaluation_remarks
from markscheme.benchmarks.wording import headline, measured, sensitivity, warnings_of, worst_group
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
        if tag in ("td", "th"):
            self.text += " "

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
    assert "but p = 0.25 does not rule out chance), n = 400" in text


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


def test_one_problem_is_no_plural() -> None:
    comparison = compare(evaluation([0]), evaluation([4]))
    assert "1 problem got better and 0 got worse" in sensitivity(comparison)
    assert "With 1 problem, " in sensitivity(comparison)
    assert measured(comparison).startswith("1 problem; for each")
    assert "By greedy accuracy, 2 problems got better" in sensitivity(compare(evaluation([0, 0]), evaluation([4, 4])))


def test_what_more_samples_could_do_is_said_where_it_is_something() -> None:
    def remark(share: float | None) -> list[str]:
        one = with_summary(
            evaluation([1, 3]),
            metrics={"pass@1": {"sampling_share": share, "value": 1.0}},
            constant_guess={"answer": "42", "accuracy": 0.5},
            counts={},
            batch_invariant=True,
        )
        return evaluation_remarks(one)

    # 1 - sqrt(1 - 0.36) = 20 %; 1 - sqrt(1 - 0.015) = 0.8 %
    assert remark(0.36) == [
        "pass@1: more samples of each problem could narrow its interval by at most 20 %; beyond that it takes more "
        "problems"
    ]
    assert "at most 1 %" in remark(0.02)[0]  # 1 - sqrt(1 - 0.02) = 1.005 %
    assert remark(0.015) == remark(0.0) == remark(None) == []


def test_what_is_no_better_than_one_constant_answer_is_said_to_be_so() -> None:
    def hints(greedy: float, at_one: float, floor: float) -> list[str]:
        one = with_summary(
            evaluation([1, 3]),
            metrics={"greedy": {"value": greedy}, "pass@1": {"value": at_one}, "pass@8": {"value": 1.0}},
            constant_guess={"answer": "42", "accuracy": floor},
            counts={},
            batch_invariant=True,
        )
        return evaluation_remarks(one)

    assert hints(0.2, 0.1, 0.2) == [
        "no better than always answering 42: read some completions; does the protocol ask as the model was taught?"
    ]
    assert hints(0.2, 0.3, 0.2) == hints(0.3, 0.2, 0.2) == []
    assert hints(1.0, 1.0, 1.0) == []  # all have one answer, which was given


def test_intervals_stand_side_by_side() -> None:
    comparison = compare(evaluation([0, 1, 2, 4]), evaluation([2, 0, 3, 4]))
    axes = pass_at_k_figure(comparison.values).axes[0]
    intervals = [one for one in axes.collections if isinstance(one, LineCollection)]
    assert len(intervals) == len(axes.collections) == 2  # no bands, which would lie on one another
    places = [one.get_transform().transform([(1, 0.5)])[0][0] for one in intervals]
    assert places[0] < axes.transData.transform([(1, 0.5)])[0][0] < places[1]
    lowest, highest = axes.get_ylim()
    for one in intervals:
        ends = [end for segment in one.get_segments() for _, end in segment]
        assert lowest <= min(ends) <= max(ends) < highest


def test_no_length_is_cut_off() -> None:
    def of_lengths(*lengths: int) -> Evaluation:
        one = evaluation([0] * len(lengths), num_samples=0)
        written = [replace(graded(True, "greedy", 0, "7"), completion_tokens=length) for length in lengths]
        pairs = zip(one.outcomes, written, strict=True)
        return replace(one, outcomes=tuple(replace(outcome, greedy=greedy) for outcome, greedy in pairs))

    axes = lengths_figure(of_lengths(100, 130), [of_lengths(101, 170)]).axes[0]
    low, high = axes.get_xlim()
    edges = sorted({float(x) for patch in axes.patches for x, _ in patch.get_path().vertices})
    assert low < edges[0] <= 100
    assert 171 <= edges[-1] < high
    assert {b - a for a, b in pairwise(edges)} == {3.0}  # 71 lengths in 24 bins, of whole tokens
    lengths_figure(of_lengths(0), [of_lengths(0)])


def test_every_column_is_there_on_a_phone(tmp_path: Path) -> None:
    written(tmp_path, compare(evaluation([1, 2]), evaluation([2, 2])))
    assert "display: none" not in (tmp_path / "report.html").read_text()


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


def with_summary(one: Evaluation, **changes: Any) -> Evaluation:
    return replace(one, summary={**one.summary, **changes})


COST = {
    "completions": 10,
    "prompt_tokens": 70,
    "completion_tokens": 120,
    "measured_completions": 10,
    "measured_completion_tokens": 120,
    "seconds": 4.0,
    "cpu_seconds": 3.0,
    "peak_mb": 250.0,
}


def table_of(page: Page, heading: str) -> str:
    return " ".join(page.text.partition(heading)[2].partition("Completions side by side")[0].split())


def test_what_it_took(tmp_path: Path) -> None:
    before = with_summary(evaluation([1, 2]), cost=COST)
    after = with_summary(evaluation([2, 2]), cost={**COST, "completion_tokens": 240, "measured_completion_tokens": 240})
    table = table_of(written(tmp_path / "one", compare(before, after)), "What it took")
    assert "before after completion tokens 120 240 prompt tokens 70 70 seconds 4 4" in table
    assert "completion tokens a second 30 60 processor seconds 3 3 peak memory, MB 250 250" in table
    assert "Seconds and memory" not in table
    killed = with_summary(after, cost={**COST, "measured_completions": 4, "measured_completion_tokens": 40})
    table = table_of(written(tmp_path / "killed", compare(before, killed)), "What it took")
    assert "completion tokens a second 30 10" in table
    assert "after, 4 completions in place of 10" in table
    page = written(tmp_path / "log", compare(before, evaluation([2, 2])))
    assert "What it took" not in page.text


def test_every_training_seed_is_in_the_report(tmp_path: Path) -> None:
    before = with_summary(evaluation([0, 4, 2]), cost=COST)
    seeds = [
        with_summary(
            evaluation(rights, text=f"by seed {number}"),
            fingerprint=f"weights-{number}",
            engine=engine,
            cost={**COST, "seconds": seconds},
        )
        for number, (rights, engine, seconds) in enumerate([([0, 4, 2], "torch", 4.0), ([4, 0, 2], "vllm", 8.0)], 1)
    ]
    comparison = compare(with_summary(before, engine="torch"), *seeds)
    page = written(tmp_path, comparison)
    assert "Generated by different engines: torch and vllm." in page.text
    assert "weights-1" in page.text
    assert "weights-2" in page.text
    assert "weights after 2" in page.text
    endings = table_of(page, "How the completions end")
    assert "before after, 2 seeds Greedy completions 3 6" in endings
    assert "before after, mean of seeds completion tokens 120 120 prompt tokens 70 70 seconds 4 6" in endings
    gained, lost, _ = example_groups(comparison)
    assert [(one.examples[0].after.origin, one.examples[0].after.style) for one in (gained, lost)] == [
        ("after 2, greedy", "right"),  # the first seed is wrong on it still
        ("after 2, greedy", "wrong"),
    ]
    assert gained.examples[0].after.text == "by seed 2"
    assert comparison.to_dict()["after"] == ["weights-1", "weights-2"]


def test_what_was_not_scored_is_listed(tmp_path: Path) -> None:
    score = Score(value=None, outcome=Outcome.UNDECIDED, answer="1/0\x1b", evidence={"reason": "took too long"})
    after = evaluation([2, 2])
    first = after.outcomes[0]
    sampled = (*first.sampled[:3], replace(first.sampled[3], score=score, finish_reason=FinishReason.LENGTH))
    after = replace(after, outcomes=(replace(first, sampled=sampled), *after.outcomes[1:]))
    page = written(tmp_path / "one", compare(evaluation([1, 2]), after))
    text = " ".join(page.text.partition("Not scored: 1")[2].partition("Where the numbers")[0].split())
    assert text.endswith("why sums/0 after, sample 4 of 4, cut off 1/0␛ took too long")
    assert "Not scored: 0" not in written(tmp_path / "none", compare(evaluation([1, 2]), evaluation([2, 2]))).text


def unlucky(evaluation: Evaluation, count: int, **changes: Any) -> Evaluation:
    """With so many of the sampled completions changed, one a problem."""
    outcomes = tuple(
        replace(outcome, sampled=(replace(outcome.sampled[0], **changes), *outcome.sampled[1:]))
        if place < count
        else outcome
        for place, outcome in enumerate(evaluation.outcomes)
    )
    return replace(evaluation, outcomes=outcomes)


def test_loud_warnings_have_a_threshold() -> None:
    before, after = evaluation([1] * 50), evaluation([2] * 50)  # 200 samples: 2 % are 4
    assert warnings_of(compare(before, after)) == []
    few, many = (unlucky(after, count, finish_reason=FinishReason.LENGTH) for count in (4, 5))
    assert warnings_of(compare(before, few)) == []
    cut = "2.5 % of the sampled completions after were cut off at the token limit."
    assert warnings_of(compare(before, many)) == [cut]
    unknown = Score(value=None, outcome=Outcome.FAILED, evidence={"error": "no"})
    assert warnings_of(compare(before, unlucky(after, 4, score=unknown))) == []
    lost = unlucky(before, 5, score=unknown)
    assert warnings_of(compare(lost, after)) == ["2.5 % of the sampled completions before could not be scored."]


def test_engines_and_logs_are_named() -> None:
    before, after = (with_summary(evaluation([right]), engine="torch", batch_invariant=True) for right in (1, 2))
    assert warnings_of(compare(before, after)) == []
    loose = with_summary(after, engine="vllm", batch_invariant=False)
    assert warnings_of(compare(before, loose)) == [
        "Generated by different engines: torch and vllm.",
        "The engine (vllm) does not promise the same completions in other batches: a second run may differ in close "
        "calls.",
    ]
    log = with_summary(after, engine=LOG_ENGINE, batch_invariant=None)
    assert warnings_of(compare(before, log)) == [
        "One side was read from a log: whether it was sampled like the other cannot be checked."
    ]
    assert warnings_of(compare(with_summary(log, fingerprint="x"), log)) == []


def grouped(rights: Mapping[tuple[Any, str], int], number: int, column: str = "level") -> Evaluation:
    """12 problems of each level and subject, each with so many samples right."""
    one = evaluation([right for right in rights.values() for _ in range(12)], greedy=False)
    places = [place for place in rights for _ in range(12)]
    outcomes = tuple(
        replace(outcome, problem=replace(outcome.problem, meta={column: level, "subject": subject}))
        for outcome, (level, subject) in zip(one.outcomes, places, strict=True)
    )
    return replace(one, outcomes=outcomes, summary={**one.summary, "fingerprint": str(number)})


def test_the_map_shows_signs_and_stars() -> None:
    before = grouped({(2, "sums"): 0, (2, "angles"): 4, (10, "sums"): 2, (10, "angles"): 2}, 0)
    after = grouped({(2, "sums"): 4, (2, "angles"): 0, (10, "sums"): 2, (10, "angles"): 3}, 1)
    figure = group_map_figure(compare(before, after).groups)
    axes = figure.axes[0]
    cells = {(round(text.get_position()[0]), round(text.get_position()[1])): text.get_text() for text in axes.texts}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2", "10"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["angles", "sums"]
    assert cells == {(0, 0): "-100*\nn 12", (1, 0): "+100*\nn 12", (0, 1): "+25*\nn 12", (1, 1): "+0\nn 12"}
    shown = axes.images[0].get_array()
    assert shown is not None
    assert shown.tolist() == [[-100, 100], [25, 0]]


def test_names_that_a_picture_cannot_show_are_rows_of_the_table(tmp_path: Path) -> None:
    names = {"long": "a subject with a name of more than thirty-six characters", "other": "几何"}
    before = grouped({(level, name): 1 for level in (1, 2) for name in names.values()}, 0)
    after = grouped({(level, name): 2 for level in (1, 2) for name in names.values()}, 1)
    comparison = compare(before, after)
    labels = [label.get_text() for label in group_map_figure(comparison.groups).axes[0].get_xticklabels()]
    assert labels == ["row 1", "row 2"]
    assert "几何" in written(tmp_path, comparison).text


def test_groups_go_by_their_own_name(tmp_path: Path) -> None:
    before = grouped({(1, "sums\x1b"): 1, (2, "sums\x1b"): 2}, 0, column="steps")
    after = grouped({(1, "sums\x1b"): 2, (2, "sums\x1b"): 0}, 1, column="steps")
    comparison = compare(before, after)
    assert worst_group(comparison).startswith("Lost most: steps 2, −50.0 points")
    page = written(tmp_path, comparison)
    assert " ".join(table_of(page, "By level and subject").split()).startswith("steps before after")
    assert "\x1b" not in (tmp_path / "report.html").read_text()


def test_examples_are_of_the_kind_that_was_compared() -> None:
    mixed, samples = evaluation([0]), evaluation([4], greedy=False)
    comparison = compare(mixed, samples, different_settings=True)
    assert comparison.verdict_metric == "pass@1"
    [example] = example_groups(comparison)[0].examples
    assert (example.before.origin, example.after.origin) == ("sample 1 of 4", "sample 1 of 4")
