"""What a file set must hold before a database takes it: every id known, every range in order, every text in place."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from sensedict.errors import InvalidSnapshot, SenseDictError
from sensedict.fileset import MANIFEST, Index, Manifest, Record
from sensedict.inputs import is_address
from sensedict.snapshot import Snapshot
from sensedict_server.queries.dictionaries import Source
from sensedict_server.row_hash import Ids, lexicon_hash, numbers, rows_hash
from sensedict_server.snapshots.check_lexicon import Spelt, check_lexicon
from sensedict_server.snapshots.parquet import batches, refuse_other_files, rows_in
from sensedict_server.snapshots.staging import Staged

_AT_ONCE = 2**22  # numbers of vectors that are looked at together
_MANIFEST, _SOURCES = TypeAdapter(Manifest), TypeAdapter(list[Source])


def check(staged: Staged) -> None:
    """Let pass a file set, whose bytes have their hashes already, that a database can hold.

    Raises:
        InvalidSnapshot: naming the file and what is wrong in it.
    """
    check_manifest(staged)
    folder, manifest, record = staged.folder, staged.manifest, staged.record
    refuse_other_files(folder)
    try:
        snapshot = Snapshot.open(folder)
    except SenseDictError as error:
        raise InvalidSnapshot(error.detail.replace(f"{folder}/", "")) from error
    with snapshot:
        _check_vectors(snapshot.vectors)
        _check_tokens(folder, manifest, snapshot.index)
        spelt, related = check_lexicon(folder, record)
        words = _check_words(folder, manifest, snapshot.index, spelt)
        _refuse_other(np.sort(words), related, "words.parquet and the words of relations: number")
    _check_contexts(folder, manifest)
    _check_record(folder, record)


def check_manifest(staged: Staged) -> None:
    """Let pass a manifest whose every value is of its kind, and whose texts are texts: it can be looked up.

    Raises:
        InvalidSnapshot: naming the value.
    """
    manifest, record = staged.manifest, staged.record
    try:
        _MANIFEST.validate_json(json.dumps(asdict(manifest)), strict=True)
        _SOURCES.validate_json(json.dumps(manifest.sources), strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise InvalidSnapshot(f"{MANIFEST} has a value that is none, {place}: {fault['msg']:.200}") from error
    for ref in (manifest.ref, manifest.lexicon):
        name, _, version = ref.partition("@")
        if not (is_address(ref) and name and version):
            raise InvalidSnapshot(f"{ref!r:.80} is not name@version")
    for name in ("synonym_types", "antonym_types"):
        types = manifest.settings.get(name, [])
        if not isinstance(types, list) or not all(isinstance(kind, str) for kind in types):
            raise InvalidSnapshot(f"{MANIFEST} has settings.{name} = {types!r:.80}, which are no types of relations")
    if record.tokens_with_senses < 0 or record.words_with_senses < 0:
        raise InvalidSnapshot(f"{MANIFEST} has a count below 0")
    for moment in (record.published_at, record.lexicon_created_at):
        try:
            known = datetime.fromisoformat(moment).tzinfo is not None
        except ValueError:
            known = False
        if not known:
            raise InvalidSnapshot(f"{MANIFEST} has {moment!r:.80} in place of a time with its offset")


def _check_vectors(vectors: NDArray[np.float16]) -> None:
    rows = max(1, _AT_ONCE // vectors.shape[1])
    for start in range(0, len(vectors), rows):
        if not np.isfinite(vectors[start : start + rows]).all():
            raise InvalidSnapshot(f"a vector of the senses {start} .. {start + rows} holds NaN or infinity")


def _check_tokens(folder: Path, manifest: Manifest, index: Index) -> None:
    """Tokens are 0 .. V in order, and own the first senses one after the other, as the index says too."""
    size = manifest.identity.vocabulary_size
    if rows_in(folder / "tokens.parquet") != size:
        raise InvalidSnapshot(f"tokens.parquet has not the {size} tokens of the vocabulary")
    found = _columns(folder / "tokens.parquet", ("token_id", "first_sense", "sense_count", "occurrences"))
    if (found["token_id"] != np.arange(size)).any():
        raise InvalidSnapshot("tokens.parquet has not each token of the vocabulary once, in order")
    if (found["sense_count"] < 0).any() or (found["occurrences"] < 0).any():
        raise InvalidSnapshot("tokens.parquet has a count below 0")
    owned = found["sense_count"] > 0
    _refuse_other(found["sense_count"], index.token_count, "tokens.parquet and the index: number of senses of token")
    _refuse_other(
        np.where(owned, found["first_sense"], 0),
        np.where(owned, index.token_first, 0),
        "tokens.parquet and the index: first sense of token",
    )
    first = np.cumsum(found["sense_count"]) - found["sense_count"]
    _refuse_other(found["first_sense"], first, "tokens.parquet: first sense of token")


def _check_words(folder: Path, manifest: Manifest, index: Index, spelt: Spelt) -> Ids:
    """Words are the lexicon's, have a token's senses or some of their own, and the senses say the same; their ids."""
    size, senses = manifest.identity.vocabulary_size, manifest.identity.senses
    of_tokens = int(index.token_count.astype(np.int64).sum())
    ids: list[Ids] = []
    counts: list[Ids] = []
    after = of_tokens
    for batch in batches(folder / "words.parquet"):
        word_ids, first, count = (numbers(batch[name]) for name in ("word_id", "first_sense", "sense_count"))
        texts = zip(batch["language"].to_pylist(), batch["word"].to_pylist(), strict=True)
        for word, text in zip(word_ids.tolist(), texts, strict=True):
            if spelt.get(word) != text:
                raise InvalidSnapshot(f"words.parquet has the word {word}, {text[1]!r:.60}, which the lexicon has not")
        lengths = pc.list_value_length(batch["token_ids"]).to_numpy(zero_copy_only=False)
        tokens = numbers(batch["token_ids"].flatten())
        if (lengths == 0).any() or (tokens < 0).any() or (tokens >= size).any():
            raise InvalidSnapshot(f"words.parquet has a word of no tokens, or of tokens outside 0 .. {size - 1}")
        single = lengths == 1
        token = tokens[(np.cumsum(lengths) - lengths)[single]]
        if (first[single] != index.token_first[token]).any() or (count[single] != index.token_count[token]).any():
            raise InvalidSnapshot("words.parquet has a word of one token with other senses than the token's")
        own = np.where(single, 0, count)
        if (own < 0).any() or (first[own > 0] != (after + np.cumsum(own) - own)[own > 0]).any():
            raise InvalidSnapshot("words.parquet has composed words whose senses do not follow one after the other")
        after += int(own.sum())
        ids.append(word_ids)
        counts.append(own)
    if after != senses:
        raise InvalidSnapshot(f"tokens and words own {after} senses, the dictionary has {senses}")
    word_ids = np.concatenate([np.empty(0, np.int64), *ids])
    if len(np.unique(word_ids)) != len(word_ids):
        raise InvalidSnapshot("words.parquet has a word twice")
    _check_senses(folder, senses, index, np.repeat(word_ids, np.concatenate([np.empty(0, np.int64), *counts])))
    return word_ids


def _check_senses(folder: Path, senses: int, index: Index, owners: Ids) -> None:
    """Sense ids are dense, and each sense's owner is the one that claims it."""
    if rows_in(folder / "senses.parquet") != senses:
        raise InvalidSnapshot(f"senses.parquet has not the {senses} senses of the dictionary")
    found = _columns(folder / "senses.parquet", ("sense_id", "token_id", "word_id", "ordinal", "count"))
    tokens = np.repeat(np.arange(len(index.token_count)), index.token_count)
    nobody = np.full(max(len(owners), len(tokens)), -1)
    _refuse_other(found["sense_id"], np.arange(senses), "senses.parquet: sense")
    _refuse_other(found["token_id"], np.concatenate([tokens, nobody[: len(owners)]]), "senses.parquet: token of sense")
    _refuse_other(found["word_id"], np.concatenate([nobody[: len(tokens)], owners]), "senses.parquet: word of sense")
    owner = np.concatenate([tokens, owners + len(index.token_count)])
    begins = np.flatnonzero(np.diff(owner, prepend=-1)) if senses else np.empty(0, np.int64)
    ordinal = np.arange(senses) - np.repeat(begins, np.diff(begins, append=senses))
    _refuse_other(found["ordinal"], ordinal, "senses.parquet: ordinal of sense")
    if (found["count"] < 0).any():
        raise InvalidSnapshot("senses.parquet has a count below 0")


