"""Scorers as other trainers and harnesses call them, by what those were seen to pass. tests/front/test_peers.py has the
real ones call; TRL, which is installed here, calls in test_adapters_trl.py.
"""

import asyncio
import inspect
import pickle
import subprocess
import sys
import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from markscheme.adapters import (
    UnscoredError,
    as_scorer,
    to_lm_eval,
    to_open_instruct,
    to_openrlhf,
    to_trl,
    to_verifiers,
    to_verl,
)
from markscheme.adapters.reading import completion_in, gold_of
from markscheme.compose import WeightedSum
from markscheme.files import InputError
from markscheme.messages import completion_of, prompt_of
from markscheme.scoring import GoldError, Outcome, Sample, Score
from markscheme.verifiers import MathVerifier

RIGHT, WRONG, SILENT = r"So \boxed{4}.", r"So \boxed{5}.", "Let me think."
TURNS = [{"role": "user", "content": "2 + 2 = ?"}]


class Marks:
    """Gives what is asked of it, by the completion, and keeps what it was asked."""

    name, version = "marks", "1"

    def __init__(self) -> None:
        self.seen: list[Sample] = []

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        self.seen += samples
        return [self._score(sample.completion) for sample in samples]

    def _score(self, completion: str) -> Score:
        if completion == "unknown":
            return Score(value=None, outcome=Outcome.UNDECIDED, evidence={"reason": "took too long"})
        return Score(value=float(len(completion)), outcome=Outcome.RATED)


