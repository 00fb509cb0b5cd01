"""Prompts and completions that are texts or conversations, as the tools that write them have them."""

from collections.abc import Mapping, Sequence
from typing import Any

from markscheme.files import InputError
from markscheme.scoring import Message


def prompt_of(value: Any) -> str | tuple[Message, ...]:
    """A prompt: text, or the turns of a conversation as mappings or objects with role and content."""
    if isinstance(value, str):
        return value
    return tuple(Message(role=_field(turn, "role"), content=_text(_field(turn, "content"))) for turn in _turns(value))


def completion_of(value: Any) -> str:
    """The text of a completion: itself, or what the assistant says in its turns; nothing for None."""
    if value is None or isinstance(value, str):
        return value or ""
    return "\n".join(_text(_field(turn, "content")) for turn in _turns(value) if _field(turn, "role") == "assistant")


def are_messages(value: object) -> bool:
    """Whether a value of JSON is a list of messages, each an object with a role and a content."""
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def _is_message(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("role"), str) and _is_content(value.get("content"))


def _is_content(content: object) -> bool:
    return content is None or isinstance(content, str) or (isinstance(content, list) and all(map(_is_part, content)))


def _is_part(part: object) -> bool:
    return isinstance(part, str) or (isinstance(part, Mapping) and isinstance(part.get("text", ""), str))


def answer_in(said: str | list[Any], where: str) -> str:
    """The text of a completion, which is that or messages.

    Raises:
        InputError: naming where it stands, if no message is the assistant's.
    """
    if isinstance(said, list) and not any(message["role"] == "assistant" for message in said):
        raise InputError(f"{where} holds messages of which none has the role 'assistant'")
    return completion_of(said)


def _turns(value: Any) -> Sequence[Any]:
    return [value] if isinstance(value, Mapping) or hasattr(value, "content") else list(value)


def _field(turn: Any, name: str) -> Any:
    return turn.get(name) if isinstance(turn, Mapping) else getattr(turn, name, None)


def _text(content: Any) -> str:
    """Content is text, or a list of parts of which those with text count."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(_text(part if isinstance(part, str) else _field(part, "text")) for part in content)
