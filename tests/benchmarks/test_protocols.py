import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from markscheme.benchmarks.few_shot import Exemplar, FewShotForm
from markscheme.benchmarks.protocols import EvaluationProtocol, protocol_named
from markscheme.files import InputError
from markscheme.problems import question_hash
from markscheme.prompting import PromptFormat

TEMPLATE = "{{ bos_token }}{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}"
BOXED = protocol_named("boxed-chat-0shot", task="gsm8k")
PLAIN = protocol_named("plain", task="generated")


def byte_tokenizer(chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """One token a byte; `<s>` first wherever special tokens are asked for."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=258, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"], show_progress=False
    )
    tokenizer.train_from_iterator([], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", chat_template=chat_template
    )


TOKENIZER, CHAT_TOKENIZER = byte_tokenizer(), byte_tokenizer(TEMPLATE)


@pytest.fixture
def worked(tmp_path: Path) -> Path:
    """Four problems with solutions, of which two ask the same."""
    rows = [
        {"id": "a", "question": "1 + 1?", "gold": "2", "solution": "It is 2."},
        {"id": "b", "question": "2 + 2?", "gold": "4", "solution": "It is 4."},
        {"id": "c", "question": "1  + 1?", "gold": "2", "solution": "Two."},
        {"id": "d", "question": "3 + 3?", "gold": "6", "solution": "It is 6."},
    ]
    return write_rows(tmp_path / "worked.jsonl", rows)


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def gsm8k_folder(folder: Path, order: Sequence[int] = range(6)) -> Path:
    """A local copy of GSM8K with a question for every number; the id of a problem is its line."""
    rows = [{"question": f"{number} + 0?", "answer": f"It is {number}.\n#### {number}"} for number in order]
    write_rows(folder / "train.jsonl", rows)
    return folder


# --- the shipped ones are frozen ------------------------------------------------------------------------------------

FROZEN = {
    ("boxed-chat-0shot", "gsm8k"): "0f696198d1bfa451",
    ("plain", "generated"): "7f27f7b8fd7a3dee",
    ("few-shot:4", "generated"): "043208c6e146a717",
    ("few-shot:8", "generated"): "ad0bec53b7fd1a9b",
    ("few-shot:4+chat", "generated"): "835674b3d17ee4d7",
}
"""Whoever changes one of these has changed what published figures mean: give the new protocol another name."""


@pytest.mark.parametrize(("name", "task"), FROZEN)
def test_a_shipped_protocol_never_changes(name: str, task: str) -> None:
    assert protocol_named(name, task=task).hash == FROZEN[name, task]


FROZEN_ON_DATA = {
    ("few-shot:4", "gsm8k"): "ec87700a1c651b2a",
    ("few-shot:8", "gsm8k"): "b717ea69d04f728b",
    ("few-shot:4", "math"): "271c64c07a3c9acc",
    ("few-shot:4", "math500"): "271c64c07a3c9acc",  # exemplars of MATH
}


@pytest.mark.filterwarnings("ignore::markscheme.benchmarks.tasks.datasets.EmptyGoldWarning")
@pytest.mark.parametrize(("name", "task"), FROZEN_ON_DATA)
def test_the_exemplars_of_a_data_set_never_change(name: str, task: str, shared_data: Path) -> None:
    assert protocol_named(name, task=task, data=shared_data).hash == FROZEN_ON_DATA[name, task]


def test_settings_of_the_shipped_ones() -> None:
    assert (BOXED.stop, BOXED.max_completion_tokens) == ((), 2048)
    assert (PLAIN.stop, PLAIN.max_completion_tokens) == ((), 512)
    few = protocol_named("few-shot:4", task="generated")
    assert (few.stop, few.max_completion_tokens) == (("\nQuestion:",), 512)


def test_a_hash_is_the_same_in_every_process() -> None:
    code = (
        "from markscheme.benchmarks.protocols import protocol_named as p; print(p('few-shot:4', task='generated').hash)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == protocol_named("few-shot:4", task="generated").hash


# --- zero-shot: what PromptFormat writes ----------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_zero_shot_prompts_are_those_of_prompt_format(question: str) -> None:
    for protocol, form in ((BOXED, PromptFormat()), (PLAIN, PromptFormat(instruction=""))):
        for tokenizer in (TOKENIZER, CHAT_TOKENIZER):
            assert protocol.render(question, tokenizer) == form.render(question, tokenizer)
            assert protocol.prompt_ids(question, tokenizer) == form.prompt_ids(question, tokenizer)


def test_zero_shot_prompts_as_they_stand() -> None:
    boxed = "2 + 3?\nPlease reason step by step, and put your final answer within \\boxed{}."
    assert BOXED.render("2 + 3?", TOKENIZER) == f"Question: {boxed}\nAnswer:"
    assert BOXED.render("2 + 3?", CHAT_TOKENIZER) == f"<s>[user]{boxed}"
    assert PLAIN.render("2 + 3?", TOKENIZER) == "Question: 2 + 3?\nAnswer:"


# --- few-shot -------------------------------------------------------------------------------------------------------


def test_exemplars_of_a_file_in_its_order(worked: Path) -> None:
    protocol = protocol_named("few-shot:2", task="gsm8k", exemplars=worked)
    expected = "Question: 1 + 1?\nAnswer: It is 2.\n\nQuestion: 2 + 2?\nAnswer: It is 4.\n\nQuestion: 5 + {x}?\nAnswer:"
    assert protocol.render("5 + {x}?", TOKENIZER) == expected
    assert protocol.render("5 + {x}?", CHAT_TOKENIZER) == expected  # one text, whether there is a template or not


def test_exemplars_as_turns_of_a_chat(worked: Path) -> None:
    protocol = protocol_named("few-shot:2+chat", task="gsm8k", exemplars=worked)
    assert protocol.render("5 + 5?", CHAT_TOKENIZER) == (
        "<s>[user]Question: 1 + 1?\nAnswer:[assistant]It is 2.[user]Question: 2 + 2?\nAnswer:[assistant]It is 4."
        "[user]Question: 5 + 5?\nAnswer:"
    )
    without = protocol_named("few-shot:2", task="gsm8k", exemplars=worked)
    assert protocol.render("5 + 5?", TOKENIZER) == without.render("5 + 5?", TOKENIZER)


def test_the_asked_question_is_never_an_exemplar(worked: Path) -> None:
    protocol = protocol_named("few-shot:2", task="gsm8k", exemplars=worked)
    # the first exemplar in other white space: the third takes its place
    assert protocol.render("1 +\n1?", TOKENIZER) == (
        "Question: 2 + 2?\nAnswer: It is 4.\n\nQuestion: 3 + 3?\nAnswer: It is 6.\n\nQuestion: 1 +\n1?\nAnswer:"
    )
    none_to_spare = protocol_named("few-shot:3", task="gsm8k", exemplars=worked)
    assert none_to_spare.render("1 + 1?", TOKENIZER) == protocol.render("1 + 1?", TOKENIZER)  # two are left of three


def test_exemplars_come_from_the_train_split(tmp_path: Path) -> None:
    folder = gsm8k_folder(tmp_path / "gsm8k")
    write_rows(folder / "test.jsonl", [{"question": "not this", "answer": "no #### 1"}])
    form = protocol_named("few-shot:4", task="gsm8k", data=tmp_path).form
    assert isinstance(form, FewShotForm)
    # Four and one to spare, in the order of sha256(repr((0, "exemplar", "gsm8k/train/N"))).
    assert [one.id for one in form.exemplars] == [f"gsm8k/train/{number}" for number in (1, 2, 3, 0, 4)]
    assert form.exemplars[0].solution == "It is 1.\nThe answer is \\boxed{1}."


def test_math500_shows_exemplars_of_math(tmp_path: Path) -> None:
    rows = [{"problem": f"{n}?", "solution": f"It is $\\boxed{{{n}}}$."} for n in range(3)]
    write_rows(tmp_path / "math" / "train.jsonl", rows)
    protocol = protocol_named("few-shot:2", task="math500", data=tmp_path)
    assert isinstance(protocol.form, FewShotForm)
    assert {one.id for one in protocol.form.exemplars} == {"math/train/0", "math/train/1", "math/train/2"}
    assert protocol.max_completion_tokens == 1024


def test_generated_exemplars_are_of_the_given_difficulty() -> None:
    easy, hard = (protocol_named("few-shot:4", task="generated", difficulty=one) for one in (2, 4))
    assert easy.hash != hard.hash
    assert easy.form != protocol_named("few-shot:4", task="generated", difficulty=2, problem_seed=1).form


def test_a_file_as_the_task_needs_a_file_of_exemplars(worked: Path) -> None:
    with pytest.raises(InputError, match="no train split to take exemplars from: give --exemplars, a file of problems"):
        protocol_named("few-shot:2", task=str(worked))
    assert protocol_named("few-shot:2", task=str(worked), exemplars=worked).stop == ("\nQuestion:",)


def test_cmath_has_no_train_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cmath has no train split"):
        protocol_named("few-shot:2", task="cmath", data=tmp_path)


def test_one_local_file_is_not_both_splits(tmp_path: Path) -> None:
    file = gsm8k_folder(tmp_path / "gsm8k") / "train.jsonl"
    with pytest.raises(InputError, match="is one file, and exemplars come from the train split"):
        protocol_named("few-shot:2", task="gsm8k", data=file)


def test_an_exemplar_without_a_solution_is_named(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "bare.jsonl", [{"id": "x", "question": "1?", "gold": "1"}])
    with pytest.raises(InputError, match=r"^problem x of .*bare.jsonl has no solution to show"):
        protocol_named("few-shot:1", task="gsm8k", exemplars=path)


def test_too_few_exemplars(worked: Path) -> None:
    with pytest.raises(InputError, match="3 different questions, too few for few-shot:4"):
        protocol_named("few-shot:4", task="gsm8k", exemplars=worked)


@pytest.mark.parametrize("name", ["", "boxed", "plain+chat", "few-shot", "few-shot:0", "few-shot:-1", "lm-eval:"])
def test_an_unknown_name_lists_what_there_is(name: str) -> None:
    with pytest.raises(InputError, match=r"there are boxed-chat-0shot, plain, few-shot:K, lm-eval:TASK; the last two"):
        protocol_named(name, task="gsm8k")


def test_only_few_shot_takes_a_file_of_exemplars(worked: Path) -> None:
    with pytest.raises(InputError, match="the protocol plain takes no file of exemplars; few-shot:K does"):
        protocol_named("plain", task="gsm8k", exemplars=worked)


# --- the hash and the record ----------------------------------------------------------------------------------------


def few_shot(**changes: object) -> EvaluationProtocol:
    texts = {"first": "It is 2.", "spare": "It is 4.", **changes}
    exemplars = tuple(
        Exemplar(id=id_, question=id_, prompt=f"Q {id_}", solution=str(texts[id_])) for id_ in ("first", "spare")
    )
    form = FewShotForm(source="here", exemplars=exemplars, num_shots=1)
    return EvaluationProtocol(name="mine", form=form, max_completion_tokens=9)


def test_the_hash_changes_with_everything_that_decides_prompts_and_ends() -> None:
    one = few_shot()
    assert isinstance(one.form, FewShotForm)
    others = [
        replace(one, stop=("x",)),
        replace(one, max_completion_tokens=10),
        few_shot(first="It is two."),
        few_shot(spare="It is four."),  # shown only where the first is the question
        replace(one, form=replace(one.form, chat=True)),
        replace(one, form=replace(one.form, num_shots=2)),
        replace(one, form=replace(one.form, after_question="")),
        replace(one, form=replace(one.form, after_exemplar="\n")),
        replace(one, form=replace(one.form, question_text=lambda question: question)),
        replace(one, form=replace(one.form, description=lambda question: "Add.")),
        replace(one, form=PromptFormat(system="Be brief.")),
        replace(one, form=PromptFormat()),
    ]
    assert len({one.hash, *(other.hash for other in others)}) == len(others) + 1


def test_the_hash_does_not_change_with_names() -> None:
    one = few_shot()
    assert isinstance(one.form, FewShotForm)
    assert replace(one, name="yours", note="n", form=replace(one.form, source="there")).hash == one.hash


def test_the_record_has_every_setting_and_no_text_of_exemplars(worked: Path) -> None:
    record = protocol_named("few-shot:2", task="gsm8k", exemplars=worked).to_dict()
    assert json.loads(json.dumps(record)) == record
    assert record["form"] == {
        "source": "worked.jsonl",
        "num_shots": 2,
        "exemplars": [{"id": id_, "sha256": record["form"]["exemplars"][i]["sha256"]} for i, id_ in enumerate("abd")],
        "after_question": " ",
        "after_exemplar": "\n\n",
        "chat": False,
    }
    assert "It is" not in json.dumps(record)
    assert BOXED.to_dict() == {
        "name": "boxed-chat-0shot",
        "hash": BOXED.hash,
        "form": {"instruction": PromptFormat().instruction, "system": ""},
        "stop": [],
        "max_completion_tokens": 2048,
        "note": "",
    }


def test_a_limit_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="max_completion_tokens must be at least 1, got 0"):
        replace(PLAIN, max_completion_tokens=0)


# --- one start token ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", [TOKENIZER, CHAT_TOKENIZER], ids=["plain", "template"])
@pytest.mark.parametrize("name", ["boxed-chat-0shot", "plain", "few-shot:2", "few-shot:2+chat"])
def test_a_prompt_begins_with_one_start_token(name: str, tokenizer: PreTrainedTokenizerBase, worked: Path) -> None:
    exemplars = worked if name.startswith("few-shot") else None
    ids = protocol_named(name, task="gsm8k", exemplars=exemplars).prompt_ids("2 + 3?", tokenizer)
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1


def test_a_text_that_brings_its_start_token_gets_no_other() -> None:
    form = FewShotForm(source="", exemplars=(), num_shots=0, question_text=lambda question: f"<s>{question}")
    ids = EvaluationProtocol(name="own", form=form, max_completion_tokens=9).prompt_ids("2?", TOKENIZER)
    assert ids == (0, *TOKENIZER.encode("2?", add_special_tokens=False))


def test_two_start_tokens_are_an_error() -> None:
    twice = byte_tokenizer("{{ bos_token }}" + TEMPLATE)
    with pytest.raises(InputError, match="the prompt begins with <s> twice"):
        BOXED.prompt_ids("2?", twice)


def test_a_tokenizer_without_a_start_token(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.decode(list(PLAIN.prompt_ids("2?", tokenizer))) == "<|question|> 2?<|answer|>"


@given(st.integers(0, 40))
def test_no_question_is_shown_with_its_solution(number: int) -> None:
    questions = [f"{one} + 0?" for one in range(0, 40, 3)]
    exemplars = tuple(Exemplar(id=one, question=one, prompt=one, solution="S") for one in questions)
    form = FewShotForm(source="", exemplars=exemplars, num_shots=len(exemplars) - 1, question_text=str)
    asked = f"{number} +  0?"
    shown = form.render(asked, TOKENIZER).removesuffix(asked).split(" S\n\n")[:-1]
    assert len(shown) == len(exemplars) - 1
    assert question_hash(asked) not in map(question_hash, shown)
