"""Process models: what they read, what they learn, and that an interrupted training ends like one in one piece."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from markscheme.files import InputError
from markscheme.packing.sequences import TokenSequence
from markscheme.reward_models import (
    LabelledSteps,
    RewardModelConfig,
    RewardNetwork,
    split_by_question,
    train_process_model,
)
from markscheme.reward_models.process import StepSequence, read_steps, readable, render, step_values, values_of
from markscheme.reward_models.process_training import ProcessObjective, StepExample, encode_steps
from markscheme.run_log import RunLog

CONFIG = RewardModelConfig(
    learning_rate=3e-3, warmup_steps=5, batch_size=16, epochs=6, held_out_share=0.25, checkpoint_every=4, log_every=1
)
SHORT = replace(CONFIG, epochs=1.5)
PROMPT = "How many plums are left?"
STEPS = ("Ada has 3 plums.", "Ben has 4 plums.\nThat is more.", "So 7 plums are left.")


def solution(steps: Sequence[str], labels: Sequence[float | None], prompt: str = PROMPT) -> LabelledSteps:
    return LabelledSteps(prompt=prompt, steps=tuple(steps), labels=tuple(labels), id="x")


CANDIDATES = [  # as PRM800K has them: one beginning and what may follow
    solution([*STEPS[:2], "So 7 plums are left."], [None, None, 1.0]),
    solution([*STEPS[:2], "So 8 plums are left."], [None, None, 0.0]),
    solution([*STEPS[:2], "Plums."], [None, None, 0.25]),
]


@pytest.fixture
def network(policy_folder: Path) -> RewardNetwork:
    return RewardNetwork.from_pretrained(str(policy_folder), seed=1, kind="process")


def plain_values(network: RewardNetwork, one: LabelledSteps) -> Tensor:
    """In a row of its own: the head at the last token of each labelled step."""
    ids, ends = list(network.prompt_ids(one.prompt)), []
    for step in one.steps:
        ids += network.plain_ids(step + "\n")
        ends.append(len(ids) - 1)
    hidden_LH = network.model.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    return hidden_LH[[ends[k] for k in one.labelled]] @ network.head.weight[0]


def test_a_step_is_valued_at_its_last_token(network: RewardNetwork) -> None:
    whole, some = solution(STEPS, (1.0, 0.0, 1.0)), solution(STEPS, (None, 1.0, None))
    for one in (whole, some):
        read = render(network, one.prompt, one.steps, one.labelled)
        assert_close(read_steps(network, read), plain_values(network, one), atol=1e-5, rtol=0)
    assert_close(plain_values(network, some), plain_values(network, whole)[1:2], atol=1e-5, rtol=0)


def test_steps_end_where_tokens_end_and_white_space_around_them_says_nothing(network: RewardNetwork) -> None:
    [read] = render(network, PROMPT, [f" {STEPS[0]} ", f"\n{STEPS[1]}", "3<|end|>"], [0, 1, 2])
    pieces = [read.tokens.completion_ids[a:b] for a, b in zip((0, *(end + 1 for end in read.ends)),
              (end + 1 for end in read.ends), strict=False)]  # fmt: skip
    assert [network.tokenizer.decode(piece) for piece in pieces] == [f"{STEPS[0]}\n", f"{STEPS[1]}\n", "3<|end|>\n"]
    assert network.tokenizer.eos_token_id not in read.tokens.completion_ids
    assert network.tokenizer.decode(read.tokens.prompt_ids) == f"<|question|> {PROMPT}<|answer|>"


def test_without_a_label_nothing_is_read(network: RewardNetwork) -> None:
    nothing = solution(STEPS, (None, None, None))
    assert encode_steps(network, [nothing, *CANDIDATES]) == encode_steps(network, CANDIDATES)
    assert step_values(network, [nothing], 1_000) == [[None, None, None]]


def test_messages_are_read_like_the_same_question_as_text(network: RewardNetwork) -> None:
    messages = ({"role": "user", "content": PROMPT},)
    assert render(network, messages, STEPS, [2]) == render(network, PROMPT, STEPS, [2])  # type: ignore[arg-type]


def test_loss_by_hand(network: RewardNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    # values 0, log 3 and -log 3 are probabilities 1/2, 3/4 and 1/4; labels 1, 1 and 1/4 cost log 2 = 0.6931,
    # -log 3/4 = 0.2877 and -1/4 log 1/4 - 3/4 log 3/4 = 0.5623: together 1.5431, a mean of 0.5144
    values = torch.tensor([0.0, math.log(3), -math.log(3)])
    monkeypatch.setattr("markscheme.reward_models.process_training.read_steps", lambda network, read: values)
    tokens = TokenSequence(prompt_ids=(1,), completion_ids=(2, 3))
    batch = [
        StepExample(read=(StepSequence(tokens=tokens, ends=(0, 1)),), labels=(1.0, 1.0), group="a"),
        StepExample(read=(StepSequence(tokens=tokens, ends=(1,)),), labels=(0.25,), group="b"),
    ]
    objective = ProcessObjective(network)
    loss, logged = objective.loss(batch)
    assert sum(map(objective.weight, batch)) == 3
    assert float(loss) == pytest.approx(1.5431, abs=1e-4)
    assert logged == {"step_accuracy": [1.0, 1.0, 1.0]}


def gradients(network: RewardNetwork, loss: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in network.named_parameters() if weight.grad is not None}


def test_a_shared_beginning_is_read_once_and_changes_neither_loss_nor_gradient(network: RewardNetwork) -> None:
    others = [solution(STEPS, (1.0, None, 0.0), prompt="How many?"), solution(STEPS[:1], (0.5,), prompt="How many?")]
    solutions = [*CANDIDATES, *others]
    plain = torch.cat([plain_values(network, one) for one in solutions])
    labels = torch.tensor([label for one in solutions for label in one.labels if label is not None])
    expected = gradients(network, F.binary_cross_entropy_with_logits(plain, labels))

    examples, _ = encode_steps(network, solutions)
    assert [len(one.read) for one in examples] == [3, 2]
    assert {one.prompt_ids for one in examples[0].sequences} == {examples[0].sequences[0].prompt_ids}
    text = network.tokenizer.decode(examples[0].sequences[0].prompt_ids)
    assert text.endswith("".join(f"{step}\n" for step in STEPS[:2])), "the steps before belong to the prompt"
    loss, _ = ProcessObjective(network).loss(examples)
    found = gradients(network, loss / sum(map(ProcessObjective(network).weight, examples)))
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert_close(gradient, expected[name], atol=1e-6, rtol=1e-5, msg=name)


def test_neighbours_and_micro_batches_change_no_value(network: RewardNetwork) -> None:
    read = [one for known in CANDIDATES for one in render(network, known.prompt, known.steps, range(3))]
    read += render(network, "How many?", STEPS[:2], [0, 1])
    alone = [values_of(network, [one], 1_000)[0] for one in read]
    for budget in (1, 60, 10_000):
        for order in (1, -1):
            found = values_of(network, read[::order], budget)[::order]
            for some, expected in zip(found, alone, strict=True):
                assert some == pytest.approx(expected, abs=1e-5)


def test_a_step_sees_those_before_it_and_none_behind(network: RewardNetwork) -> None:
    def values(*steps: str) -> list[float | None]:
        return step_values(network, [solution(steps, [1.0] * len(steps))], 1_000)[0]

    short = values(*STEPS[:2])
    assert values(*STEPS)[:2] == pytest.approx(short, abs=1e-5)
    assert values("Mia has 9 nuts.", STEPS[1])[1] != pytest.approx(short[1], abs=1e-3)


def test_an_encoder_reads_each_step_behind_those_before_it(encoder_folder: Path) -> None:
    network = RewardNetwork.from_pretrained(str(encoder_folder), seed=1, kind="process")
    read = render(network, "how many?", ["ada 3", "ada 4", "apples", "it sees nothing of this"], [0, 2])
    assert [one.tokens for one in read] == [
        network.encode("how many?", "ada 3"),
        network.encode("how many?\nada 3\nada 4", "apples"),
    ]
    values = network.rewards([one.tokens for one in read], 1_000)
    assert values_of(network, read, 1_000) == [[pytest.approx(value, abs=1e-5)] for value in values]
    examples, _ = encode_steps(network, [solution(["ada 3", "ada 4"], (1.0, 0.0))])
    assert [one.labels for one in examples] == [(1.0,), (0.0,)]


LONG = solution(["Ada has 3 plums.", "plums " * 600, "So 7."], (1.0, 0.0, 1.0))


def test_what_is_too_long_is_refused_left_out_or_loses_its_labels(network: RewardNetwork) -> None:
    with pytest.raises(InputError, match=r"1 of 4 solutions are longer than the model's 512 tokens \(the longest has"):
        encode_steps(network, [*CANDIDATES, LONG])
    left, counts = encode_steps(network, [*CANDIDATES, LONG], "leave-out")
    assert left == encode_steps(network, CANDIDATES)[0]
    assert counts == {"too_long": 1, "truncated": 0, "left_out": 1, "steps_left_out": 3}
    cut, counts = encode_steps(network, [*CANDIDATES, LONG], "truncate")
    assert cut[:-1] == left
    assert cut[-1].labels == (1.0,)
    assert all(map(network.fits, cut[-1].sequences))
    assert counts == {"too_long": 1, "truncated": 1, "left_out": 0, "steps_left_out": 2}
    [values] = step_values(network, [LONG], 1_000)
    assert [value is None for value in values] == [False, True, True]
    with pytest.raises(InputError, match="no solution has at most the model's 512 tokens"):
        encode_steps(network, [solution(["plums " * 600], (1.0,))], "truncate")


def test_the_last_token_that_has_a_place_is_read(network: RewardNetwork) -> None:
    [read] = render(network, PROMPT, ["plums"], [0])
    room = 512 - len(read.tokens)
    for extra, fits in ((0, True), (1, False)):
        [one] = render(network, PROMPT, ["plums" + " plums" * (room + extra)], [0])
        assert len(one.tokens) == 512 + extra
        assert readable(network, [one]) == [one] * fits


def run_log(folder: Path, config: RewardModelConfig) -> RunLog:
    return RunLog(folder, asdict(config))


def test_learns_which_steps_are_good(network: RewardNetwork, lemon_steps: list[LabelledSteps], tmp_path: Path) -> None:
    log = run_log(tmp_path / "run", CONFIG)
    evaluation = train_process_model(network, lemon_steps, CONFIG, log)
    assert evaluation.accuracy.value > 0.95 > evaluation.always_good.value
    assert evaluation.accuracy.value > evaluation.by_position.value
    assert evaluation.auc is not None
    assert evaluation.auc.value > 0.95
    found = evaluation.first_errors
    assert found is not None
    assert found.model.f1.value > 0.9 > found.by_position.f1.value
    assert 0 < network.threshold < 1
    records = log.read()
    assert records[0]["loss"] == pytest.approx(0.693, abs=0.3)
    assert records[-1]["loss"] < 0.2
    assert records[-1]["step_accuracy"] > 0.9
    _, held_out = split_by_question(lemon_steps, CONFIG.held_out_share)
    assert evaluation.num_steps == sum(len(one.labelled) for one in held_out)


class KilledError(Exception):
    """Stands for a kill."""


def test_an_interrupted_run_ends_bit_by_bit_like_one_in_one_piece(
    policy_folder: Path, lemon_steps: list[LabelledSteps], tmp_path: Path
) -> None:
    def kill(done: int, num_steps: int, loss: float) -> None:
        assert num_steps > 8
        if done == 6:
            raise KilledError

    def fresh() -> RewardNetwork:
        return RewardNetwork.from_pretrained(str(policy_folder), seed=1, kind="process")

    whole, broken, resumed = fresh(), fresh(), fresh()
    expected = train_process_model(whole, lemon_steps, SHORT, run_log(tmp_path / "whole", SHORT))
    with pytest.raises(KilledError):
        train_process_model(broken, lemon_steps, SHORT, run_log(tmp_path / "broken", SHORT), on_step=kill)
    assert train_process_model(resumed, lemon_steps, SHORT, run_log(tmp_path / "broken", SHORT)) == expected
    assert resumed.threshold == whole.threshold
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "broken")]
    assert metrics[0] == metrics[1]


def test_saved_and_loaded_it_is_the_same(network: RewardNetwork, tmp_path: Path) -> None:
    network.threshold = 0.125
    network.save(tmp_path / "model")
    loaded = RewardNetwork.load(tmp_path / "model")
    assert (loaded.kind, loaded.threshold) == ("process", 0.125)
    assert step_values(loaded, CANDIDATES, 1_000) == [
        [None, None, pytest.approx(values[2], abs=1e-6)] for values in step_values(network, CANDIDATES, 1_000)
    ]


def test_what_is_meant_for_preferences_is_refused(
    network: RewardNetwork, policy_folder: Path, lemon_steps: list[LabelledSteps], tmp_path: Path
) -> None:
    outcome = RewardNetwork.from_pretrained(str(policy_folder), seed=1)
    with pytest.raises(InputError, match="the network is of kind outcome, and what values steps is of kind process"):
        train_process_model(outcome, lemon_steps, CONFIG, run_log(tmp_path / "a", CONFIG))
    for settings in (replace(CONFIG, loss="pointwise"), replace(CONFIG, label_smoothing=0.1)):
        with pytest.raises(InputError, match="leave out loss, label_smoothing and centring"):
            train_process_model(network, lemon_steps, settings, run_log(tmp_path / "b", CONFIG))
