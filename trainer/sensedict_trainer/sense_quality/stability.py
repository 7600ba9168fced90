"""How far two dictionaries of one teacher agree that differ in the seed: their senses, and what they call the same.

Senses of one owner are matched as `sensedict diff` does. States that both dictionaries have an owner for are given to
the nearest sense in each; the adjusted Rand index and the adjusted mutual information say how far the two partitions of
an owner's states agree: 1 is the same, 0 what chance would give.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from sensedict.errors import Mismatch
from sensedict.snapshot import Snapshot
from sensedict.source import Identity
from sensedict_trainer.drift import KEPT, NONE, STATES, changes
from sensedict_trainer.drift_files import Owner as NamedOwner
from sensedict_trainer.drift_files import Version, read_version
from sensedict_trainer.sense_quality.reading import Reading
from sensedict_trainer.sense_quality.statistics import Measure, Statistic, measured, share

NAME = "stability"
MOVED = 0.5  # units of the owner, as `sensedict diff` has it
FEWEST_USES = 10  # of an owner whose partitions are compared


def check_other(identity: Identity, other: Identity) -> None:
    """Let pass two dictionaries whose states are of one teacher, one place in it, and one key.

    Raises:
        Mismatch: they are not, and what differs is named; or they are one dictionary.
    """
    if other == identity:
        raise Mismatch(f"{other.name}@{other.version} is compared with itself; name one built with another --seed")
    for name in ("teacher_hash", "tokenizer_hash", "state_point", "key_policy"):
        ours, theirs = getattr(identity, name), getattr(other, name)
        if ours != theirs:
            raise Mismatch(
                f"{other.name}@{other.version} cannot tell how stable {identity.name}@{identity.version} is: "
                f"its {name.replace('_', ' ')} is {theirs}, not {ours}; name one built with another --seed alone"
            )


def evaluate_stability(
    folder: Path, other: Path, readings: Sequence[Reading], mean: NDArray[np.float32], seed: int
) -> list[Measure]:
    """Share of senses that are kept, mean and by uses; agreement on states that were read.

    Args:
        folder, other: the file sets.
        readings: uses whose states were read; those of single tokens count.
        mean: what was taken off their states.
    """
    ours, theirs = read_version(folder), read_version(other)
    found = changes(ours.senses, theirs.senses, MOVED)
    old = np.flatnonzero((found.old != NONE) & (found.state != STATES.index("split")))
    tokens = old[[_of_token(found.owners[place]) for place in found.owner[old]]]
    # a token with as few uses as senses keeps them as they are: nothing was clustered, nothing is to agree
    clustered = tokens[_clustered(ours, found.old[tokens])]
    kept = found.state[clustered] == KEPT
    uses = ours.senses.counts[found.old[clustered]].astype(np.float64)

    def share_of_uses(places: NDArray[np.intp]) -> float:
        return float(np.average(kept[places], weights=uses[places]))

    n = len(clustered)
    by = f"senses of tokens, within {MOVED} units"
    measures = [
        *measured(NAME, "share of senses kept", {by: share(kept)}, n, len(tokens), seed),
        *measured(NAME, "share of senses kept, by uses", {by: share_of_uses}, n, len(tokens), seed),
    ]
    return measures + _agreement(ours, theirs, readings, mean, seed)


def _of_token(owner: object) -> bool:
    return isinstance(owner, NamedOwner) and owner.token is not None


def _clustered(version: Version, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which senses belong to an owner with more uses than senses."""
    more = np.zeros(version.identity.senses, bool)
    for first, count in version.senses.owners.values():
        part = slice(first, first + count)
        more[part] = version.senses.counts[part].sum() > count
    return more[ids]


def _agreement(
    ours: Version, theirs: Version, readings: Sequence[Reading], mean: NDArray[np.float32], seed: int
) -> list[Measure]:
    """Agreement of the two partitions of each token's states, the mean over tokens weighted by their uses."""
    states: defaultdict[int, list[NDArray[np.float32]]] = defaultdict(list)
    for reading in readings:
        if len(reading.tokens) == 1:
            states[reading.tokens[0]].append(reading.state + mean)
    held = [{o.token: span for o, span in v.senses.owners.items() if isinstance(o, NamedOwner)} for v in (ours, theirs)]
    rows = []
    for token, some in states.items():
        spans = [of.get(token) for of in held]
        if len(some) < FEWEST_USES or any(span is None or span[1] < 2 for span in spans):
            continue
        labels = [_assigned(np.stack(some), version, span) for version, span in zip((ours, theirs), spans, strict=True)]
        rows.append((adjusted_rand_score(*labels), adjusted_mutual_info_score(*labels), len(some)))
    table = np.array(rows, np.float64).reshape(-1, 3)

    def weighted(column: int) -> Statistic:
        return lambda places: float(np.average(table[places, column], weights=table[places, 2]))

    total = sum(len(some) >= FEWEST_USES for some in states.values())
    by = f"nearest senses of tokens read {FEWEST_USES} times or more"
    return [
        *measured(NAME, "adjusted Rand index", {by: weighted(0)}, len(rows), total, seed),
        *measured(NAME, "adjusted mutual information", {by: weighted(1)}, len(rows), total, seed),
    ]


def _assigned(states: NDArray[np.float32], version: Version, span: tuple[int, int] | None) -> NDArray[np.intp]:
    assert span is not None
    vectors = version.senses.vectors[span[0] : span[0] + span[1]].astype(np.float32)
    distances = (vectors**2).sum(axis=1) - 2 * states @ vectors.T
    nearest: NDArray[np.intp] = distances.argmin(axis=1)
    return nearest


def identity_of(folder: Path) -> Identity:
    """The identity of a file set. Raises `ConfigurationError` where there is none."""
    with Snapshot.open(folder) as opened:
        return opened.identity
