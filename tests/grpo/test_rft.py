"""RFT: what is kept of which completions, that a killed run learns from the same, and that online RFT is I(o)."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.adapters import as_scorer
from markscheme.files import InputError
from markscheme.generation import Completion, FinishReason, Generator, Request, Sampling
from markscheme.grpo.advantage import outcome_advantages
from markscheme.grpo.baselines.rft import rft_examples
from markscheme.grpo.baselines.samples import Judged, SampledConfig, is_correct, judged_groups
from markscheme.grpo.baselines.sft import train_sft
from markscheme.grpo.config import PRESETS
from markscheme.grpo.rollout import Rollout, UnscoredError, rollout_seeds
from markscheme.grpo.update import update_policy
from markscheme.packing.attention import attend_packed
from markscheme.packing.layout import pack_rows
from markscheme.packing.sequences import TokenSequence
from markscheme.policy.make import make_model
from markscheme.problems import Problem
from markscheme.run_log import RunLog
from markscheme.scoring import Outcome, Sample, Score

PROBLEMS = [
    Problem(id=f"p{i}", question=f"Mia has {i} eggs. How many eggs?", gold=str(i), source="test", split="train")
    for i in range(5)
]
CONFIG = SampledConfig(
    num_samples=4, max_completion_tokens=8, learning_rate=1e-2, batch_size=4, log_every=1, checkpoint_every=1
)


def judged(
    ids: Sequence[int], correct: bool | None, *, prompt: Sequence[int] = (5, 6), cut_off: bool = False
) -> Judged:
    sequence = TokenSequence(prompt_ids=tuple(prompt), completion_ids=tuple(ids))
    return Judged(sequence=sequence, correct=correct, is_cut_off=cut_off)


def test_the_correct_ones_that_ended_are_kept_once() -> None:
    groups = [
        [
            judged([1, 0], True),
            judged([2, 0], False),
            judged([1, 0], True),  # the same again
            judged([3, 0], None),  # no score
            judged([4, 4], True, cut_off=True),
            judged([5, 0], True),
        ],
        [judged([1, 0], True, prompt=[7])],  # the same, of another problem
        [judged([6, 0], False)],
    ]
    kept = rft_examples(groups)
    assert [(one.prompt_ids, one.completion_ids) for one in kept] == [
        ((5, 6), (1, 0)),
        ((5, 6), (5, 0)),
        ((7,), (1, 0)),
    ]


def test_nothing_to_learn_from_is_said() -> None:
    groups = [[judged([1, 0], False), judged([2, 2], True, cut_off=True)], [judged([3, 0], None)]]
    with pytest.raises(InputError, match=r"of 3 completions none is .*: 1 are correct, 1 cut off, 1 without a score"):
        rft_examples(groups)


VERDICTS = [
    (Outcome.CORRECT, 0.2, 0.5, True, "a verdict counts, whatever it is worth"),
    (Outcome.INCORRECT, 0.9, 0.5, False, "a verdict counts, whatever it is worth"),
    (Outcome.NO_ANSWER, 0.0, None, False, "no answer is no correct one"),
    (Outcome.RATED, 0.6, 0.5, True, "above the threshold"),
    (Outcome.RATED, 0.5, 0.5, False, "at the threshold is not above it"),
    (Outcome.UNDECIDED, None, 0.5, None, "could not tell is not wrong"),
    (Outcome.FAILED, None, None, None, "could not tell is not wrong"),
]


@pytest.mark.parametrize(("outcome", "value", "threshold", "expected", "reason"), VERDICTS)
def test_what_is_correct(
    outcome: Outcome, value: float | None, threshold: float | None, expected: bool | None, reason: str
) -> None:
    assert is_correct(Score(value=value, outcome=outcome), threshold) is expected, reason


def test_ratings_need_a_threshold() -> None:
    with pytest.raises(InputError, match="give the --threshold"):
        is_correct(Score(value=0.7, outcome=Outcome.RATED), None)


class Scripted:
    """Writes, for each seed, tokens that no text would be encoded to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, int, Completion]]:
        for r, request in enumerate(requests):
            self.asked.append(request.prompt_ids)
            for k, seed in enumerate(request.seeds):
                ids = (100 + seed % 7, 101, 0)
                yield r, k, Completion(text=f"{seed}", ids=ids, logprobs=(0.0,) * 3, finish_reason=FinishReason.STOP)

    def load_weights(self, named_tensors: Iterable[tuple[str, Any]]) -> None:
        raise AssertionError("the initial policy is what is drawn from")


def even(sample: Sample) -> bool:
    return int(sample.completion) % 2 == 0


def draw(folder: Path, generator: Generator, scorer: Any = even, config: SampledConfig = CONFIG) -> list[list[Judged]]:
    log = RunLog(folder, {"rft": dataclasses.asdict(config)})
    with patch("markscheme.grpo.baselines.samples.PROBLEMS_AT_A_TIME", 2):
        return judged_groups(
            generator, as_scorer(scorer), PROBLEMS, lambda problem: (9, int(problem.gold)), config, log
        )


