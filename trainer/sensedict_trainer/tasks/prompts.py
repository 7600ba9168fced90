"""Prompts as tokens: context and answer cut apart, and cut to what the model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sensedict.errors import InvalidInput
from sensedict_trainer.tasks.likelihood import Request
from sensedict_trainer.tasks.questions import Question


@dataclass(frozen=True)
class Fitted:
    """The requests of a question, one a choice, that the model's context has room for.

    Attributes:
        dropped: examples left out, from the left.
        cut: tokens cut off the left of what is left, where the question alone is too long; the most of any choice.
    """

    requests: tuple[Request, ...]
    dropped: int
    cut: int


def lead_of(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """What the tokenizer puts before every text (`<bos>` in some families, nothing in others)."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    return tuple(full[: next((i for i in range(len(full)) if full[i : i + len(plain)] == plain), 0)])


def context_size(model: PreTrainedModel) -> int | None:
    """Tokens that the model reads at once; None where its configuration names no end."""
    size: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return size


class Fitter:
    """Makes requests of questions for one tokenizer and one length of context."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, window: int | None) -> None:
        self._tokenizer = tokenizer
        self._window = window
        self._lead = lead_of(tokenizer)

    def fit(self, question: Question, heading: str, examples: Sequence[str]) -> Fitted:
        """The requests of a question after a heading and examples.

        What is longer than the model's context loses examples from the left, all its choices the same, until it fits;
        the question alone loses tokens from its left. `<bos>` stays.

        Raises:
            InvalidInput: an answer alone is longer than the context, or adds no token to its question.
        """
        for dropped in range(len(examples) + 1):
            requests = self._requests(question, heading + "".join(examples[dropped:]))
            if self._window is None or max(map(_length, requests)) <= self._window:
                return Fitted(requests, dropped, 0)
        return self._cut(requests, len(examples), question.id)

    def _requests(self, question: Question, before: str) -> tuple[Request, ...]:
        """Context and ending cut apart after they were tokenized together, as lm-evaluation-harness does."""
        contexts = [before + context for context in question.contexts]
        bare = [context.rstrip() for context in contexts]  # blanks at the end go to the answer, with which they merge
        wholes = [f"{context} {ending}" for context, ending in zip(contexts, question.endings, strict=True)]
        found = []
        for start, whole, ending in zip(self._ids(bare), self._ids(wholes), question.endings, strict=True):
            if len(whole) <= len(start):
                raise InvalidInput(f"{question.id}: the answer {ending!r} adds no token to its question")
            found.append(Request((*self._lead, *start), tuple(whole[len(start) :])))
        return tuple(found)

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        different = list(dict.fromkeys(texts))
        ids = self._tokenizer(different, add_special_tokens=False, verbose=False)["input_ids"]
        known = dict(zip(different, ids, strict=True))
        return [known[text] for text in texts]

    def _cut(self, requests: Sequence[Request], dropped: int, name: str) -> Fitted:
        assert self._window is not None
        longest = max(len(request.continuation) for request in requests)
        room = self._window - len(self._lead) - (longest - 1)
        if room < 1:
            raise InvalidInput(
                f"{name}: an answer takes {longest} tokens, and the model reads {self._window}: it cannot be scored"
            )
        begin = len(self._lead)
        kept = [Request((*self._lead, *r.context[begin:][-room:]), r.continuation) for r in requests]
        cut = max(len(old.context) - len(new.context) for old, new in zip(requests, kept, strict=True))
        return Fitted(tuple(kept), dropped, cut)


def _length(request: Request) -> int:
    """Tokens that pass through the model: the last one is only predicted."""
    return len(request.context) + len(request.continuation) - 1
