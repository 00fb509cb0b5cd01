"""From a question to prompt ids: rendered once, by the model's own chat template where it has one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markscheme.files import InputError
from markscheme.problems import Problem

BOXED_INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFormat:
    """How a question is put to a model."""

    instruction: str = BOXED_INSTRUCTION
    """Follows the question on a line of its own; empty for none."""
    system: str = ""
    """The system message of a chat model; empty for none."""

    def render(self, question: str, tokenizer: Any) -> str:
        """The prompt text: through the chat template, or as `Question: ... Answer:` without one."""
        content = f"{question}\n{self.instruction}" if self.instruction else question
        if tokenizer.chat_template is None:
            return f"{self.system}\n\nQuestion: {content}\nAnswer:".lstrip()
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages.append({"role": "user", "content": content})
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def prompt_ids(self, question: str, tokenizer: Any) -> tuple[int, ...]:
        """The prompt as token ids. A chat template writes its own special tokens, so none are added to it."""
        plain = tokenizer.chat_template is None
        return tuple(tokenizer.encode(self.render(question, tokenizer), add_special_tokens=plain))


def room_of(policy: Any) -> int | None:
    """The positions that a model has, for a prompt and its completion together; None if it does not say."""
    room: int | None = getattr(policy.config.get_text_config(), "max_position_embeddings", None)
    return room


def check_room(
    policy: Any,
    problems: Sequence[Problem],
    prompt_ids: Callable[[Problem], Sequence[int]],
    max_completion_tokens: int,
) -> int:
    """Finds out whether every problem leaves room for its completion, before anything is generated.

    Returns:
        The tokens that the longest prompt and its completion may have.

    Raises:
        InputError: naming the longest that does not.
    """
    room = room_of(policy)
    length, id_ = max(((len(prompt_ids(problem)), problem.id) for problem in problems), default=(0, ""))
    if room is not None and length + max_completion_tokens > room:
        way_out = f"give --max-completion-tokens {room - length} or less" if length < room else "leave it out"
        raise InputError(
            f"max_completion_tokens {max_completion_tokens} after the {length} tokens of problem {id_} is more than "
            f"the model's {room} positions: {way_out}"
        )
    return length + max_completion_tokens
