"""Chats: conversations that a tokenizer's chat template makes a text of, and which of its tokens are answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import InvalidInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sensedict_trainer.text_files import Document

Message = Mapping[str, str]  # `role` and `content`
CHATS = (("messages",), ("prompt", "answer"))  # the columns that a chat may stand in
_ANSWERS = "assistant"  # the role whose messages are answers


@dataclass(frozen=True)
class Chat:
    """A conversation as text.

    Attributes:
        text: as the template writes it.
        answers: where in it the assistant's messages lie with what ends them, as (begin, end) in characters.
    """

    text: str
    answers: tuple[tuple[int, int], ...]


def messages_of(row: Mapping[str, Any], where: str) -> tuple[Message, ...]:
    """The messages of a row of data: `messages`, or one of `prompt` and its `answer`; none where it has neither.

    Args:
        where: what the row is called in an error.

    Raises:
        InvalidInput: messages that are no list of `role` and `content`, or hold no word.
    """
    prompt, answer, given = (row.get(name) for name in ("prompt", "answer", "messages"))
    if prompt is not None and answer is not None:
        if not isinstance(prompt, str) or not isinstance(answer, str):
            raise InvalidInput(f"{where}: `prompt` and `answer` must be strings")
        return ({"role": "user", "content": prompt}, {"role": _ANSWERS, "content": answer})
    if given is None:
        return ()
    if not isinstance(given, list) or not all(map(_is_message, given)):
        raise InvalidInput(f'{where}: `messages` must be a list of {{"role": "user", "content": "…"}}')
    if not any(message["content"].strip() for message in given):
        raise InvalidInput(f"{where}: `messages` hold no text")
    return tuple({"role": message["role"], "content": message["content"]} for message in given)


def render(document: Document, tokenizer: PreTrainedTokenizerBase) -> Chat:
    """A conversation as the tokenizer's chat template writes it.

    Raises:
        InvalidInput: there is no template, it refuses the messages, or it writes earlier ones anew when others follow:
            it cannot then be told where an answer lies.
    """
    if not tokenizer.chat_template:
        raise InvalidInput(
            f"{document.id} is a chat, and the tokenizer has no chat template: take the teacher's chat model, or give "
            "the data as `text`"
        )
    text = _written(document, document.messages, tokenizer)
    answers = []
    for number, message in enumerate(document.messages):
        if message["role"] == _ANSWERS:
            before = _written(document, document.messages[:number], tokenizer, add_generation_prompt=True)
            after = _written(document, document.messages[: number + 1], tokenizer)
            if not after.startswith(before) or not text.startswith(after):
                raise InvalidInput(
                    f"{document.id}: the chat template writes message {number + 1} in another way when others follow, "
                    "and so hides where the answer lies: give each answer as a chat of its own"
                )
            answers.append((len(before), len(after)))
    return Chat(text, tuple(answers))


def answer_tokens(chat: Chat, offsets: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """(n,) which tokens end within an answer, of their (begin, end) in the text; none of no characters does."""
    places = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
    inside = np.zeros(len(places), dtype=np.bool_)
    for begin, end in chat.answers:
        inside |= (places[:, 1] > begin) & (places[:, 1] <= end) & (places[:, 1] > places[:, 0])
    return inside


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and all(isinstance(message.get(name), str) for name in ("role", "content"))


def _written(
    document: Document,
    messages: Sequence[Message],
    tokenizer: PreTrainedTokenizerBase,
    add_generation_prompt: bool = False,
) -> str:
    from jinja2 import TemplateError

    if not messages:
        return ""
    try:
        text: str = tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except TemplateError as error:
        raise InvalidInput(f"{document.id}: the chat template refuses these messages: {error}") from error
    return text
