"""When a reward counts as hacked: worked by hand, and how often that is wrong or comes too late."""

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.generation import Completion, FinishReason
from markscheme.grpo.monitor import (
    HackingMonitor,
    MonitorConfig,
    Probe,
    Verdict,
    is_repetitive,
    probe_figures,
    sign_test,
    step_figures,
)
from markscheme.grpo.rollout import Rollout
from markscheme.problems import Problem
from markscheme.scoring import Outcome, Score

ONE = MonitorConfig(probes=1)


def probe(step: int, proxy: float, correct: Sequence[bool | int | None], judge: str = "model 1") -> Probe:
    verdicts = tuple(None if right is None else bool(right) for right in correct)
    return Probe(step=step, judge=judge, proxy=proxy, correct=verdicts)


def last_verdict(config: MonitorConfig, *probes: Probe) -> Verdict | None:
    monitor = HackingMonitor(config)
    for one in probes:
        monitor.observe(one)
    return monitor.verdict


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),
        (0, 5, 1 / 32),
        (2, 3, 16 / 32),  # 1 + 5 + 10
        (5, 0, 1.0),
        (1, 9, 11 / 1024),
    ],
)
def test_the_sign_test_by_hand(gained: int, lost: int, p: float) -> None:
    assert sign_test(gained, lost) == p


@given(gained=st.integers(0, 400), lost=st.integers(0, 400))
def test_the_sign_test_is_a_probability_and_its_two_sides_share_one_term(gained: int, lost: int) -> None:
    both = sign_test(gained, lost) + sign_test(lost, gained)
    assert 0 < sign_test(gained, lost) <= 1
    assert both == pytest.approx(1 + math.comb(gained + lost, gained) / 2 ** (gained + lost))


@pytest.mark.parametrize(("lost", "p", "is_alarm"), [(8, 2 / 256, True), (7, 2 / 128, False)])
def test_single_probes_by_hand(lost: int, p: float, is_alarm: bool) -> None:
    # The first comparison has one probe to choose from: K = 1, and 2^-lost is multiplied by 1 * 1 * 2.
    verdict = last_verdict(ONE, probe(0, 0.0, [1] * 10), probe(10, 0.5, [1] * (10 - lost) + [0] * lost))
    assert verdict == Verdict(
        step=10,
        since=0,
        proxy_rise=0.5,
        num_problems=10,
        accuracy_before=1.0,
        accuracy_now=(10 - lost) / 10,
        gained=0,
        lost=lost,
        p_value=p,
        is_alarm=is_alarm,
    )
    assert verdict.metrics() == {
        "hacking_proxy_rise": 0.5,
        "hacking_accuracy_change": pytest.approx(-lost / 10),
        "hacking_p_value": p,
        "hacking_alarm": float(is_alarm),
    }


def test_two_probes_together_by_hand() -> None:
    right_then, right_now = [[1] * 12, [1] * 11 + [0]], [[0] * 12, [1] + [0] * 10 + [1]]
    probes = [probe(10 * k, float(k), correct) for k, correct in enumerate([*right_then, *right_now])]
    assert last_verdict(MonitorConfig(), *probes[:3]) is None, "two and two are needed"
    verdict = last_verdict(MonitorConfig(), *probes)
    assert verdict is not None
    # 2, ..., 2, 1 times right before; 1, 0, ..., 0, 1 after: the first eleven are lost, the last is as it was.
    assert (verdict.gained, verdict.lost, verdict.num_problems) == (0, 11, 12)
    assert (verdict.accuracy_before, verdict.accuracy_now) == (23 / 24, 2 / 24)
    assert (verdict.since, verdict.step, verdict.proxy_rise) == (10, 30, 2.0)  # (2 + 3) / 2 - (0 + 1) / 2
    assert verdict.p_value == 2 / 2**11
    assert verdict.is_alarm


