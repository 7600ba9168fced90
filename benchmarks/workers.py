"""Whole builds: by 1, 2 and 4 workers, memory and disk against the plan, cost against the size of the corpus.

Teachers are random and text is made. Workers have one thread each and are timed from the begin of the first shard of
the harvest to the end of the last of the clusters; they have started and loaded the teacher in a build before. Cost is
tokens of the corpus by CPU time of the process that builds; corpora 10 and 100 times as large use the same words.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import Row, write
from made_build import SENSEDICT, Place, made_teacher, made_text, place, workers
from sqlalchemy import text

from sensedict_server.build.needs import Needs, needs_of
from sensedict_server.build.pipeline import build_dictionary, enter_build
from sensedict_server.build.plan import BuildPlan, BuildSettings
from sensedict_server.build.plan_shard import planned
from sensedict_server.build.words import tokenize_words
from sensedict_server.queries.builds import Build, find_build
from sensedict_server.queries.lexicons import find_lexicon, relation_words
from sensedict_trainer.outline import load_outline

COMMAND = "make bench-build"
COUNTS = (1, 2, 4)
SHARED_TOKENS, WARM_TOKENS = 300_000, 100_000  # 19 and 7 shards of text
DECADES = (4_000, 40_000, 400_000)
MEASURED_TOKENS = 100_000

# Runs a command and prints the most memory it took: a process counts the memory of the one that started it, too.
_LAUNCHER = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def rows() -> list[Row]:
    """`workers 2 vs 1`, `workers 4 vs 1`, `peak RAM vs plan`, `bytes written vs least`, `cost, 10x` and `100x`."""
    with place() as at:
        teacher = made_teacher(at.folder / "teacher", 256, 4)
        small = made_teacher(at.folder / "small", 64, 1)
        return [*_of_workers(at, small), *_of_plan(at, teacher), *_of_cost(at, small)]


def _of_workers(at: Place, teacher: Path) -> list[Row]:
    """Tokens of the harvest a second, its clusters made too."""
    corpus = made_text(at.folder / "shared.jsonl", SHARED_TOKENS)
    rates = {}
    for count in COUNTS:
        with workers(at, count):
            _built(at, at.settings(f"warm-{count}", teacher, corpus, seed=1, tokens=WARM_TOKENS), f"warm-{count}")
            build = _built(at, at.settings(f"by-{count}", teacher, corpus), f"by-{count}")
        rates[count] = SHARED_TOKENS / _seconds(at, build)
    return [Row(f"workers {count} vs 1", rates[count], rates[1], "tokens/s", COMMAND) for count in COUNTS[1:]]


def _built(at: Place, settings: BuildSettings, work: str) -> Build:
    """A build that the workers have made."""
    entered = enter_build(at.engine, settings, at.folder / work)
    assert isinstance(entered, Build)
    while True:
        with at.engine.connect() as connection:
            build = find_build(connection, entered.id)
        if build is not None and build.state != "running":
            if build.state != "published":
                sys.exit(f"a build of the benchmark failed: {build.error}")
            return build
        time.sleep(0.1)


def _seconds(at: Place, build: Build) -> float:
    """From the begin of the first shard of the harvest to the end of the last of the clusters."""
    span = (
        "SELECT extract(epoch FROM max(created_at) - min(created_at - make_interval(secs => seconds))) "
        "FROM build_shards WHERE build_id = :build AND shard NOT IN ('plan', 'publish')"
    )
    with at.engine.connect() as connection:
        return float(connection.execute(text(span), {"build": build.id}).scalar_one())


def _of_plan(at: Place, teacher: Path) -> list[Row]:
    """Memory of a process that builds alone, and bytes of its store."""
    corpus = made_text(at.folder / "measured.jsonl", MEASURED_TOKENS)
    settings = at.settings("measured", teacher, corpus)
    dim = load_outline(str(teacher)).dim
    with _needs(at, settings) as (plan, needs):
        stated = needs.weights + needs.process
    entered = enter_build(at.engine, settings, at.folder / "measured")
    assert isinstance(entered, Build)
    launched = [sys.executable, "-c", _LAUNCHER, *SENSEDICT, "worker", "--once"]
    ended = subprocess.run(launched, env=at.environment(), stdout=subprocess.PIPE)
    if ended.returncode:
        sys.exit("the worker of the benchmark failed")
    count = "SELECT sum((facts->>'senses')::int) FROM build_shards WHERE build_id = :build AND shard LIKE 'cluster/%'"
    with at.engine.connect() as connection:
        senses = int(connection.execute(text(count), {"build": entered.id}).scalar_one())
    written = sum(path.stat().st_size for path in Path(entered.store).rglob("*.safetensors"))
    least = 4 * plan.tokens + 2 * dim * (plan.kept + senses)  # tokens, states in float16, centroids in float16
    return [
        Row("peak RAM vs plan", 1024 * int(ended.stdout.split()[-1]), stated, "bytes", COMMAND),
        Row("bytes written vs least", written, least, "bytes", COMMAND),
    ]


@contextmanager
def _needs(at: Place, settings: BuildSettings) -> Iterator[tuple[BuildPlan, Needs]]:
    """Gives what `sensedict build --dry-run` prints."""
    outline = load_outline(settings.teacher)
    with at.engine.connect() as connection:
        words = [word for _, word in relation_words(connection, find_lexicon(connection, settings.lexicon).id)]
    with planned(at.engine, settings, outline, (None, at.folder), lambda line: None) as (plan, _):
        yield plan, needs_of(plan, settings, outline, tokenize_words(outline.tokenizer, words))


def _of_cost(at: Place, teacher: Path) -> list[Row]:
    """Tokens of the corpus a second of CPU time."""
    rates = []
    for tokens in DECADES:
        corpus = made_text(at.folder / f"{tokens}.jsonl", tokens)
        before = time.process_time()
        settings = at.settings(f"cost-{tokens}", teacher, corpus)
        build_dictionary(at.engine, at.folder / "home" / "files", settings, at.folder / f"cost-{tokens}")
        rates.append(tokens / (time.process_time() - before))
    return [
        Row(f"cost, {tokens // DECADES[0]}x the corpus", rate, rates[0], "tokens/CPU s", COMMAND)
        for tokens, rate in zip(DECADES[1:], rates[1:], strict=True)
    ]


if __name__ == "__main__":
    write("workers", rows())
