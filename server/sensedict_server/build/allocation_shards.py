"""Between harvest and clusters, where the number of senses is adaptive: curves of inertia, and the budget spent."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sensedict_server.build.clusters import seed_of
from sensedict_server.build.slices import read_states
from sensedict_server.build.workplace import Workplace

_REPORTED = 20_000  # states between two reports of progress


def curve_shard(shard: str, workplace: Workplace) -> None:
    """Measure, for a sample of a range of tokens, how inertia falls with the number of senses.

    The file's tensors: `owners` (t,) int32 rising, tokens that have states; `states` (t,) int64, how many;
    `occurrences` (t,) int64; `curves` (t, G) float64, see `sensedict_trainer.allocation.curve`, NaN for tokens that are
    not of the sample.

    Args:
        shard: `curves/0/NNNNNN`, of the tokens of `cluster/0/NNNNNN`.

    Raises:
        LostShard, Unavailable: as `cluster_shard`.
    """
    import torch

    from sensedict_trainer.allocation import curve, grid
    from sensedict_trainer.processes import one_thread

    started = time.monotonic()
    of_clusters = shard.replace("curves", "cluster", 1)
    settings, states = workplace.settings, read_states(of_clusters, workplace)
    bounds = states.by_token()
    tokens = states.keys[bounds[:-1]]
    numbers = grid(settings.k_most)
    measured = _measured(workplace, tokens, np.diff(bounds))
    curves = np.full((len(tokens), len(numbers)), np.nan)
    vectors = torch.from_numpy(states.vectors)
    passed = 0
    with one_thread():
        for row, (token, (start, end)) in enumerate(zip(tokens.tolist(), pairwise(bounds.tolist()), strict=True)):
            if measured[row]:
                curves[row] = curve(vectors[start:end], numbers, seed_of(settings.seed, token))
            if end - passed >= _REPORTED or end == len(vectors):
                workplace.advance(end - passed)
                passed = end
    first = workplace.needed("plan").facts["cluster"][of_clusters]["first_token"]
    tensors = {
        "owners": tokens,
        "states": np.diff(bounds),
        "occurrences": states.occurrences[tokens - first],
        "curves": curves,
    }
    workplace.add(shard, tensors, len(states.keys), time.monotonic() - started, {})


def _measured(workplace: Workplace, tokens: NDArray[np.int32], states: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(t,) whether a token is of the sample of the whole vocabulary; of these alone where the plan knows no numbers."""
    from sensedict_trainer.allocation import sample

    seed = workplace.settings.seed
    if workplace.settings.key == "predicted":
        return sample(states, seed)
    return sample(workplace.plan["stored"], seed)[tokens]


def allocate_shard(shard: str, workplace: Workplace) -> None:
    """Give each token its number of senses, under the budget: tensors `owners` (t,) int32 rising and `k` (t,) int64.

    Without a budget it is what `fixed` would make: of each token `k` senses, or as many as it has states.

    Raises:
        InvalidInput: the budget is less than one sense a token.
        LostShard, Unavailable: as `cluster_shard`.
    """
    from sensedict_trainer.allocation import allocate, grid, pooled

    started = time.monotonic()
    settings = workplace.settings
    of_clusters = sorted(workplace.needed("plan").facts["cluster"])
    found = [workplace.read(name.replace("cluster", "curves", 1)) for name in of_clusters]
    owners, states, occurrences, curves = (
        np.concatenate([part[name] for part in found]) for name in ("owners", "states", "occurrences", "curves")
    )
    budget = settings.budget or int(np.minimum(states, settings.k).sum())
    numbers = grid(settings.k_most)
    k = allocate(occurrences, pooled(curves, states, numbers), numbers, budget)
    workplace.say(f"adaptive k: {int(k.sum()):,} senses of {len(k):,} tokens under a budget of {budget:,}")
    facts = {"budget": budget, "senses": int(k.sum())}
    workplace.add(shard, {"owners": owners, "k": k}, 1, time.monotonic() - started, facts)