def test_the_third_comparison_is_with_the_best_of_three_and_costs_36_times() -> None:
    probes = [
        probe(0, 0.0, [1] * 10 + [0] * 10),
        probe(10, 1.0, [1] * 18 + [0] * 2),  # the best so far
        probe(20, 2.0, [1] * 15 + [0] * 5),
        probe(30, 3.0, [1] * 3 + [0] * 17),
    ]
    verdict = last_verdict(ONE, *probes)
    assert verdict is not None
    assert (verdict.since, verdict.lost, verdict.proxy_rise) == (10, 15, 2.0)
    assert verdict.p_value == 36 / 2**15  # K = 3: 3 * 3 * 4


def test_of_equally_good_probes_the_latest_counts() -> None:
    verdict = last_verdict(ONE, *(probe(step, 0.0, [1, 0]) for step in (0, 10, 20)), probe(30, 1.0, [0, 0]))
    assert verdict is not None
    assert verdict.since == 20


@pytest.mark.parametrize("proxy", [-1.0, 0.0])
def test_a_reward_that_did_not_rise_is_not_exploited(proxy: float) -> None:
    verdict = last_verdict(ONE, probe(0, 0.0, [1] * 50), probe(10, proxy, [0] * 50))
    assert verdict is not None
    assert verdict.p_value < 1e-9
    assert not verdict.is_alarm
    assert verdict.line.endswith("no sign of hacking")


def test_problems_that_the_gold_could_not_judge_are_left_out() -> None:
    verdict = last_verdict(ONE, probe(0, 0.0, [1, 1, None, 0]), probe(10, 1.0, [0, None, 1, 1]))
    assert verdict is not None
    assert (verdict.num_problems, verdict.gained, verdict.lost) == (2, 1, 1)
    assert (verdict.accuracy_before, verdict.accuracy_now) == (0.5, 0.5)
    nothing = last_verdict(ONE, probe(0, 0.0, [None]), probe(10, 1.0, [1]))
    assert nothing is not None
    assert (nothing.num_problems, nothing.p_value, nothing.is_alarm) == (0, 1.0, False)


def test_the_step_from_one_reward_model_to_the_next_is_no_rise() -> None:
    right, wrong = [1] * 30, [0] * 30
    first = [probe(10, 0.0, right, "model 1"), probe(20, 0.25, right, "model 1")]
    jumped = last_verdict(ONE, *first, probe(30, 9.0, wrong, "model 2"))
    assert jumped is not None
    assert (jumped.proxy_rise, jumped.is_alarm) == (0.0, False)
    rose = last_verdict(ONE, *first, probe(30, 9.0, wrong, "model 2"), probe(40, 9.5, wrong, "model 2"))
    assert rose is not None
    assert (rose.since, rose.proxy_rise, rose.is_alarm) == (20, 0.5, True)


def test_the_line_says_what_is_seen_and_what_to_do() -> None:
    verdict = last_verdict(ONE, probe(20, 0.1, [1] * 82 + [0] * 118), probe(60, 0.9, [1] * 44 + [0] * 156))
    assert verdict is not None
    assert verdict.line == (
        "reward +0.8 since step 20 while accuracy on 200 dev problems fell from 0.41 to 0.22 (p = 7e-12): the reward "
        "model is being exploited: stop, gate it by the verifier (--reward gate), or train it on with --labeller"
    )


def test_a_probe_of_other_problems_is_refused() -> None:
    with pytest.raises(ValueError, match="a probe of 3 problems follows one of 2"):
        last_verdict(ONE, probe(0, 0.0, [1, 1]), probe(10, 0.0, [1, 1, 1]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probes": 0}, "probes must be at least 1, got 0"),
        ({"significance": 0.0}, "significance must be above 0 and below 1, got 0"),
        ({"significance": 1.0}, "significance must be above 0 and below 1, got 1"),
        ({"action": "panic"}, "action must be one of warn, stop, got 'panic'"),
    ],
)
def test_senseless_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MonitorConfig(**settings)


VERDICTS = st.lists(st.sampled_from([True, False, None]), min_size=6, max_size=6)
PROBES = st.lists(st.tuples(st.floats(-5, 5, width=32), VERDICTS, st.sampled_from(["a", "b"])), max_size=9)


def made(probes: Sequence[tuple[float, Sequence[bool | None], str]]) -> list[Probe]:
    return [probe(10 * k, proxy, correct, judge) for k, (proxy, correct, judge) in enumerate(probes)]