def _check_contexts(folder: Path, manifest: Manifest) -> None:
    before = (-1, -1)
    for batch in batches(folder / "contexts.parquet"):
        sense, ordinal, start, end = (numbers(batch[name]) for name in ("sense_id", "ordinal", "start", "end"))
        length = numbers(pc.utf8_length(batch["text"]))
        if (sense < 0).any() or (sense >= manifest.identity.senses).any():
            raise InvalidSnapshot("contexts.parquet has a passage of a sense that is not there")
        if ((start < 0) | (end < start) | (end > length)).any():
            raise InvalidSnapshot("contexts.parquet marks a place outside its passage")
        place = np.concatenate([[before], np.stack([sense, ordinal], axis=1)])
        step = np.diff(place, axis=0)
        if ((step[:, 0] < 0) | ((step[:, 0] == 0) & (step[:, 1] <= 0))).any():
            raise InvalidSnapshot("contexts.parquet is not in the order of senses, or has a passage twice")
        before = (int(sense[-1]), int(ordinal[-1]))


def _check_record(folder: Path, record: Record) -> None:
    for what, stated, found in (
        ("the dictionary's rows", record.rows_hash, rows_hash(folder)),
        ("the lexicon", record.lexicon_hash, lexicon_hash(folder, record.lexicon_sources)),
    ):
        if stated != found:
            raise InvalidSnapshot(f"{what} has the hash {found}, the manifest says {stated}")


def _columns(file: Path, names: tuple[str, ...]) -> dict[str, Ids]:
    parts: dict[str, list[Ids]] = {name: [np.empty(0, np.int64)] for name in names}
    for batch in batches(file):
        for name in names:
            parts[name].append(numbers(batch[name]))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _refuse_other(found: NDArray[Any], expected: NDArray[Any], what: str) -> None:
    if found.shape != expected.shape:
        raise InvalidSnapshot(f"{what}: {len(found)} in place of {len(expected)}")
    wrong = found != expected
    if wrong.any():
        at = int(wrong.argmax())
        raise InvalidSnapshot(f"{what} {at} is {found[at]}, expected {expected[at]}")
