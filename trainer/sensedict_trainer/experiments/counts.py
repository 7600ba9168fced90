"""Experiments that train nothing: what dictionaries hold, and what recipes say, beside the paper's numbers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from sensedict.errors import ConfigurationError, Mismatch
from sensedict.fileset import VECTORS
from sensedict.parquet import Tables
from sensedict.snapshot import Snapshot
from sensedict_trainer.distil.recipe import load_recipe
from sensedict_trainer.document import Document, Paragraph, Picture, Section, Table
from sensedict_trainer.experiments.order import dictionaries_of
from sensedict_trainer.experiments.render import pairs_table
from sensedict_trainer.experiments.spec import BASE
from sensedict_trainer.teacher import tokenizer_hash
from sensedict_trainer.text import cut_windows, text_hash
from sensedict_trainer.text_sources import read_documents
from sensedict_trainer.tokenizers import load_tokenizer
from sensedict_trainer.work import flatten

if TYPE_CHECKING:
    from sensedict_trainer.experiments.order import Order
    from sensedict_trainer.experiments.spec import Experiment, Paper
    from sensedict_trainer.text import TokenWindow

_RECIPES = ("paper-llama3", "paper-mistral")
_SIZE = "size of the vectors"
_SHARE = "positions with relations (%)"


def count_dictionaries(order: Order) -> Document:
    """The table of an order's dictionaries: the one that is named, and every variant that was given.

    Raises:
        ConfigurationError: a dictionary that is only a service's.
        Mismatch: the text would be cut by another tokenizer than a dictionary's.
    """
    tokenizer = load_tokenizer(order.teacher)
    window = load_recipe(order.recipe, settings=order.settings).window
    windows = cut_windows(read_documents(order.text), tokenizer, window, order.train_tokens)
    found, made = {}, {}
    with dictionaries_of(order) as dictionaries:
        for name in (BASE, *order.variants):
            dictionary = dictionaries.get(name)
            if not isinstance(dictionary, Snapshot):
                raise ConfigurationError(
                    "dictionaries are counted in their file sets: give --snapshot FOLDER (`sensedict files path "
                    "NAME@VERSION` names it)"
                )
            if dictionary.identity.tokenizer_hash != tokenizer_hash(tokenizer):
                raise Mismatch(
                    f"the tokenizer of {order.teacher} is not that of the dictionary {dictionary.manifest.ref} "
                    f"({tokenizer_hash(tokenizer)[:12]} here, {dictionary.identity.tokenizer_hash[:12]} there)"
                )
            found[dictionary.manifest.ref] = dictionary_counts(dictionary, windows)
            made[dictionary.manifest.ref] = asdict(dictionary.identity)
    tokens = sum(len(window.ids) for window in windows)
    described = {"command": order.command, "text": {"tokens": tokens, "sha256": text_hash(windows)}, **made}
    return _document(order.experiment, counts_table(found, order.experiment.paper), described)


def print_recipes(experiment: Experiment) -> Document:
    """The table of the recipes."""
    return _document(experiment, recipes_table(experiment.paper), {"sensedict": version("sensedict")})


def dictionary_counts(dictionary: Snapshot, windows: Sequence[TokenWindow]) -> dict[str, Any]:
    """What a dictionary holds, by the names of DSKD Table 8 and a few more.

    Args:
        windows: text; of the tokens that its positions predict, the share that has a synonym or antonym with senses.

    Raises:
        NotInSnapshot: a file set without its Parquet files.
    """
    index, tables = dictionary.index, Tables(dictionary.folder, dictionary.manifest)
    composed = np.asarray([len(tokens) > 1 for tokens in tables.texts("words.parquet", "token_ids")], dtype=np.bool_)
    with_senses = tables.numbers("words.parquet", "sense_count") > 0
    settings = dictionary.manifest.settings
    related = (np.diff(index.synonyms.offsets) > 0) | (np.diff(index.antonyms.offsets) > 0)
    targets = np.concatenate([window.ids[1:] for window in windows])
    return {
        "vocabulary": dictionary.identity.vocabulary_size,
        "tokens with senses": int((index.token_count > 0).sum()),
        "words composed of tokens": int((composed & with_senses).sum()),
        "senses": dictionary.identity.senses,
        "most senses of a token": dictionary.identity.k,
        _SIZE: f"{dictionary.manifest.files[VECTORS].bytes / 1e9:.3f} GB",
        "size of the file set": f"{sum(entry.bytes for entry in dictionary.manifest.files.values()) / 1e9:.3f} GB",
        "synonym pairs": _pairs(tables, settings.get("synonym_types", ["synonym"])),
        "antonym pairs": _pairs(tables, settings.get("antonym_types", ["antonym", "negation"])),
        "tokens with relations": int(related.sum()),
        _SHARE: f"{100 * float(related[targets].mean()):.1f}",
    }


def counts_table(found: Mapping[str, Mapping[str, Any]], paper: Paper) -> Table:
    """Rows of counts, a column a dictionary, then the paper's."""
    names = list(dict.fromkeys([*(name for counts in found.values() for name in counts), *paper.rows]))
    return _beside(names, found, paper, "dictionary")


def recipes_table(paper: Paper) -> Table:
    """The settings that the paper prints, a column a recipe, then the paper's."""
    found: dict[str, Mapping[str, Any]] = {}
    for recipe in _RECIPES:
        settings = flatten(load_recipe(recipe, settings=["objective=dskd"]).to_json())
        found[recipe] = {name: settings[name] for name in paper.rows}
    return _beside(list(paper.rows), found, paper, "setting")


def table_csv(table: Table) -> str:
    """The table's header and rows as CSV; a number that stands alone has no commas in it.

    >>> table_csv(Table(["setting", "mine"], [["words", "9,502"], ["layers", "16 of 32"]]))
    '"setting","mine"\\n"words","9502"\\n"layers","16 of 32"\\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for row in (table.header, *table.rows):
        writer.writerow(cell.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+", cell) else cell for cell in row)
    return text.getvalue()


def _document(experiment: Experiment, table: Table, made: Mapping[str, Any]) -> Document:
    blocks: list[Paragraph | Table | Picture] = [Paragraph(experiment.about), table]
    blocks += map(Paragraph, experiment.notes)
    title = f"{experiment.title} ({experiment.source})"
    return Document(title, [Section("Results", blocks), Section("How it was made", [pairs_table(made)])])


def _beside(names: Sequence[str], found: Mapping[str, Mapping[str, Any]], paper: Paper, what: str) -> Table:
    header = [what, *found, *(f"paper: {column}" for column in paper.columns)]
    empty = ("",) * len(paper.columns)
    rows = [
        [name, *(_text(counts.get(name, "")) for counts in found.values()), *map(_text, paper.rows.get(name, empty))]
        for name in names
    ]
    return Table(header, rows)


def _pairs(tables: Tables, types: Sequence[str]) -> int:
    """Pairs of words in a relation of these types, each once; what is a synonym and an antonym is not used."""
    kinds, names = tables.codes("relations.parquet", "type")
    wanted = np.isin(kinds, [place for place, name in enumerate(names) if name in types])
    wanted &= tables.numbers("relations.parquet", "conflict") == 0
    words, others = (tables.numbers("relations.parquet", name)[wanted] for name in ("word_id", "other_id"))
    return len(np.unique((np.minimum(words, others).astype(np.int64) << 32) | np.maximum(words, others)))


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