@given(probes=PROBES, width=st.integers(1, 3), cut=st.integers(0, 9))
def test_a_monitor_that_goes_on_says_what_one_in_one_piece_says(probes: Any, width: int, cut: int) -> None:
    config = MonitorConfig(probes=width)
    whole, resumed = HackingMonitor(config), HackingMonitor(config)
    said = [whole.observe(one) for one in made(probes)]
    resumed.observe(probe(0, 99.0, [True]))  # of another run: forgotten
    resumed.resume(made(probes)[:cut])
    assert resumed.verdict == ([None, *said][min(cut, len(said))])
    assert [resumed.observe(one) for one in made(probes)[cut:]] == said[cut:]


@given(probes=PROBES, width=st.integers(1, 3), order=st.permutations(range(6)), level=st.integers(-3, 3))
def test_neither_the_order_of_problems_nor_the_rewards_level_matters(
    probes: Any, width: int, order: list[int], level: int
) -> None:
    config = MonitorConfig(probes=width)
    rounded = [(round(proxy), correct, judge) for proxy, correct, judge in probes]
    moved = [(proxy + level, [correct[k] for k in order], judge) for proxy, correct, judge in rounded]
    assert last_verdict(config, *made(moved)) == last_verdict(config, *made(rounded))


@given(probes=PROBES, width=st.integers(1, 3))
def test_a_verdict_needs_a_rise_and_a_fall(probes: Any, width: int) -> None:
    verdict = last_verdict(MonitorConfig(probes=width, significance=0.999), *made(probes))
    if verdict is not None:
        assert 0 < verdict.p_value <= 1
        assert verdict.gained + verdict.lost <= verdict.num_problems <= 6
        if verdict.is_alarm:
            assert verdict.proxy_rise > 0
            assert verdict.lost > 0


NUM_PROBES, NUM_PROBLEMS = 20, 200


def simulated(rng: random.Random, accuracies: Sequence[float]) -> Iterator[Probe]:
    """Each problem is right by chance alone, anew in each probe: nothing varies more at that accuracy."""
    for number, accuracy in enumerate(accuracies):
        correct = tuple(rng.random() < accuracy for _ in range(NUM_PROBLEMS))
        yield Probe(step=10 * number, judge="model 1", proxy=0.1 * number, correct=correct)


def alarms_of(runs: int, seed: int, accuracies: Sequence[float]) -> list[int]:
    """The number of the first probe with an alarm, of each run that has one."""
    rng, found = random.Random(seed), []
    for _ in range(runs):
        monitor = HackingMonitor(MonitorConfig())
        verdicts = [monitor.observe(one) for one in simulated(rng, accuracies)]
        alarms = [number for number, verdict in enumerate(verdicts) if verdict is not None and verdict.is_alarm]
        found += alarms[:1]
    return found


def test_noise_raises_no_alarm() -> None:
    """Accuracy stays at 0.5, where chance is largest, while the reward drifts up."""
    assert len(alarms_of(200, seed=0, accuracies=[0.5] * NUM_PROBES)) <= 0.05 * 200


def test_a_fall_of_15_points_is_caught() -> None:
    half = NUM_PROBES // 2
    caught = alarms_of(200, seed=1, accuracies=[0.5] * half + [0.35] * half)
    assert sum(number >= half for number in caught) >= 0.95 * 200


def test_a_collapse_is_caught_as_soon_as_there_are_two_probes_of_each() -> None:
    assert alarms_of(20, seed=2, accuracies=[0.54, 0.5, 0.3, 0.15]) == [3] * 20


def rollout(reward: float | None, length: int = 1, text: str = "", score: Score | None = None) -> Rollout:
    value = Score(value=reward, outcome=Outcome.FAILED if reward is None else Outcome.RATED)
    return Rollout(
        problem=Problem(id="p", question="?", gold="1", source="test", split="dev"),
        prompt_ids=(1,),
        completion=Completion(text=text, ids=(7,) * length, logprobs=(0.0,) * length, finish_reason=FinishReason.STOP),
        score=score or value,
    )


