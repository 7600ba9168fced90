"""The second stage of a build: the teacher reads the corpus, and its hidden states go to shards on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tqdm import tqdm

from sensedict_server.build.plan import BuildSettings, Plan

if TYPE_CHECKING:
    from sensedict_trainer.teacher import Teacher
    from sensedict_trainer.work import WorkFolder

# A shard is what a stopped build loses at most: some twenty seconds of a small teacher on a laptop's CPU.
SHARD_TOKENS = 16_384


def run_harvest(
    teacher: Teacher, plan: Plan, settings: BuildSettings, work: WorkFolder, say: Callable[[str], object]
) -> list[str]:
    """Write the shards that are not there yet, and give the names of all; how long that takes is said before.

    Raises:
        ConfigurationError: the teacher's hidden states are not what its head reads.
        NotFinite: a hidden state is no finite float16.
    """
    from sensedict_trainer.harvest import harvest
    from sensedict_trainer.text import pad_windows

    shards = list(_shards(plan))
    missing = [(name, start, stop) for name, start, stop in shards if not work.has(name)]
    read = {i: len(plan.windows[i].ids) for i in plan.run}
    total = sum(read.values())
    done = sum(read.get(i, 0) for name, start, stop in shards if work.has(name) for i in range(start, stop))
    if missing:
        teacher.check_state_point(*pad_windows(plan.windows[: settings.batch_size], teacher.device))
        rate = _measured_rate(teacher, plan, settings)
        minutes = (total - done) / rate / 60
        say(f"time: about {minutes:,.1f} minutes for the pass, {total - done:,} tokens at {rate:,.0f} a second")
    with tqdm(total=total, initial=done, desc="harvest", unit="tok", unit_scale=True) as bar:
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


def _measured_rate(teacher: Teacher, plan: Plan, settings: BuildSettings) -> float:
    """Tokens a second of the first batch that is read; the teacher has run before, which a device is slower at."""
    from sensedict_trainer.harvest import harvest

    some = plan.run[: settings.batch_size]
    windows, wanted = [plan.windows[i] for i in some], [plan.wanted[i] for i in some]
    before = time.perf_counter()
    harvest(teacher, windows, wanted, settings.key, settings.batch_size)
    return sum(len(window.ids) for window in windows) / (time.perf_counter() - before)


def _shards(plan: Plan) -> Iterator[tuple[str, int, int]]:
    """(name, first window, end) of consecutive windows of about `SHARD_TOKENS`."""
    start = tokens = 0
    for i, window in enumerate(plan.windows):
        tokens += len(window.ids)
        if tokens >= SHARD_TOKENS or i == len(plan.windows) - 1:
            yield f"harvest/{start:09d}", start, i + 1
            start, tokens = i + 1, 0
