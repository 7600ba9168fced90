"""All shards of clusters put together: the senses of every token of the vocabulary, with passages that show them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensedict_server.build.contents import TokenSenses
from sensedict_server.build.harvest import read_windows
from sensedict_server.build.passages import PassageFile, passages
from sensedict_server.build.plan import HarvestPart
from sensedict_server.build.scratch import scratch_vectors
from sensedict_server.build.slices import read_sums
from sensedict_server.build.windows import Windows
from sensedict_server.build.workplace import Workplace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_AT_ONCE = 4096  # vectors that are moved, or passages that are cut, at once
_OF_SENSES = ("owners", "counts", "inertia", "member_windows", "member_positions")
_OF_STATES = ("near_senses", "near_keys", "near_windows", "near_positions")

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Assembled:
    """A vocabulary with its senses, and what there is to say of them.

    Attributes:
        tokens: as they are published.
        lone: (m,) uint64 rising, see `sensedict_trainer.leak.lone_states`.
        clustered: (V,) int64, hidden states of each token that were clustered.
    """

    tokens: TokenSenses
    lone: NDArray[np.uint64]
    clustered: NDArray[np.int64]


def assemble(workplace: Workplace, tokenizer: PreTrainedTokenizerBase, vocabulary_size: int) -> Assembled:
    """Put the senses of all tokens together; vectors stay on the disk of the file sets, in a file without a name.

    Raises:
        LostShard: a shard is damaged; it was taken out of the manifest.
        ConfigurationError: that disk is full.
        Unavailable: the store does not answer.
    """
    found = _gathered(workplace, vocabulary_size)
    contexts, lone = _read_back(workplace, tokenizer, found)
    tokens = TokenSenses(
        texts=token_texts(tokenizer, vocabulary_size),
        occurrences=found["occurrences"],
        offsets=np.searchsorted(found["owners"], np.arange(vocabulary_size + 1)).astype(np.int64),
        vectors=found["vectors"],
        counts=found["counts"],
        inertia=found["inertia"],
        contexts=contexts,
    )
    return Assembled(tokens, lone, found["clustered"])


def corpus_windows(workplace: Workplace) -> Iterator[Windows]:
    """The corpus again, a file of the plan at a time.

    Raises:
        LostShard: a file is damaged; the plan was taken out of the manifest, for it is made with it.
        Unavailable: the store does not answer.
    """
    parts = {name: HarvestPart(**part) for name, part in workplace.needed("plan").facts["harvest"].items()}
    for name, part in sorted(parts.items(), key=lambda item: item[1].first_window):
        yield read_windows(workplace, name, part)
        workplace.advance(0)


def token_texts(tokenizer: PreTrainedTokenizerBase, vocabulary_size: int) -> list[str]:
    """Every token as a person would read it, a leading blank too (`" cat"`).

    Decoded after another token, which is cut off again: SentencePiece takes the blank from the start of a text. A head
    wider than the tokenizer ends in tokens that nobody writes.
    """
    named = min(vocabulary_size, len(tokenizer))
    before: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]

    def decode(rows: list[list[int]]) -> list[str]:
        texts: list[str] = tokenizer.batch_decode(rows, clean_up_tokenization_spaces=False)
        return texts

    (start,) = decode([before])
    after, alone = decode([[*before, i] for i in range(named)]), decode([[i] for i in range(named)])
    texts = [a.removeprefix(start) if a.startswith(start) else b for a, b in zip(after, alone, strict=True)]
    return texts + [f"<unused {i}>" for i in range(named, vocabulary_size)]


def _gathered(workplace: Workplace, vocabulary_size: int) -> Tensors:
    """The tensors of all shards, owners rising; beside them `occurrences` and `clustered` of each token, (V,)."""
    about = workplace.needed("plan").facts["cluster"]
    vectors, row = np.empty((0, 0), dtype=np.float16), 0
    clustered, occurrences = np.zeros((2, vocabulary_size), dtype=np.int64)
    parts: list[Tensors] = []
    for name in sorted(about):
        part = workplace.read(name)
        np.add.at(clustered, part["owners"], part["counts"])
        if "occurrences" in part:
            occurrences[about[name]["first_token"] : about[name]["end_token"]] = part["occurrences"]
        part = _settled(workplace, name, part)
        if not parts:
            total = sum(int(workplace.needed(shard).facts["senses"]) for shard in about)
            vectors = scratch_vectors((total, part["vectors"].shape[1]), workplace.files_root)
        vectors[row : row + len(part["vectors"])] = part["vectors"]
        part["near_keys"] = part["owners"][part["near_senses"]]
        part["near_senses"] = part["near_senses"] + np.int64(row)
        row += len(part["vectors"])
        parts.append({tensor: part[tensor].copy() for tensor in (*_OF_SENSES, *_OF_STATES)})  # the file is let go
        workplace.advance(0)
    found = {tensor: np.concatenate([part[tensor] for part in parts]) for tensor in (*_OF_SENSES, *_OF_STATES)}
    if workplace.settings.key != "predicted":
        occurrences = workplace.plan["occurrences"]
    return _by_owner(workplace, {**found, "vectors": vectors}) | {"clustered": clustered, "occurrences": occurrences}


def _by_owner(workplace: Workplace, found: Tensors) -> Tensors:
    """Senses with owners rising: shards of several generations are about the same range of tokens."""
    order = np.argsort(found["owners"], kind="stable")
    if (order[1:] > order[:-1]).all():
        return found
    vectors = scratch_vectors(found["vectors"].shape, workplace.files_root)
    for start in range(0, len(order), _AT_ONCE):
        vectors[start : start + _AT_ONCE] = found["vectors"][order[start : start + _AT_ONCE]]
    return {**found, **{tensor: found[tensor][order] for tensor in _OF_SENSES}, "vectors": vectors}


def _settled(workplace: Workplace, name: str, part: Tensors) -> Tensors:
    """A shard's senses moved to the means of all their states, where later generations added to them."""
    import torch

    from sensedict_trainer.streaming import settle

    later = read_sums(name, workplace, part["owners"])
    if later is None:
        return part
    owners = part["owners"]
    offsets = np.r_[0, np.flatnonzero(owners[1:] != owners[:-1]) + 1, len(owners)]
    vectors, counts, inertia = (torch.from_numpy(part[tensor].copy()) for tensor in ("vectors", "counts", "inertia"))
    found = settle(vectors, counts, inertia, torch.from_numpy(offsets), later)
    order = found.order.numpy()
    grown = np.zeros(len(owners), dtype=np.bool_)
    grown[later.senses.numpy()] = True
    near = ~grown[part["near_senses"]]  # what grew is no longer one point
    return {
        **part,
        "vectors": found.centroids.to(torch.float16).numpy(),
        "counts": found.counts.numpy(),
        "inertia": found.inertia.numpy(),
        **{tensor: part[tensor][order] for tensor in ("member_windows", "member_positions")},
        **{tensor: part[tensor][near] for tensor in ("near_senses", "near_windows", "near_positions")},
    }


