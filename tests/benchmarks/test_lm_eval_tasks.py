"""Prompts of lm-eval's tasks: from a package made here, and beside the real one where it is installed."""

import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from markscheme.benchmarks.protocols import protocol_named
from markscheme.files import InputError

needs_lm_eval = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="compares with lm_eval where it is installed"
)

Package = Callable[[Mapping[str, str]], None]


class NoTemplate:
    chat_template = None


class Tagged:
    """A chat template that writes every message with its role."""

    chat_template = "tags"

    def apply_chat_template(self, messages: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool) -> str:
        assert (tokenize, add_generation_prompt) == (False, True)
        return "".join(f"<{message['role']}>{message['content']}" for message in messages) + "<assistant>"


SUMS = r"""
task: sums  # a comment
output_type: generate_until
test_split: test
doc_to_text: "Ask: {{question}}\nSay:"
doc_to_target: "{{answer.split('#')[-1].strip() if answer is defined else target}}"
num_fewshot: 2
fewshot_config:
  sampler: first_n
  samples:
    - {question: "1 + 1?", target: "It is 2."}
    - {question: "2 + 2?", answer: "Two twos # It is 4."}
    - {question: "3 + 3?", target: "It is 6."}
generation_kwargs:
  until: ["Ask:", "</s>"]
metadata: {version: 3.5}
"""

PROOFS = r"""
task: proofs
doc_to_text: !function utils.doc_to_text
doc_to_target: "{{answer if few_shot is undefined else solution}}"
description: "Prove.\n\n"
num_fewshot: 1
target_delimiter: "\n"
fewshot_config: {sampler: first_n, samples: !function utils.examples, fewshot_delimiter: "\n---\n"}
"""

# The rest of the file is neither run nor needed, as where a grader asks for what is not installed.
PROOFS_UTILS = """
from __future__ import annotations
import re
from a_package_of_the_graders import parse

assert False, "the file was run"


def doc_to_text(doc: parse.Doc) -> str:
    return "Claim: " + re.sub("!+", ".", doc["problem"])


def examples():
    return [{"problem": "A is A!!", "solution": "Clear.", "few_shot": "1"}]


def with_helper(doc):
    return helper(doc)


def looks_further(doc):
    return doc["problem"] if doc.get("level") else "x"
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Writes an lm_eval package of these task files, and puts it before any other."""

    def write(files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / "lm_eval" / "tasks" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "lm_eval" / "__init__.py").write_text("raise ImportError('it is only read')")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "lm_eval", raising=False)

    return write


def test_exemplars_and_question_in_the_tasks_own_words(package: Package) -> None:
    package({"sums/sums.yaml": SUMS})
    protocol = protocol_named("lm-eval:sums", task="gsm8k")
    assert protocol.render("5 + 5?", NoTemplate()) == (
        "Ask: 1 + 1?\nSay: It is 2.\n\nAsk: 2 + 2?\nSay: It is 4.\n\nAsk: 5 + 5?\nSay:"
    )
    assert protocol.render("5 + 5?", Tagged()) == protocol.render("5 + 5?", NoTemplate())
    assert protocol.stop == ("Ask:", "</s>")
    assert protocol.max_completion_tokens == 1024
    assert protocol.note == "lm-eval's own limit is 256 tokens; here 1024"


def test_a_question_that_is_an_exemplar_is_not_answered_in_its_prompt(package: Package) -> None:
    package({"sums/sums.yaml": SUMS})
    protocol = protocol_named("lm-eval:sums", task="gsm8k")
    # 1 + 1 is left out, and the third exemplar is shown in its place
    assert protocol.render("1 +  1?", NoTemplate()) == (
        "Ask: 2 + 2?\nSay: It is 4.\n\nAsk: 3 + 3?\nSay: It is 6.\n\nAsk: 1 +  1?\nSay:"
    )


