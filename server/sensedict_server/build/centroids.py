"""The third stage of a build: k-means of each token's hidden states; the centroids are its senses (DSKD §3.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sensedict_server.build.contents import TokenSenses
from sensedict_server.build.passages import passages
from sensedict_server.build.plan import BuildSettings, Plan, priorities

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sensedict_trainer.work import WorkFolder

# Hidden states clustered between two saves.
PART_STATES = 20_000


@dataclass(frozen=True)
class _Kept:
    """All kept hidden states, by key and then in the order of the corpus."""

    vectors: list[NDArray[np.float16]]  # one array a shard, mapped from disk
    shard: NDArray[np.int32]
    row: NDArray[np.int64]
    keys: NDArray[np.int32]
    windows: NDArray[np.int32]
    positions: NDArray[np.int32]

    def take(self, start: int, stop: int) -> NDArray[np.float16]:
        """(stop − start, D) vectors."""
        found = np.empty((stop - start, self.vectors[0].shape[1]), dtype=np.float16)
        for number in np.unique(self.shard[start:stop]):
            here = np.flatnonzero(self.shard[start:stop] == number)
            found[here] = self.vectors[number][self.row[start:stop][here]]
        return found


def run_centroids(
    tokenizer: PreTrainedTokenizerBase,
    vocabulary_size: int,
    shards: Sequence[str],
    plan: Plan,
    settings: BuildSettings,
    work: WorkFolder,
) -> TokenSenses:
    """Cluster what was harvested, a part at a time, and give the senses of every token of the vocabulary."""
    kept, occurrences = _gather(shards, plan, settings, work, vocabulary_size)
    parts = list(_parts(kept.keys))
    done = sum(stop - start for name, start, stop in parts if work.has(name))
    bar = tqdm(total=len(kept.keys), initial=done, desc="k-means", unit="state", unit_scale=True)
    with bar, _one_thread() as threads:
        for name, start, stop in parts:
            if not work.has(name):
                work.save(name, _cluster(kept, start, stop, settings, threads))
                bar.update(stop - start)
    found = [work.load(name) for name, _, _ in parts]
    owners, counts, inertia, vectors, members = (
        np.concatenate([part[name] for part in found]) for name in ("owners", "counts", "inertia", "vectors", "members")
    )
    at = [(int(kept.windows[m]), int(kept.positions[m])) for m in members.reshape(-1).tolist() if m >= 0]
    of_members = iter(passages(tokenizer, [window.ids for window in plan.windows], at, settings.key))
    texts = [next(of_members) if m >= 0 else None for m in members.reshape(-1).tolist()]
    width = members.shape[1]
    return TokenSenses(
        texts=token_texts(tokenizer, vocabulary_size),
        occurrences=occurrences,
        offsets=np.searchsorted(owners, np.arange(vocabulary_size + 1)).astype(np.int64),
        vectors=vectors,
        counts=counts,
        inertia=inertia,
        contexts=[[p for p in texts[i * width : (i + 1) * width] if p is not None] for i in range(len(owners))],
    )


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


def _gather(
    shards: Sequence[str], plan: Plan, settings: BuildSettings, work: WorkFolder, vocabulary_size: int
) -> tuple[_Kept, NDArray[np.int64]]:
    """The harvested states, at most `settings.cap` a key, and how often the corpus had each key."""
    from sensedict_trainer.reservoir import keep

    loaded = [work.load(name) for name in shards]
    keys, windows, positions = (np.concatenate([s[n] for s in loaded]) for n in ("keys", "windows", "positions"))
    shard = np.repeat(np.arange(len(loaded), dtype=np.int32), [len(s["keys"]) for s in loaded])
    row = np.concatenate([np.arange(len(s["keys"])) for s in loaded])
    order = np.lexsort((positions, windows, keys))
    occurrences = plan.occurrences
    if occurrences is None:
        occurrences = np.bincount(keys, minlength=vocabulary_size).astype(np.int64)
        # Windows stand one after another in the shards, all their positions wanted: the order of `priorities`.
        order = order[keep(keys, priorities(settings.seed, plan.windows, plan.wanted), settings.cap)[order]]
    vectors = [s["vectors"] for s in loaded]
    return _Kept(vectors, shard[order], row[order], keys[order], windows[order], positions[order]), occurrences


def _parts(keys: NDArray[np.int32]) -> Iterator[tuple[str, int, int]]:
    """(name, start, stop) of runs of whole keys, about `PART_STATES` states each."""
    ends = np.flatnonzero(np.r_[keys[1:] != keys[:-1], True]) + 1 if len(keys) else np.zeros(0, dtype=np.int64)
    start = 0
    for end in ends.tolist():
        if end - start >= PART_STATES or end == len(keys):
            yield f"centroids/{int(keys[start]):09d}", start, end
            start = end


def _cluster(kept: _Kept, start: int, stop: int, settings: BuildSettings, threads: int) -> dict[str, NDArray[Any]]:
    """Senses of the keys whose states are `start .. stop`; `members` are rows of the nearest states, −1 for none."""
    import torch

    from sensedict_trainer.cluster import cluster_each

    vectors = torch.from_numpy(kept.take(start, stop))
    keys = kept.keys[start:stop]
    bounds = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1], True])
    tokens = keys[bounds[:-1]].tolist()
    clustered = cluster_each(
        [vectors[first:end] for first, end in pairwise(bounds.tolist())],
        settings.k,
        [settings.seed * 1_000_003 + token for token in tokens],
        threads,
    )
    owners, counts, inertia, centroids, members = [], [], [], [], []
    for token, first, found in zip(tokens, bounds[:-1].tolist(), clustered, strict=True):
        owners.append(np.full(len(found.counts), token, dtype=np.int32))
        counts.append(found.counts.numpy())
        inertia.append(found.inertia.numpy())
        centroids.append(found.centroids.to(torch.float16).numpy())
        members.append(_nearest(found.labels.numpy(), found.distances.numpy(), settings.contexts, start + first))
    return {
        "owners": np.concatenate(owners),
        "counts": np.concatenate(counts).astype(np.int64),
        "inertia": np.concatenate(inertia).astype(np.float32),
        "vectors": np.concatenate(centroids),
        "members": np.concatenate(members),
    }


@contextmanager
def _one_thread() -> Iterator[int]:
    """Gives how many threads torch had; it has one inside.

    A token's states are few: starting threads for each product takes longer than the product.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def _nearest(labels: NDArray[np.int64], distances: NDArray[np.float32], most: int, offset: int) -> NDArray[np.int64]:
    """(k, most) rows of each cluster's members nearest its centroid, −1 where it has fewer."""
    order = np.lexsort((np.arange(len(labels)), distances, labels))
    starts = np.searchsorted(labels[order], np.arange(labels.max() + 2))
    rows = np.full((len(starts) - 1, most), -1, dtype=np.int64)
    for i, (first, end) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        found = order[first : min(end, first + most)] + offset
        rows[i, : len(found)] = found
    return rows
