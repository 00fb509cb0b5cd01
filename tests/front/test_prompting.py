import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from markscheme.policy.make import make_tokenizer
from markscheme.prompting import BOXED_INSTRUCTION, PromptFormat

TOKENIZER = make_tokenizer()


@pytest.fixture
def plain(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A tokenizer without a chat template."""
    plain = copy.deepcopy(tokenizer)
    plain.chat_template = None
    return plain


@pytest.mark.parametrize(
    ("form", "prompt"),
    [
        (PromptFormat(instruction=""), "<|question|> 1 + 2?<|answer|>"),
        (PromptFormat(instruction="Box it."), "<|question|> 1 + 2?\nBox it.<|answer|>"),
        (PromptFormat(), f"<|question|> 1 + 2?\n{BOXED_INSTRUCTION}<|answer|>"),
        (PromptFormat(instruction="", system="Be brief."), "<|question|> Be brief.<|question|> 1 + 2?<|answer|>"),
    ],
)
def test_the_models_own_template_is_used(form: PromptFormat, prompt: str, tokenizer: PreTrainedTokenizerBase) -> None:
    assert form.render("1 + 2?", tokenizer) == prompt
    assert tokenizer.decode(form.prompt_ids("1 + 2?", tokenizer)) == prompt


@pytest.mark.parametrize(
    ("form", "prompt"),
    [
        (PromptFormat(instruction=""), "Question: 1 + 2?\nAnswer:"),
        (PromptFormat(instruction="Box it.", system="Be brief."), "Be brief.\n\nQuestion: 1 + 2?\nBox it.\nAnswer:"),
    ],
)
def test_without_a_template_it_is_question_and_answer(
    form: PromptFormat, prompt: str, plain: PreTrainedTokenizerBase
) -> None:
    assert form.render("1 + 2?", plain) == prompt
    assert form.prompt_ids("1 + 2?", plain) == tuple(plain.encode(prompt))


class WithStartToken:
    """A tokenizer that begins with token 1 where special tokens are asked for."""

    def __init__(self, chat_template: str | None) -> None:
        self.chat_template = chat_template

    def apply_chat_template(self, messages: object, tokenize: bool, add_generation_prompt: bool) -> str:
        return "<s>?"

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [1, 9] if add_special_tokens else [9]


def test_the_start_token_is_written_once() -> None:
    assert PromptFormat().prompt_ids("?", WithStartToken(chat_template=None)) == (1, 9)
    assert PromptFormat().prompt_ids("?", WithStartToken(chat_template="writes <s> itself")) == (9,)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_question_comes_through(question: str) -> None:
    ids = PromptFormat(instruction="").prompt_ids(question, TOKENIZER)
    assert TOKENIZER.decode(ids) == f"<|question|> {question}<|answer|>"