def test_turns_of_a_chat(package: Package) -> None:
    package({"proofs.yaml": PROOFS, "utils.py": PROOFS_UTILS})
    protocol = protocol_named("lm-eval:proofs+chat", task="math")
    assert protocol.render("B!", Tagged()) == (
        "<system>Prove.\n\n<user>Claim: A is A.<assistant>Clear.<user>Claim: B.<assistant>"
    )
    assert protocol.render("B!", NoTemplate()) == "Prove.\n\nClaim: A is A.\nClear.\n---\nClaim: B."


def test_functions_are_taken_out_of_the_file_of_an_included_task(package: Package) -> None:
    package(
        {
            "first/proofs.yaml": PROOFS,
            "first/utils.py": PROOFS_UTILS,
            "second/more.yaml": 'include: ../first/proofs.yaml\ntask: "more"\ndescription: ""\n',
        }
    )
    protocol = protocol_named("lm-eval:more", task="math")
    assert protocol.render("B!", NoTemplate()) == "Claim: A is A.\nClear.\n---\nClaim: B."
    assert protocol.stop == ("\n\n",)  # lm-eval's own: what parts exemplars


def test_the_record_names_exemplars_and_holds_no_text_of_them(package: Package) -> None:
    package({"sums/sums.yaml": SUMS})
    record = protocol_named("lm-eval:sums", task="gsm8k").to_dict()
    assert record["form"]["source"].endswith("task sums, version 3.5")
    assert [one["id"] for one in record["form"]["exemplars"]] == ["sums/0", "sums/1", "sums/2"]
    assert "It is" not in json.dumps(record)


@pytest.mark.parametrize(
    ("generation", "tokens"),
    [
        ("{until: x, max_gen_toks: 300}", 300),
        ("{until: x, max_tokens: 9, max_new_tokens: 400}", 400),  # as lm-eval ranks its names
        ("{until: x}", 1024),
    ],
)
def test_the_limit_is_the_tasks_or_is_said(generation: str, tokens: int, package: Package) -> None:
    package({"one.yaml": f"task: one\ndoc_to_text: question\ngeneration_kwargs: {generation}\n"})
    protocol = protocol_named("lm-eval:one", task="math")
    assert (protocol.stop, protocol.max_completion_tokens) == (("x",), tokens)
    assert bool(protocol.note) == (tokens == 1024)
    assert protocol.render("7?", NoTemplate()) == "7?"  # the column alone


def test_grade_school_tasks_get_fewer_tokens(package: Package) -> None:
    package({"gsm.yaml": 'task: gsm_mine\ndoc_to_text: "{{question}}"\n'})
    assert protocol_named("lm-eval:gsm_mine", task="gsm8k").max_completion_tokens == 512


