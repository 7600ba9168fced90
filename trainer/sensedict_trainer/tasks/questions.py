"""Multiple-choice data sets: which fields their rows have, and how they are asked, as lm-evaluation-harness asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sensedict.errors import InvalidInput
from sensedict_trainer.tasks.rows import Row, require

LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True)
class Item:
    """What a row holds.

    Attributes:
        text: the question; where each choice has a context of its own, what they have in common.
        choices: the answers' texts, two or more.
        answer: place of the right one.
        group: examples are taken from the same one, as MMLU's subject.
        contexts: what stands before each choice, where that is not the same for all (WinoGrande).
        id: the row's own; its place in the file where it has none.
    """

    text: str
    choices: tuple[str, ...]
    answer: int
    group: str = ""
    contexts: tuple[str, ...] = ()
    id: str = ""


@dataclass(frozen=True)
class Question:
    """One question in one form.

    Attributes:
        contexts: what stands before each choice, without a blank at its end.
        endings: what the model is asked the likelihood of, after one blank.
            In `continuation_norm` log-likelihoods are divided by their characters.
        answer: place of the right one.
        group: as the item's.
        id: as the item's.
    """

    contexts: tuple[str, ...]
    endings: tuple[str, ...]
    answer: int
    group: str
    id: str

    @property
    def solved(self) -> str:
        """The question with its right answer."""
        return f"{self.contexts[self.answer]} {self.endings[self.answer]}"


@dataclass(frozen=True)
class ChoiceSet:
    """A data set, and how its questions are asked.

    Attributes:
        name: as in `name/form`.
        fields: those a row must have.
        scored, examples: names of the files that are scored and that examples are taken from, without `.jsonl`.
        read: a row's item. Raises ValueError, KeyError or TypeError saying what is wrong with the row.
        plain: the prompt that answers are continuations of.
        listed: the prompt with the choices under letters; None where the form is not asked.
        topic: what stands before everything, by layout (`letter`, `continuation`), with `{}` for the group.
        normed: whether the answers of a question differ in length, so that `continuation_norm` means something.
    """

    name: str
    fields: tuple[str, ...]
    scored: str
    examples: str
    read: Callable[[Mapping[str, Any]], Item]
    plain: Callable[[Item], str]
    listed: Callable[[Item], str] | None
    topic: Mapping[str, str]
    normed: bool = True

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms it is asked in."""
        letter = ("letter",) if self.listed else ()
        return (*letter, "continuation", *(("continuation_norm",) if self.normed else ()))

    def question(self, item: Item, form: str) -> Question:
        """An item in a form."""
        if form == "letter" and self.listed is not None:
            endings = tuple(LETTERS[: len(item.choices)])
            return Question((self.listed(item),) * len(endings), endings, item.answer, item.group, item.id)
        contexts = item.contexts or (self.plain(item),) * len(item.choices)
        return Question(contexts, item.choices, item.answer, item.group, item.id)

    def heading(self, group: str, form: str) -> str:
        """What stands before the examples."""
        layout = "letter" if form == "letter" else "continuation"
        return self.topic.get(layout, "").format(group.replace("_", " "))

    def item(self, row: Row, known: Mapping[str, Sequence[str]]) -> Item:
        """The item of a row.

        Args:
            known: the fields of all data sets, by name, to tell a file of another.

        Raises:
            InvalidInput: a field is missing or not what it should be, or the answer is not among the choices; names
                file and line.
        """
        require(row, self.fields, self.name, known)
        try:
            item = self.read(row.values)
            _check(item)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidInput(f"{row.where}: {_reason(error)}") from error
        return item


def _check(item: Item) -> None:
    if not item.text.strip():
        raise ValueError("the question is empty")
    if not 2 <= len(item.choices) <= len(LETTERS):
        raise ValueError(f"a question has 2 to {len(LETTERS)} choices, not {len(item.choices)}")
    for text in (item.text, *item.choices, *item.contexts):
        if not isinstance(text, str):
            raise TypeError(f"{text!r} is {type(text).__name__}, and must be a string")
        text.encode()  # half a character is no text
    if not all(choice.strip() for choice in item.choices):
        raise ValueError("a choice is empty")
    if not 0 <= item.answer < len(item.choices):
        raise ValueError(f"the answer {item.answer} is outside the {len(item.choices)} choices")


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return f"half a character, {error.object[error.start]!a}"
    return f"no field {error}" if isinstance(error, KeyError) else str(error)


