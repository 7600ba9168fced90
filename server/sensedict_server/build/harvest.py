"""The second stage of a build: the teacher reads the corpus, and its hidden states go to shards on disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tqdm import tqdm

from sensedict_server.build.plan import BuildSettings, Plan

if TYPE_CHECKING:
    from sensedict_trainer.teacher import Teacher
    from sensedict_trainer.work import WorkFolder

# A shard is what a stopped build loses at most: some twenty seconds of a small teacher on a laptop's CPU.
SHARD_TOKENS = 16_384


def run_harvest(teacher: Teacher, plan: Plan, settings: BuildSettings, work: WorkFolder) -> list[str]:
    """Write the shards that are not there yet, and give the names of all.

    Raises:
        ConfigurationError: the teacher's hidden states are not what its head reads.
        NotFinite: a hidden state is no finite float16.
    """
    from sensedict_trainer.harvest import harvest
    from sensedict_trainer.text import pad_windows

    shards = list(_shards(plan))
    missing = [(name, start, stop) for name, start, stop in shards if not work.has(name)]
    if missing:
        teacher.check_state_point(*pad_windows(plan.windows[: settings.batch_size], teacher.device))
    done = sum(len(w.ids) for name, a, b in shards if work.has(name) for w in plan.windows[a:b])
    with tqdm(total=plan.tokens, initial=done, desc="harvest", unit="tok", unit_scale=True) as bar:
        for name, start, stop in missing:
            windows, wanted = plan.windows[start:stop], plan.wanted[start:stop]
            got = harvest(teacher, windows, wanted, settings.key, settings.batch_size, bar.update)
            work.save(
                name,
                {
                    "vectors": got.vectors,
                    "keys": got.keys,
                    "windows": got.windows + start,
                    "positions": got.positions,
                },
            )
    return [name for name, _, _ in shards]


def _shards(plan: Plan) -> Iterator[tuple[str, int, int]]:
    """(name, first window, end) of consecutive windows of about `SHARD_TOKENS`."""
    start = tokens = 0
    for i, window in enumerate(plan.windows):
        tokens += len(window.ids)
        if tokens >= SHARD_TOKENS or i == len(plan.windows) - 1:
            yield f"harvest/{start:09d}", start, i + 1
            start, tokens = i + 1, 0