def _read_back(
    workplace: Workplace, tokenizer: PreTrainedTokenizerBase, found: Tensors
) -> tuple[PassageFile, NDArray[np.uint64]]:
    """Passages of each sense, and what the leak report looks for; the corpus is read once, a file at a time."""
    from sensedict_trainer.leak import lone_states, prefix_hashes, state_hashes

    settings = workplace.settings
    kept = PassageFile(len(found["owners"]), settings.contexts, workplace.files_root)
    windows, positions = (found[tensor][:, : settings.contexts] for tensor in ("member_windows", "member_positions"))
    hashes = np.zeros(len(found["near_windows"]), dtype=np.uint64)
    for corpus in corpus_windows(workplace):
        first, ids = corpus.first, [window.ids for window in corpus.split()]
        here = np.argwhere((windows >= first) & (windows < first + len(ids)))
        for start in range(0, len(here), _AT_ONCE):
            rows, columns = here[start : start + _AT_ONCE].T
            at = zip((windows[rows, columns] - first).tolist(), positions[rows, columns].tolist(), strict=True)
            shown = passages(tokenizer, ids, at, settings.key)
            kept.add(zip(rows.tolist(), columns.tolist(), strict=True), shown)
            workplace.advance(0)
        near = np.flatnonzero((found["near_windows"] >= first) & (found["near_windows"] < first + len(ids)))
        prefixes = np.concatenate([prefix_hashes(window) for window in ids])
        places = corpus.starts[found["near_windows"][near] - first] + found["near_positions"][near]
        hashes[near] = state_hashes(prefixes[places], found["near_keys"][near])
    return kept, lone_states(hashes, found["near_senses"])
