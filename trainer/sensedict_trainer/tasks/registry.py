"""Tasks by name: `data_set/form`, `data_set/form:SOURCE`, or a data set alone for its usual forms."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sensedict.errors import InvalidInput
from sensedict_trainer.tasks.choice import load_choice
from sensedict_trainer.tasks.questions import CHOICE_SETS, ChoiceSet
from sensedict_trainer.tasks.rows import find_file, name_of
from sensedict_trainer.tasks.squad import FIELDS as SQUAD_FIELDS
from sensedict_trainer.tasks.squad import load_squad
from sensedict_trainer.tasks.task import Asking, Choices, Reply, Task, TaskScore
from sensedict_trainer.text_streams import PREFIX, parse_stream


@dataclass(frozen=True)
class Entry:
    """A data set, as the registry knows it.

    Attributes:
        forms: all that it has.
        usual: those that its name alone stands for.
        fields: those a row must have, by which a file of another data set is told.
        scored, examples: names of its files, without `.jsonl`.
        load: makes the task. Raises `InvalidInput`.
    """

    forms: tuple[str, ...]
    usual: tuple[str, ...]
    fields: tuple[str, ...]
    scored: str
    examples: str
    load: Callable[[Choices], Task]


def _choice(data_set: ChoiceSet) -> Entry:
    def load(chosen: Choices) -> Task:
        return load_choice(data_set, chosen, known_fields())

    usual = tuple(form for form in data_set.forms if form != "letter")
    return Entry(data_set.forms, usual, data_set.fields, data_set.scored, data_set.examples, load)


def _squad() -> Entry:
    def load(chosen: Choices) -> Task:
        return load_squad(chosen, known_fields())

    file = "squad_v2_validation"  # examples are of the paragraph that is asked about, so of the same file
    return Entry(("generate",), ("generate",), SQUAD_FIELDS, file, file, load)


ENTRIES: Mapping[str, Entry] = {
    **{name: _choice(data_set) for name, data_set in CHOICE_SETS.items()},
    "squad_v2": _squad(),
}


def known_fields() -> dict[str, Sequence[str]]:
    """The fields of all data sets, by name, to tell a file of another."""
    return {name: entry.fields for name, entry in ENTRIES.items()}


def load_tasks(
    names: Iterable[str], data: Path | None = None, shots: int = 0, seed: int = 0, limit: int | None = None
) -> list[Task]:
    """The tasks of some names, each with its questions and examples, in the order given.

    Args:
        names: `arc_easy/letter`; `arc_easy` for its forms `continuation` and `continuation_norm`; with `:FILE` or
            `:datasets:NAME#SPLIT` for another file than the one in `data`.
        data: folder of the data sets' files.
        shots: examples before each question, chosen by seed from the data set's file of examples in `data`; without
            `data` from the file that is scored, and then not scored.
        seed: of the choice of examples and questions.
        limit: score this many questions of each, chosen by seed; None for all.

    Raises:
        InvalidInput: no such task, form, folder or file; a bad file; too few examples; a task named twice.
    """
    chosen = [
        (ENTRIES[name], _choices(name, form, source, data, shots, seed, limit)) for name, form, source in _parsed(names)
    ]
    return [entry.load(choices) for entry, choices in chosen]


def check_names(names: Iterable[str]) -> None:
    """Let pass names of tasks, whatever files there are. Raises `InvalidInput` as `load_tasks` does."""
    _parsed(names)


def score(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: Task, batch_size: int = 16, progress: bool = False
) -> TaskScore:
    """The score of a model in a task.

    Raises:
        InvalidInput: an answer alone is longer than the model's context.
    """
    (found,) = score_all(model, tokenizer, [task], batch_size, progress)
    return found


def score_all(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[Task],
    batch_size: int = 16,
    progress: bool = False,
) -> list[TaskScore]:
    """The scores of a model in some tasks; forms that judge the same log-likelihoods share a pass."""
    asked: dict[str, list[Reply]] = {}
    found = []
    for task in tasks:
        if task.pass_key not in asked:
            asked[task.pass_key] = ask(model, tokenizer, task, range(len(task.ids)), batch_size, progress)
        found.append(task.score([task.judge(reply) for reply in asked[task.pass_key]]))
    return found


def ask(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    places: Sequence[int],
    batch_size: int = 16,
    progress: bool = False,
) -> list[Reply]:
    """A model's replies to the questions at some places of a task."""
    shown = None if progress else True  # None: where there is a terminal
    asked = 0.0
    with tqdm(total=len(places), desc=task.name, unit=" questions", disable=shown, leave=False) as bar:

        def done(count: float) -> None:
            """A question that is asked choice by choice is done in parts, whose sum is a little off."""
            nonlocal asked
            asked += count
            bar.update(int(asked + 1e-6) - bar.n)

        return task.ask(model, tokenizer, places, Asking(batch_size, done=done))


def _parsed(names: Iterable[str]) -> list[tuple[str, str, str]]:
    """Data set, form and source (empty: the usual file) of each name."""
    found: list[tuple[str, str, str]] = []
    for given in names:
        task, colon, source = given.partition(":")
        name, slash, form = task.partition("/")
        if name not in ENTRIES:
            raise InvalidInput(f"no task {name!r}{_near(name, ENTRIES)}: there are {', '.join(ENTRIES)}")
        if colon and not source:
            raise InvalidInput(f"{given!r}: a task is named as NAME, NAME/FORM, NAME:FILE or NAME/FORM:FILE")
        entry = ENTRIES[name]
        if slash and form not in entry.forms:
            raise InvalidInput(
                f"{name} has no form {form!r}{_near(form, entry.forms)}: it has {', '.join(entry.forms)}"
            )
        for each in (form,) if slash else entry.usual:
            if (name, each) in [known[:2] for known in found]:
                raise InvalidInput(f"the task {name}/{each} is named twice: a score is known by its task's name")
            found.append((name, each, source))
    return found


def _choices(name: str, form: str, source: str, data: Path | None, shots: int, seed: int, limit: int | None) -> Choices:
    entry = ENTRIES[name]
    if not source and data is None:
        raise InvalidInput(f"where are the questions of {name}? Name their file, {name}:FILE, or a folder of data")
    scored = source or find_file(Path(str(data)), entry.scored)
    _check_file(name, scored)
    examples = find_file(data, entry.examples) if shots and data is not None else None
    if examples is not None and Path(examples).resolve() == Path(scored).resolve():
        examples = None
    return Choices(form, scored, examples, shots, seed, limit)


def _check_file(name: str, source: str) -> None:
    """Refuse a source that its name says to be another data set's, or another split: fields are the same in some."""
    if source.startswith(PREFIX):
        if parse_stream(source).split is None:
            raise InvalidInput(f"{source}: name the split that is scored, as {source}#validation")
        return
    called, entry = name_of(source), ENTRIES[name]
    for other in ENTRIES:
        if other != name and re.match(rf"{other}_(train|dev|validation|test)\b", called):
            raise InvalidInput(f"{source} is a file of {other} by its name, and the task is {name}")
    stem = called.partition(".")[0]
    if re.match(rf"{name}_train(_|$)", stem) or (stem == entry.examples != entry.scored):
        raise InvalidInput(
            f"{source} is by its name what students are trained on and examples are taken from, not what {name} is "
            f"scored on, {entry.scored}.jsonl: a part of it to tune on needs another name"
        )


def _near(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f" (did you mean {near[0]}?)" if near else ""