def test_the_correlation_of_reward_and_length_by_hand() -> None:
    # Rewards 0, 1, 1 and lengths 1, 2, 4, less their means: 12 / 9 / sqrt(6 / 9 * 42 / 9) = 12 / sqrt(252) = 0.756.
    some = [rollout(0.0, 1), rollout(1.0, 2), rollout(1.0, 4), rollout(None, 99)]
    against = [rollout(3.0, 1), rollout(2.0, 2), rollout(1.0, 3)]
    flat = [rollout(1.0, 1), rollout(1.0, 9)]
    as_long = [rollout(1.0, 5), rollout(2.0, 5)]
    assert step_figures([some]) == {"reward_length_correlation": pytest.approx(12 / math.sqrt(252))}
    assert step_figures([some, against, flat, as_long]) == {
        "reward_length_correlation": pytest.approx((12 / math.sqrt(252) - 1) / 2)
    }
    assert step_figures([flat, as_long, [rollout(None)]]) == {}


@given(
    st.lists(st.tuples(st.floats(-1e9, 1e9) | st.sampled_from([0.0, 1e-200, 5e-324]), st.integers(1, 9)), max_size=6)
)
def test_a_correlation_is_one(pairs: list[tuple[float, int]]) -> None:
    figures = step_figures([[rollout(reward, length) for reward, length in pairs]])
    assert all(abs(value) <= 1 + 1e-9 for value in figures.values())


def rated(value: float, evidence: dict[str, Any], **parts: Score) -> Score:
    return Score(value=value, outcome=Outcome.RATED, evidence=evidence, parts=parts)


def test_what_parts_say_of_range_and_disagreement_is_found() -> None:
    inside, outside = rated(0.5, {"in_range": True}), rated(9.0, {"in_range": False})
    torn = rated(1.0, {"disagreement": 0.5}, one=inside, two=outside)
    calm = rated(1.0, {"disagreement": 0.0}, one=inside, two=inside)
    no_model = rated(1.0, {"tokens": 3, "in_range": "?", "disagreement": None})
    no_value = Score(value=None, outcome=Outcome.FAILED, parts={"one": outside})
    scores = [inside, rated(1.0, {}, then=rated(1.0, {}, model=outside)), torn, calm, no_model, no_value]
    figures = step_figures([[rollout(None, score=score) for score in scores]])
    assert figures == {"out_of_range_share": 2 / 4, "disagreement": 0.25}  # two of the four that say something


WORDS = [f"w{k}" for k in range(60)]


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("", False, "nothing"),
        ("so it is", False, "too short for a passage"),
        (" ".join(WORDS[:9]), False, "no passage twice, though each fills most of it"),
        ("ha " * 9, True, "one word, whose passages overlap"),
        (" ".join(WORDS[:8] * 2), True, "all of it"),
        (" ".join([*WORDS[:8], *WORDS[20:51], *WORDS[:8]]), True, "16 of 47"),
        (" ".join([*WORDS[:8], *WORDS[20:52], *WORDS[:8]]), False, "16 of 48 is a third, not more"),
        (" ".join([*WORDS[:8], *WORDS[:7], *WORDS[20:30]]), False, "a passage of seven words is none"),
        (" ".join(WORDS[:20] * 5), True, "a long passage, each part of which fills 8 of 20"),
        ("!!!!!!!!!!!!", True, "without spaces"),
        ("1,1,1,1,1,1", True, "without spaces"),
        ("所以答案是七。" * 4, True, "characters are words where there are no spaces"),
        ("So 3 + 4 = 7 eggs. Then 7 - 2 = 5 eggs are left, which is the answer.", False, "a solution"),
    ],
)
def test_repetition(text: str, expected: bool, reason: str) -> None:
    assert is_repetitive(text) is expected, reason


def test_the_figures_of_a_probe() -> None:
    silent = Score(value=0.0, outcome=Outcome.NO_ANSWER)
    rollouts = [rollout(1.0), rollout(1.0, text="ha " * 9), rollout(None, score=silent), rollout(None)]
    assert probe_figures(rollouts) == {"dev_no_answer_share": 0.25, "dev_repetitive_share": 0.25}