def _labelled(row: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """Choices and answer of `choices: {text, label}` and `answerKey` (ARC, CommonsenseQA)."""
    texts, labels, key = row["choices"]["text"], row["choices"]["label"], row["answerKey"]
    if len(texts) != len(labels):
        raise ValueError(f"{len(texts)} choices but {len(labels)} labels")
    if len(set(labels)) != len(labels):
        raise ValueError(f"two choices have the same label: {', '.join(map(str, labels))}")
    if key in ("", None):
        raise ValueError("the question has no answer: a split whose answers are not public cannot be scored")
    if key not in labels:
        raise ValueError(f"the answer {key!r} is not among the labels {', '.join(map(str, labels))}")
    return tuple(texts), labels.index(key)


def _number(value: Any, choices: int, first: int = 0) -> int:
    """The place of an answer that a number names, also as text (`"2"`)."""
    if value in ("", -1, "-1", None):
        raise ValueError("the question has no answer: a split whose answers are not public cannot be scored")
    places = [str(place) for place in range(first, first + choices)]
    if isinstance(value, bool) or str(value) not in places:
        raise ValueError(f"the answer {value!r} is none of {', '.join(places)}")
    return int(value) - first


def _arc(row: Mapping[str, Any]) -> Item:
    choices, answer = _labelled(row)
    return Item(_text(row["question"]), choices, answer)


def _commonsense_qa(row: Mapping[str, Any]) -> Item:
    choices, answer = _labelled(row)
    return Item(_text(row["question"]).strip(), choices, answer)


def _piqa(row: Mapping[str, Any]) -> Item:
    return Item(_text(row["goal"]), (row["sol1"], row["sol2"]), _number(row["label"], 2))


def _mmlu(row: Mapping[str, Any]) -> Item:
    choices = tuple(row["choices"])
    return Item(_text(row["question"]).strip(), choices, _number(row["answer"], len(choices)), _text(row["subject"]))


def _hellaswag(row: Mapping[str, Any]) -> Item:
    # The second half of a context begins its sentence; a file that has both halves joined is taken as it is.
    context = f"{row['ctx_a']} {row['ctx_b'].capitalize()}" if "ctx_a" in row and "ctx_b" in row else _text(row["ctx"])
    endings = tuple(_unmarked(ending) for ending in row["endings"])
    return Item(_unmarked(f"{row['activity_label']}: {context}"), endings, _number(row["label"], len(endings)))


def _unmarked(text: str) -> str:
    """A text without WikiHow's marks in brackets, as lm-evaluation-harness takes them out."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def _winogrande(row: Mapping[str, Any]) -> Item:
    before, blank, after = _text(row["sentence"]).partition("_")
    if not blank:
        raise ValueError("the sentence has no blank, _")
    contexts = (before + row["option1"], before + row["option2"])
    return Item(row["sentence"], (after.strip(),) * 2, _number(row["answer"], 2, first=1), contexts=contexts)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"the question is {type(value).__name__}, and must be a string")
    return value


def _asked(item: Item) -> str:
    return f"Question: {item.text}\nAnswer:"


def _bare(item: Item) -> str:
    return item.text


def _listed(item: Item) -> str:
    return f"Question: {_options(item)}"


def _options(item: Item) -> str:
    lines = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, item.choices, strict=False)]
    return "\n".join([item.text, *lines, "Answer:"])


_LABELLED = ("question", "choices", "answerKey")
_MMLU_TOPIC = {
    "letter": "The following are multiple choice questions (with answers) about {}.\n\n",
    "continuation": "The following are questions (with answers) about {}.\n\n",
}
_SETS = (
    ChoiceSet("arc_easy", _LABELLED, "arc_easy_test", "arc_easy_train", _arc, _asked, _listed, {}),
    ChoiceSet("arc_challenge", _LABELLED, "arc_challenge_test", "arc_challenge_train", _arc, _asked, _listed, {}),
    ChoiceSet(
        "commonsense_qa",
        _LABELLED,
        "commonsense_qa_validation",
        "commonsense_qa_train",
        _commonsense_qa,
        _asked,
        _listed,
        {},
    ),
    ChoiceSet("piqa", ("goal", "sol1", "sol2", "label"), "piqa_validation", "piqa_train", _piqa, _asked, _listed, {}),
    ChoiceSet(
        "mmlu",
        ("subject", "question", "choices", "answer"),
        "mmlu_test",
        "mmlu_dev",
        _mmlu,
        _asked,
        _options,
        _MMLU_TOPIC,
    ),
    ChoiceSet(
        "hellaswag",
        ("activity_label", "ctx", "endings", "label"),
        "hellaswag_validation",
        "hellaswag_train",
        _hellaswag,
        _bare,
        None,
        {},
    ),
    ChoiceSet(
        "winogrande",
        ("sentence", "option1", "option2", "answer"),
        "winogrande_xl_validation",
        "winogrande_train_l",
        _winogrande,
        _bare,
        None,
        {},
        normed=False,
    ),
)

CHOICE_SETS: Mapping[str, ChoiceSet] = {data_set.name: data_set for data_set in _SETS}
