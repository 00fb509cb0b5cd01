"""From a question to prompt ids: rendered once, by the model's own chat template where it has one."""

from dataclasses import dataclass
from typing import Any

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