def test_completions_are_taken_as_they_were_drawn(tmp_path: Path) -> None:
    groups = draw(tmp_path / "run", Scripted())
    for problem, group, seeds in zip(PROBLEMS, groups, rollout_seeds(0, 0, PROBLEMS, 4), strict=True):
        assert [one.sequence.prompt_ids for one in group] == [(9, int(problem.gold))] * 4
        assert [one.sequence.completion_ids for one in group] == [(100 + seed % 7, 101, 0) for seed in seeds]
        assert [one.correct for one in group] == [seed % 2 == 0 for seed in seeds]
    counts = json.loads((tmp_path / "run" / "samples.json").read_text())
    correct = sum(one.correct is True for group in groups for one in group)
    assert counts == {"completions": 20, "correct": correct, "unscored": 0, "cut_off": 0}


@pytest.mark.parametrize(("lines", "asked_again"), [(0, 5), (1, 5), (2, 3), (3, 3), (4, 1), (5, 0)])
def test_what_was_drawn_is_not_drawn_again(tmp_path: Path, lines: int, asked_again: int) -> None:
    expected = draw(tmp_path / "run", Scripted())
    path = tmp_path / "run" / "rollouts.jsonl"
    whole = path.read_bytes()
    kept = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(kept[:lines]) + (kept[lines][:30] if lines < 5 else b""))  # as a kill leaves it
    generator = Scripted()
    assert draw(tmp_path / "run", generator) == expected
    assert path.read_bytes() == whole
    assert len(generator.asked) == asked_again  # two problems at a time


def test_the_unscored_are_counted_and_too_many_of_them_stop_the_run(tmp_path: Path) -> None:
    (_, (seed, *_), *_) = rollout_seeds(0, 0, PROBLEMS, 4)
    groups = draw(tmp_path / "one", Scripted(), lambda sample: None if sample.completion == str(seed) else even(sample))
    assert [one.correct is None for one in groups[1]] == [True, False, False, False]
    assert json.loads((tmp_path / "one" / "samples.json").read_text())["unscored"] == 1
    with pytest.raises(UnscoredError, match="8 of 8 completions could not be scored"):
        draw(tmp_path / "all", Scripted(), lambda sample: None)


class InterruptionError(Exception):
    pass


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_killed_run_goes_on_bit_by_bit_without_drawing_again(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, stop_after: int
) -> None:
    config = dataclasses.replace(CONFIG, num_samples=6, epochs=2)

    def run(folder: Path, stop: int = 0) -> PreTrainedModel:
        model = make_model(len(tokenizer), width=32, layers=1, seed=0)
        examples = rft_examples(draw(folder, Scripted(), config=config))

        def on_step(done: int, loss: float) -> None:
            if done == stop:
                raise InterruptionError

        train_sft(model, examples, config, RunLog(folder, {"rft": dataclasses.asdict(config)}), on_step)
        return model

    undisturbed = run(tmp_path / "a")
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes().count(b"\n") > 3
    with pytest.raises(InterruptionError):
        run(tmp_path / "b", stop=stop_after)
    with patch.object(Scripted, "stream", side_effect=AssertionError("drawn again")):
        resumed = run(tmp_path / "b")
    for name, tensor in undisturbed.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    for name in ("metrics.jsonl", "rollouts.jsonl", "samples.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_online_rft_has_the_coefficient_of_the_unified_paradigm(tiny_model: PreTrainedModel) -> None:
    # 1 / |o| for each token of a correct completion, mean over the group and over the problems; nothing for the others
    drawn = [[([10, 11], True), ([12, 13, 14], False)], [([20], True), ([21, 22], True), ([23], None)]]
    groups = [
        [
            Rollout(
                problem=PROBLEMS[0],
                prompt_ids=(5, 6, 7),
                completion=Completion(
                    text="", ids=tuple(ids), logprobs=(0.0,) * len(ids), finish_reason=FinishReason.STOP
                ),
                score=as_scorer(lambda sample, right=right: right).score([Sample(prompt="", completion="")])[0],
            )
            for ids, right in group
        ]
        for group in drawn
    ]
    total = torch.zeros(())
    for group in drawn:
        scored = sum(right is not None for _, right in group)
        for ids, right in group:
            if right:
                logprobs = tiny_model(torch.tensor([[5, 6, 7, *ids]])).logits[0, 2:-1].log_softmax(-1)
                total = total - logprobs.gather(-1, torch.tensor(ids)[:, None]).mean() / scored / len(drawn)
    total.backward()
    expected = {name: weight.grad.clone() for name, weight in tiny_model.named_parameters() if weight.grad is not None}
    tiny_model.zero_grad()

    attend_packed(tiny_model)
    config = dataclasses.replace(PRESETS["online-rft"], max_grad_norm=1e9)
    advantages_PG = outcome_advantages([[r.score.value for r in group] for group in groups], config.estimator)
    advantages = [
        [[a] * len(r.completion.ids) for a, r in zip(*pair, strict=True)]
        for pair in zip(advantages_PG, groups, strict=True)
    ]
    optimizer = torch.optim.SGD(tiny_model.parameters(), lr=0.0)

    def compare(*_: object) -> None:
        for name, weight in tiny_model.named_parameters():
            assert weight.grad is not None
            assert float((weight.grad - expected[name]).norm()) <= 1e-5 * float(expected[name].norm()), name

    seen = optimizer.register_step_pre_hook(compare)
    limits = {torch.float32: (float("inf"), float("inf"))}  # the log-probabilities are made up
    with patch.dict("markscheme.grpo.update.MISMATCH", limits):
        metrics = update_policy(tiny_model, None, optimizer, groups, advantages, config, 0, pack_rows)
    seen.remove()
    assert metrics["trained_completions"] == 3