ZERO_SHOT = 'task: one\ndoc_to_text: "{{question}}"\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SUMS.replace("first_n", "default").replace("sums", "one"), "drawn anew for each question"),
        (ZERO_SHOT + "num_fewshot: 5\nfewshot_split: train\n", "from a split of its data set, drawn anew"),
        (ZERO_SHOT + "num_fewshot: 5\nfewshot_split: a\nfewshot_config: {sampler: first_n}\n", "from a split of its"),
        (SUMS.replace("num_fewshot: 2", "num_fewshot: 4").replace("sums", "one"), "asks for 4 exemplars and has 3"),
        (SUMS.replace("It is 2.", "[2, 3]").replace("sums", "one"), "the target '[2, 3]'"),
        (SUMS.replace("else target", "else goal").replace("sums", "one"), "'goal' is undefined"),
        ('task: one\ndoc_to_text: "{{body}} {{question}}"\n', "needs more than a question (column 'body')"),
        (
            'task: one\ndoc_to_text: "{% if answer is none %}a{% endif %}{{question}}"\n',
            "(column 'answer')",
        ),
        ('task: one\ndoc_to_text: "{{question}}{{problem}}"\n', "one of the columns problem, question"),
        ("task: one\ndoc_to_text: !function utils.looks_further\n", "(column 'level')"),
        ("task: one\ndoc_to_text: !function utils.with_helper\n", "function with_helper that needs more"),
        ("task: one\ndoc_to_text: !function utils.nowhere\n", "has its function utils.nowhere elsewhere"),
        ("task: one\ndoc_to_text: Solve it.\n", "without a question"),
        ('task: one\ndoc_to_text: "{{question"\n', "template that cannot be read"),
        ("task: one\n", "has None for a template"),
        (ZERO_SHOT + "output_type: multiple_choice\n", "has models choose and not write (multiple_choice)"),
        (ZERO_SHOT + "gen_prefix: So\n", "has a gen_prefix"),
        ("group: one\ntask: [a, b]\n", "is a group of tasks: name one of those listed in"),
        ("task: [", "is no task of lm_eval"),
        ("task: one\nbad: [\n", "cannot be read (while parsing"),
        ("task: one\ninclude: missing.yaml\n", "cannot be read ([Errno 2]"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(text: str, reason: str, package: Package) -> None:
    package({"folder/one.yaml": text, "folder/utils.py": PROOFS_UTILS})
    with pytest.raises(InputError) as error:
        protocol_named("lm-eval:one", task="gsm8k")
    message = str(error.value)
    assert message.startswith("lm-eval:one ")
    assert reason in message
    assert message.endswith("few-shot:K takes exemplars of our own tasks")
    assert "\n" not in message


def test_without_lm_eval_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^lm-eval:sums needs lm_eval, which is not installed \(pip install lm_eval"):
        protocol_named("lm-eval:sums", task="gsm8k")


# Ours, not those of any data set.
QUESTIONS = (
    "A baker fills 3 trays with 12 rolls each and eats 5 rolls. How many rolls are left?",
    'Let $f(x) = \\frac{x}{2}$ & <y>.\n\nIf {{x}} is "4", what is $f\\left(x\\right)$? \u4e8c\n',
)


def real_requests(
    folder: str, name: str, tokenizer: PreTrainedTokenizerBase, chat: bool, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, dict[str, Any]]]:
    """The prompt and the generation settings that the installed lm-eval itself asks a model with, a question each."""
    import datasets
    import lm_eval.tasks
    from lm_eval.tasks import TaskManager

    version = importlib.metadata.version
    # minerva_math refuses to be imported beside another antlr, which only its grader needs
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "4.11" if name.startswith("antlr4") else version(name)
    )
    docs = datasets.Dataset.from_list(
        [
            {"question": one, "answer": "So it is #### 2", "problem": one, "solution": "It is $\\boxed{2}$."}
            for one in QUESTIONS
        ]
    )
    splits = datasets.DatasetDict(train=docs, test=docs)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: splits)
    tasks = Path(lm_eval.tasks.__file__).parent
    manager = TaskManager(include_defaults=False, include_path=str(tasks / folder))
    task = manager.load([name])["tasks"][name]
    task.build_all_requests(
        apply_chat_template=chat,
        fewshot_as_multiturn=chat,
        chat_template=lambda messages, add_generation_prompt: tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt
        ),
    )
    return [instance.args for instance in task.instances]


@needs_lm_eval
@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("gsm8k", "gsm8k_cot"),
        ("gsm8k", "gsm8k_cot_zeroshot"),
        ("gsm8k", "gsm8k_cot_llama"),
        ("gsm8k", "gsm8k_cot_self_consistency"),
        ("minerva_math", "minerva_math_algebra"),
        ("minerva_math", "minerva_math500"),
        ("hendrycks_math", "hendrycks_math_algebra"),
    ],
)
def test_prompts_are_those_of_lm_eval_byte_for_byte(
    folder: str, name: str, chat: bool, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = real_requests(folder, name, tokenizer, chat, monkeypatch)
    protocol = protocol_named(f"lm-eval:{name}{'+chat' if chat else ''}", task="gsm8k")
    assert len(requests) == len(QUESTIONS)
    for question, (prompt, generation) in zip(QUESTIONS, requests, strict=True):
        assert protocol.render(question, tokenizer) == prompt
        assert list(protocol.stop) == generation["until"]


@needs_lm_eval
def test_a_task_that_draws_its_exemplars_is_refused() -> None:
    with pytest.raises(InputError, match="drawn anew for each question"):
        protocol_named("lm-eval:gsm8k", task="gsm8k")
