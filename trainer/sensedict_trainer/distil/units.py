"""The dictionary's own distances, measured before a run whose margin is given in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sensedict.errors import ConfigurationError
from sensedict.source import SenseSource
from sensedict_trainer.distil.draws import by_token, draw
from sensedict_trainer.distil.layers import some_windows
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.selection import select
from sensedict_trainer.distil.terms.sense import SenseLoss
from sensedict_trainer.distil.terms.term import Units
from sensedict_trainer.distil.trunk import Trunk
from sensedict_trainer.text import TokenWindow

_SENSES = 4096  # for the spread: evenly spaced ids
_WINDOWS = 32  # for the quantiles: at even distances in the text


def measure_units(source: SenseSource, trunk: Trunk, windows: Sequence[TokenWindow], recipe: Recipe) -> Units:
    """Measure the spread of the senses, and the teacher's distances to its chosen negatives.

    Both are functions of dictionary, text and seed: a run that goes on finds the same.

    Args:
        windows: the run's text.

    Raises:
        ConfigurationError: the margin is a quantile of distances to negatives, and none were found.
    """
    count = source.identity.senses
    ids = np.unique(np.linspace(0, count - 1, min(count, _SENSES)).astype(np.int64))
    vectors = source.get_senses(ids).astype(np.float32)
    spread = float(np.square(vectors - vectors.mean(axis=0)).mean())
    far = []
    for window in some_windows(windows, _WINDOWS):
        targets = np.unique(window.ids[1:]).astype(np.uint32)
        drawn = draw(window.id, window.ids[1:], by_token(source.candidate_sets(targets)), recipe.sampling)
        senses = np.unique(drawn.ids)
        if not len(senses):
            continue
        table = torch.from_numpy(source.get_senses(senses)).to(trunk.teacher.device)
        hidden = trunk.states([window]).hidden[0]
        found = select(drawn, hidden, table, np.searchsorted(senses, drawn.ids), recipe.nearest)
        far.append(found.negative_distances[found.negatives >= 0])
    distances = np.concatenate([np.zeros(0, dtype=np.float32), *far])
    sense = recipe.active.get("sense")
    if not len(distances) and isinstance(sense, SenseLoss) and sense.margin_of == "quantile":
        raise ConfigurationError(
            "the margin is a quantile of the teacher's distances to antonyms' senses, and of what is sampled in "
            f"{min(len(windows), _WINDOWS)} windows of the text nothing has an antonym: use --set sense.margin_of=fixed"
        )
    quantiles = np.quantile(distances, np.linspace(0, 1, 101)) if len(distances) else np.zeros(101)
    return Units(spread or 1.0, tuple(float(q) for q in quantiles))