def test_importing_the_adapters_brings_no_peer() -> None:
    code = (
        "import sys, markscheme.adapters; "
        "print({'torch', 'trl', 'inspect_ai', 'evaluate', 'datasets', 'numpy'} & {*sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


# How others write prompts, completions and golds.


def test_texts_and_turns() -> None:
    assert prompt_of("2 + 2?") == "2 + 2?"
    assert prompt_of(TURNS) == ({"role": "user", "content": "2 + 2 = ?"},)
    objects = [SimpleNamespace(role="user", content=[{"type": "text", "text": "2 + 2"}, {"type": "text", "text": "?"}])]
    assert prompt_of(objects) == ({"role": "user", "content": "2 + 2?"},)
    assert completion_of("4") == "4"
    assert completion_of(None) == ""
    called = [
        {"role": "assistant", "content": "I ask."},
        {"role": "tool", "content": "5"},
        {"role": "assistant", "content": "4"},
    ]
    assert completion_of(called) == "I ask.\n4"
    assert completion_of({"role": "assistant", "content": None}) == ""


def test_golds_are_text() -> None:
    assert gold_of(None) is None
    assert gold_of("4") == "4"
    assert gold_of(4) == "4"
    assert gold_of(np.float64(0.5)) == "0.5"
    assert gold_of(np.array(["4", "four"], dtype=object)) == ("4", "four")
    assert gold_of([4, "four"]) == ("4", "four")


@pytest.mark.parametrize(
    ("query", "completion"),
    [
        ("2 + 2 = ? 4", " 4"),
        ("<s>2 + 2 = ? 4</s>", " 4"),
        ("2 + 2 = ?4<|im_end|>\n<|endoftext|>", "4"),
        ("2 + 2 = ? a < b>", " a < b>"),
        ("4", "4"),
    ],
)
def test_completions_are_what_follows_the_prompt(query: str, completion: str) -> None:
    assert completion_in(query, "2 + 2 = ?") == completion


# TRL.


def test_trl_gets_none_for_what_is_not_known() -> None:
    extra: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    scorer = Marks()
    reward = to_trl(scorer)
    assert reward.__name__ == "marks"
    rewards = reward(
        prompts=["p", "p", "q"],
        completions=["four", "unknown", ""],
        completion_ids=[[1, 2], [3], []],
        answer=["4", 4, ["4", "four"]],
        difficulty=[1, 2, 3],
        trainer_state=object(),
        log_extra=extra.__setitem__,
        log_metric=metrics.__setitem__,
    )
    assert rewards == [4.0, None, 0.0]
    assert extra == {"marks outcome": ["rated", "undecided", "rated"], "marks answer": [None, None, None]}
    assert metrics == {"rewards/marks/unscored": pytest.approx(1 / 3)}
    assert [sample.gold for sample in scorer.seen] == ["4", "4", ("4", "four")]
    assert [sample.meta for sample in scorer.seen] == [
        {"completion_ids": [1, 2], "completion_tokens": 2, "answer": "4", "difficulty": 1},
        {"completion_ids": [3], "completion_tokens": 1, "answer": 4, "difficulty": 2},
        {"completion_ids": [], "completion_tokens": 0, "answer": ["4", "four"], "difficulty": 3},
    ]
    first, second, third = (sample.group for sample in scorer.seen)
    assert first == second != third


def test_trl_may_pickle_a_reward() -> None:
    for run_async in (False, True):
        reward = pickle.loads(pickle.dumps(to_trl(MathVerifier(), run_async=run_async)))
        assert reward.__name__ == "math"
        assert inspect.iscoroutinefunction(reward.__call__) == run_async


def test_trl_conversations_and_async() -> None:
    reward = to_trl(MathVerifier(), run_async=True)
    completions = [[{"role": "assistant", "content": text}] for text in (RIGHT, WRONG, SILENT)]
    arguments = {"prompts": [TURNS] * 3, "completions": completions, "ground_truth": ["4"] * 3}
    assert asyncio.run(reward(**arguments)) == [1.0, 0.0, 0.0]
    assert to_trl(MathVerifier())(**arguments) == [1.0, 0.0, 0.0]


def test_the_gold_is_the_column_that_was_named() -> None:
    columns = {"prompts": ["p"], "completions": [RIGHT], "gold": ["5"], "mine": ["4"]}
    assert to_trl(MathVerifier())(**columns) == [0.0]
    assert to_trl(MathVerifier(), gold="mine")(**columns) == [1.0]
    with pytest.raises(InputError, match="no column 'theirs' for the gold; there are 'gold', 'mine'"):
        to_trl(MathVerifier(), gold="theirs")(**columns)
    with pytest.raises(GoldError, match="needs a gold answer"):
        to_trl(MathVerifier())(prompts=["p"], completions=[RIGHT])


# Trainers that know no missing reward.


def test_verl() -> None:
    compute_score = to_verl(MathVerifier())
    right = compute_score(data_source="m", solution_str=RIGHT, ground_truth="4", extra_info={"index": 0}, anything=1)
    assert right == {"score": 1.0, "acc": True, "pred": "4", "outcome": "correct", "unscored": 0.0}
    silent = compute_score("m", SILENT, np.array(["4"], dtype=object))
    assert silent == {"score": 0.0, "acc": False, "pred": None, "outcome": "no_answer", "unscored": 0.0}
    scorer = Marks()
    to_verl(scorer)("m", "a", None, {"question": "2 + 2 = ?"})
    assert scorer.seen[0].prompt == "2 + 2 = ?"


def test_openrlhf() -> None:
    reward_func = to_openrlhf(MathVerifier())
    queries = [f"<s>2 + 2 = ? {text}</s>" for text in (RIGHT, WRONG, SILENT)]
    found = reward_func(queries, ["2 + 2 = ?"] * 3, ["4"] * 3, anything=1)
    assert found["rewards"].tolist() == [1.0, 0.0, 0.0]
    assert found["extra_logs"]["no_answer"].tolist() == [0.0, 0.0, 1.0]
    rated = to_openrlhf(Marks())(["p seven", "p"], ["p", "p"], ["", ""])
    assert (rated["rewards"].tolist(), rated["scores"].tolist()) == ([6.0, 0.0], [1.0, 0.0])


def test_open_instruct() -> None:
    verifier = to_open_instruct(MathVerifier(), weight=2.0)()
    assert (verifier.name, verifier.weight) == ("math", 2.0)
    found = verifier(tokenized_prediction=[1, 2], prediction=RIGHT, label="4", query="2 + 2 = ?", rollout_state={})
    assert (found.score, found.cost, found.reasoning) == (1.0, 0.0, "correct, answer 4")
    assert asyncio.run(verifier.async_call([1, 2], WRONG, "4")).score == 0.0


def test_open_instruct_finds_it_among_the_subclasses_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class VerifierFunction:
        def __init__(self, name: str, weight: float = 1.0, verifier_config: Any = None) -> None:
            self.name, self.weight, self.verifier_config = name, weight, verifier_config

    theirs = SimpleNamespace(VerifierFunction=VerifierFunction, VerificationResult=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "open_instruct", SimpleNamespace(ground_truth_utils=theirs))
    monkeypatch.setitem(sys.modules, "open_instruct.ground_truth_utils", theirs)
    made = to_open_instruct(MathVerifier())
    assert VerifierFunction.__subclasses__() == [made]
    verifier = made("their settings")
    assert (verifier.name, verifier.verifier_config) == ("math", "their settings")
    assert verifier([], RIGHT, "4").score == 1.0


def test_verifiers_of_either_kind() -> None:
    reward = to_verifiers(MathVerifier())
    assert reward.__name__ == "math"
    turns = [SimpleNamespace(role="assistant", content=RIGHT)]
    assert asyncio.run(reward(prompt=TURNS, completion=turns, answer="4", task="default")) == 1.0
    data, trace = SimpleNamespace(prompt="2 + 2 = ?", answer="4"), SimpleNamespace(last_reply=WRONG)
    assert asyncio.run(reward(task=data, trace=trace)) == 0.0


def callers(unscored: float | None) -> list[Any]:
    verl, rlhf, verifiers = (make(Marks(), unscored=unscored) for make in (to_verl, to_openrlhf, to_verifiers))
    instruct = to_open_instruct(Marks(), unscored=unscored)()
    return [
        lambda: verl("m", "unknown", None)["score"],
        lambda: rlhf(["unknown"], [""], [None])["rewards"].tolist()[0],
        lambda: instruct([], "unknown", None).score,
        lambda: asyncio.run(verifiers(completion="unknown")),
    ]


def test_what_is_not_known_is_an_error_or_what_was_said() -> None:
    names = ("verl", "OpenRLHF", "open-instruct", "verifiers")
    for name, call in zip(names, callers(None), strict=True):
        with pytest.raises(
            UnscoredError, match=rf"could not tell \(took too long\), and {name} knows no missing reward"
        ):
            call()
    assert [call() for call in callers(0.25)] == [0.25] * 4
    assert to_verl(Marks(), unscored=0.0)("m", "unknown", None)["unscored"] == 1.0
    assert to_openrlhf(Marks(), unscored=0.0)(["unknown"], [""], [None])["extra_logs"]["unscored"].tolist() == [1.0]


# lm-evaluation-harness.


def test_lm_eval() -> None:
    process_results = to_lm_eval(MathVerifier())
    assert process_results({"question": "2 + 2 = ?", "answer": "It is 4.\n#### 4"}, [RIGHT]) == {
        "correct": 1.0,
        "unscored": 0.0,
    }
    assert process_results({"answer": "4"}, [[RIGHT, WRONG]]) == {"correct": 0.5, "unscored": 0.0}
    rates = to_lm_eval(Marks(), metric="length")
    assert rates({}, ["unknown"]) == {"unscored": 1.0}
    assert rates({}, [["unknown", "four"]]) == {"length": 4.0, "unscored": 0.5}
    with pytest.raises(InputError, match="no column 'gold' for the gold; there are 'answer'"):
        to_lm_eval(MathVerifier(), gold="gold")({"answer": "4"}, [RIGHT])


NO_SCORERS = [(MathVerifier, r"call the class, as in MathVerifier\(\)"), ([Marks()], "WeightedSum"), (len, "as_scorer")]


@pytest.mark.parametrize("adapter", [to_trl, to_verl, to_openrlhf, to_open_instruct, to_verifiers, to_lm_eval])
@pytest.mark.parametrize(("given", "way_out"), NO_SCORERS)
def test_what_is_no_scorer_is_refused_at_once(adapter: Any, given: Any, way_out: str) -> None:
    with pytest.raises(TypeError, match=f"a scorer is needed, got .*{way_out}"):
        adapter(given)


LONG = "We have two apples and get two more apples, and so there are four."


def test_a_worked_solution_that_marks_no_answer_is_no_gold() -> None:
    rows: dict[str, Any] = {"prompts": ["p"], "completions": [r"\boxed{4}"]}
    message = r"completion 0: the column 'solution' holds a worked solution that marks no answer .*: give gold="
    with pytest.raises(GoldError, match=message):
        to_trl(MathVerifier())(**rows, solution=[LONG])
    for marked in (rf"{LONG} \boxed{{3}} {LONG} Or: $\boxed{{4}}$.", f"{LONG} #### 4", "$4$"):
        for gold in (None, "solution"):
            assert to_trl(MathVerifier(), gold=gold)(**rows, solution=[marked]) == [1.0]
    with pytest.raises(GoldError, match="a document: the column 'solution'"):
        to_lm_eval(MathVerifier())({"question": "p", "solution": LONG}, ["4"])


def test_functions_of_trl_have_their_columns_in_trl() -> None:
    def by_difficulty(completions: list[str], difficulty: list[int], completion_ids: list[list[int]]) -> list[float]:
        return [d + len(ids) / 10 for d, ids in zip(difficulty, completion_ids, strict=True)]

    reward = to_trl(as_scorer(by_difficulty))
    rows: dict[str, Any] = {"prompts": ["p", "q"], "completions": ["a", "b"], "completion_ids": [[1, 2], [3]]}
    assert reward(**rows, difficulty=[3, 7], odd=[1, 2, 3]) == [3.2, 7.1]


def test_functions_of_verl_and_lm_eval_have_their_columns_there() -> None:
    seen = Marks()
    to_verl(seen)("gsm8k", "four", "4", {"question": "2 + 2?", "index": 5})
    to_lm_eval(seen)({"question": "2 + 2?", "answer": "4", "level": 3}, ["four"])
    assert [dict(sample.meta) for sample in seen.seen] == [
        {"question": "2 + 2?", "index": 5, "data_source": "gsm8k"},
        {"question": "2 + 2?", "answer": "4", "level": 3},
    ]


def test_a_scorer_that_broke_on_everything_ends_trls_run() -> None:
    def broken(sample: Sample) -> float:
        if "4" in sample.completion:
            raise RuntimeError("judge is down")
        return 1.0

    reward = to_trl(as_scorer(broken))
    with pytest.raises(UnscoredError, match=r"the scorer broken broke on all of 2 completions.*judge is down"):
        reward(prompts=["p", "p"], completions=["4", "4"])
    with pytest.raises(UnscoredError, match="judge is down"):
        asyncio.run(to_trl(as_scorer(broken), run_async=True)(prompts=["p"], completions=["4"]))
    with pytest.warns(UserWarning, match="broken could not score 1 of 2 completions, such as: .*judge is down"):
        assert reward(prompts=["p", "p"], completions=["4", "5"]) == [None, 1.0]
    with pytest.warns(UserWarning, match="could not score 2 of 2 completions, such as: undecided"):
        assert to_trl(as_scorer(lambda sample: None))(prompts=["p", "p"], completions=["4", "5"]) == [None, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reward(prompts=["p"] * 100, completions=["5"] * 99 + ["4"])[98:] == [1.0, None]


def test_trls_metrics_have_the_parts_of_a_composition() -> None:
    metrics: dict[str, float] = {}
    both = WeightedSum(
        {"right": (MathVerifier(), 1.0), "brief": (as_scorer(lambda sample: len(sample.completion)), 0.5)}
    )
    completions = [r"\boxed{4}", r"\boxed{15}"]
    to_trl(both)(prompts=["p", "p"], completions=completions, answer=["4", "4"], log_metric=metrics.__setitem__)
    assert metrics == {
        f"rewards/{both.name}/{name}": value for name, value in (("unscored", 0), ("right", 0.5), ("brief", 9.5))
    }


def test_the_want_of_a_gold_names_the_columns() -> None:
    message = (
        r"completion 0: a verifier needs a gold answer; no column is called gold, .*; there are 'final': name it, gold="
    )
    rows: dict[str, Any] = {"prompts": ["p"], "completions": ["4"], "final": ["4"], "trainer_state": None}
    with pytest.raises(GoldError, match=message):
        to_trl(MathVerifier())(**rows)
    with pytest.raises(GoldError, match=message):
        asyncio.run(to_trl(MathVerifier(), run_async=True)(**rows))
    with pytest.raises(GoldError, match="there are 'question', 'expected': name it, gold="):
        to_lm_eval(MathVerifier())({"question": "p", "expected": "4"}, ["4"])
    with pytest.raises(GoldError, match=r"the gold '' is empty$"):
        to_trl(MathVerifier())(prompts=["p"], completions=["4"], answer=[""])


def test_choices_of_other_data_sets_are_read_as_ours() -> None:
    seen, texts = Marks(), ["one", "two"]
    for choices in (
        texts,
        {"text": texts, "label": ["A", "B"]},
        np.array(texts, dtype=object),
        {"text": np.array(texts)},
    ):
        to_verl(seen)("arc", "B", "B", {"choices": choices, "level": np.int64(3)})
    assert [dict(sample.meta) for sample in seen.seen] == [{"choices": texts, "level": 3, "data_source": "arc"}] * 4
    for odd in ("one", 3, [1, 2], {"a": 1}):
        to_lm_eval(seen)({"choices": odd, "answer": "B"}, ["B"])
        assert "choices" not in seen.seen[-1].meta


def test_a_column_of_another_length_belongs_to_no_row() -> None:
    seen = Marks()
    to_trl(seen)(prompts=["p", "q"], completions=["a", "b"], answer=["4", "5"], three=[1, 2, 3])
    assert [dict(sample.meta) for sample in seen.seen] == [{"answer": "4"}, {"answer": "5"}]


def test_a_solution_of_few_words_is_an_answer() -> None:
    rows: dict[str, Any] = {"prompts": ["p"], "completions": [r"\boxed{\text{all real numbers but two and three}}"]}
    assert to_trl(MathVerifier())(**rows, solution=["all real numbers but two and three"]) == [1.0]


def test_few_without_a_score_are_said_too() -> None:
    reward = to_trl(as_scorer(lambda sample: None if sample.completion == "4" else 1.0))
    with pytest.warns(UserWarning, match="could not score 2 of 100"):
        reward(prompts=["p"] * 100, completions=["5"] * 98 + ["4"] * 2)
