"""The plan of a build: numbers counted by hand, FLOPs against torch's own counter, disks that are too small."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sensedict.errors import ConfigurationError, InvalidInput
from sensedict_server.build.build_command import build
from sensedict_server.build.needs import check_disk, describe, needs_of
from sensedict_server.build.plan import BuildPlan, BuildSettings, Mode
from sensedict_server.build.planning import make_plan
from sensedict_server.build.settings_check import check_teacher
from sensedict_server.build.windows import WindowLog
from sensedict_trainer.hashing import mix, sequence_key
from sensedict_trainer.outline import Outline, load_outline
from sensedict_trainer.reservoir import keep
from sensedict_trainer.teacher import load_teacher
from sensedict_trainer.text import TokenWindow, iter_windows, text_hash
from sensedict_trainer.text_sources import read_documents
from tiny_teacher import save_tiny_teacher

# Prints by how many bytes the memory of a process grows while it clusters 2,000 states at D = 4,096, one of a token.
PEAK_OF_FEW = """
import numpy as np
from sensedict_server.build.clusters import Part, senses_of
def memory(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) * 1024
states, draws = np.empty((2000, 4096), dtype=np.float16), np.random.default_rng(0)
for state in states:  # one by one: the peak is to be the clustering's
    state[:] = draws.normal(size=4096)
senses_of(states[:40], Part([0, 40], [10], [0], 3))
before = memory("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
senses_of(states, Part(range(2001), [10] * 2000, range(2000), 3))
print(memory("VmHWM") - before)
"""
LETTERS = [(0, 1), (2, 1), (0,), (0, 1, 2, 1)]  # words: two of two tokens, one of one, one too long to be composed


@pytest.fixture
def letters() -> PreTrainedTokenizerBase:
    backend = Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2}, unk_token="c"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@pytest.fixture
def settings(tmp_path: Path) -> BuildSettings:
    """Ten texts of eight a, one of seven b and a c."""
    for i in range(10):
        (tmp_path / f"{i}.txt").write_text(" ".join("aaaaaaaa"))
    (tmp_path / "last.txt").write_text(" ".join("bbbbbbbc"))
    return BuildSettings("", (str(tmp_path),), "l@1", "n", "1", k=3, cap=5, window=8)


def outline(tokenizer: PreTrainedTokenizerBase) -> Outline:
    return Outline(
        tokenizer,
        "",
        dim=4,
        vocabulary_size=3,
        layers=1,
        context=None,
        parameters=500,
        token_flops=100,
        pair_flops=1,
        head_flops=1000,
    )


def plan_of(settings: BuildSettings, tokenizer: PreTrainedTokenizerBase) -> BuildPlan:
    with WindowLog(settings.memory) as log:
        log.fill(iter_windows(read_documents(settings.corpus), tokenizer, settings.window), settings.seed)
        return make_plan(log, settings, vocabulary_size=3, dim=4)


def test_numbers_of_the_plan_by_hand(letters: PreTrainedTokenizerBase, settings: BuildSettings) -> None:
    plan = plan_of(settings, letters)
    needs = needs_of(plan, settings, outline(letters), LETTERS)
    lines = list(describe(plan, needs, settings))
    assert lines[0] == "corpus: 88 tokens in 11 windows"
    assert lines[2] == "hidden states: 11 kept of 77"  # a 5 of 70, b 5 of 6, c 1 of 1
    assert [line.split() for line in lines[3:7]] == [
        ["of", "a", "key", "keys", "kept"],
        ["1", "1", "1"],
        ["2–4", "0", "0"],
        ["5", "(cap)", "2", "10"],
    ]
    assert needs.shards == 11 * (4 * 2 + 12)
    assert needs.clusters == (3 + 3 + 1) * (4 * 2 + 16 + 3 * 8) + 11 * 12
    assert needs.text == 88 * 4 + 11 * 12
    assert needs.weights == 500 * 4
    assert needs.vectors == (3 + 3 + 1 + 3 + 1) * 4 * 2  # and those of the words `a b` and `c b`
    assert needs.passages == (3 + 3 + 1) * 3 * 135
    assert needs.file_set == needs.vectors + needs.passages


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_of_tokens_with_few_states_is_planned(letters: PreTrainedTokenizerBase, settings: BuildSettings) -> None:
    """Each of their states is a sense, in float32 until a part is done."""
    plan = plan_of(settings, letters)
    wide = replace(outline(letters), dim=4096)
    none, few = (
        replace(plan, cluster={name: replace(part, states=states) for name, part in plan.cluster.items()})
        for states in (0, 2000)
    )
    ones = replace(settings, threads=1, batch_size=1, window=1)
    planned = needs_of(few, ones, wide, []).process - needs_of(none, ones, wide, []).process
    done = subprocess.run([sys.executable, "-c", PEAK_OF_FEW], capture_output=True, text=True, check=True)
    assert int(done.stdout) < planned - 2 * 2000 * 4096  # the states themselves were there before


def test_a_window_is_no_longer_than_the_context(letters: PreTrainedTokenizerBase, settings: BuildSettings) -> None:
    relative = outline(letters)
    check_teacher(replace(settings, window=10**6), relative)
    check_teacher(settings, replace(relative, context=8))
    with pytest.raises(InvalidInput, match=r"window is 8, and .* reads 7 tokens at most"):
        check_teacher(settings, replace(relative, context=7))


def test_windows_without_a_kept_state_are_not_read(letters: PreTrainedTokenizerBase, settings: BuildSettings) -> None:
    one = replace(settings, k=1, cap=1)
    plan = plan_of(one, letters)
    needs = needs_of(plan, one, outline(letters), LETTERS)
    assert plan.kept == 3
    assert needs.run_tokens == 16  # one window of a's, and the only one with b and c
    assert needs.flops == 2 * (8 * 100 + 8 * 8 * 1)
    assert "the teacher reads 16 tokens in 2 windows: those with a state to keep" in describe(plan, needs, one)


def test_one_of_a_thing_is_no_plural(letters: PreTrainedTokenizerBase, settings: BuildSettings, tmp_path: Path) -> None:
    one = replace(settings, corpus=(str(tmp_path / "last.txt"),))
    plan = plan_of(one, letters)
    lines = list(describe(plan, needs_of(plan, one, outline(letters), LETTERS), one))
    assert lines[0] == "corpus: 8 tokens in 1 window"
    assert "work: 1 shard of text, 1 of tokens; any number of workers" in lines


def test_keys_that_only_the_teacher_knows(letters: PreTrainedTokenizerBase, settings: BuildSettings) -> None:
    own = replace(settings, key="input")
    assert "hidden states: 11 kept of 88" in describe(
        plan_of(own, letters), needs_of(plan_of(own, letters), own, outline(letters), []), own
    )
    predicted = replace(settings, key="predicted")
    plan = plan_of(predicted, letters)
    needs = needs_of(plan, predicted, outline(letters), LETTERS)
    assert needs.flops == 11 * (8 * 100 + 8 * 8 * 1) + 88 * 1000
    assert needs.shards == 88 * (4 * 2 + 12)
    assert needs.clusters == 9 * (4 * 2 + 16 + 3 * 8) + 88 * 12  # three senses of each of three tokens
    lines = list(describe(plan, needs, predicted))
    assert "hidden states: all 88; which keys they have is known after the pass (--key predicted)" in lines
    assert [line for line in lines if line.startswith("memory of a shard of tokens is a guess")]


def zipf_windows(tokens: int, vocabulary_size: int = 3000) -> Iterator[TokenWindow]:
    generator = np.random.default_rng(0)
    shares = np.cumsum(1 / np.arange(1, vocabulary_size + 1))
    while tokens > 0:
        drawn = np.searchsorted(shares, generator.random(int(generator.integers(8, 257))) * shares[-1])
        yield TokenWindow(f"text {tokens}", drawn.astype(np.int32))
        tokens -= len(drawn)


def plan_in(memory: int, tokens: int, settings: BuildSettings) -> BuildPlan:
    with WindowLog(memory // 8) as log:
        log.fill(zipf_windows(tokens), settings.seed)
        return make_plan(log, replace(settings, memory=memory), vocabulary_size=3000, dim=64)


@pytest.mark.parametrize("mode", ["exact", "streaming"])
def test_memory_decides_how_work_is_cut_and_not_what_is_kept(settings: BuildSettings, mode: Mode) -> None:
    settings = replace(settings, cap=100, first=100, mode=mode)
    large, small = (plan_in(memory, 150_000, settings) for memory in (10**9, 10**6))
    for tensor, values in large.to_tensors().items():
        assert values.tolist() == small.to_tensors()[tensor].tolist()
    assert len(small.harvest) > len(large.harvest)
    assert max(part.stored for part in small.harvest.values()) * (2 * 64 + 12) <= 10**6 / 2
    assert max(part.states for part in small.cluster.values()) * (2 * 64 + 12) <= 10**6 / 4
    for plan in (large, small):
        assert sum(part.windows for part in plan.harvest.values()) == len(plan.lengths)
        assert sum(part.tokens for part in plan.harvest.values()) == plan.tokens
        assert sum(part.states for part in plan.cluster.values()) == plan.kept == plan.stored.sum()


def test_the_sample_is_that_of_all_uses_at_once(settings: BuildSettings) -> None:
    settings = replace(settings, cap=100)
    plan = plan_in(10**6, 150_000, settings)
    windows = list(zipf_windows(150_000))
    keys = np.concatenate([window.ids[1:] for window in windows])
    draws = np.concatenate(
        [mix(sequence_key(settings.seed, window.id, "reservoir"), np.arange(len(window.ids) - 1)) for window in windows]
    )
    assert (draws <= plan.thresholds[keys]).tolist() == keep(keys, draws, 100).tolist()
    assert plan.corpus_hash == text_hash(windows)


def test_generations_of_a_stream(settings: BuildSettings) -> None:
    """A key is settled where it first has so many uses, and what comes later is summed."""
    settings = replace(settings, first=100, mode="streaming")
    plan = plan_in(10**8, 150_000, settings)
    windows = list(zipf_windows(150_000))
    ends = np.cumsum([len(window.ids) for window in windows])
    bounds = [int(np.searchsorted(ends, plan.tokens / part, side="right")) for part in (8, 4, 2, 1)]
    uses = np.stack([np.bincount(np.concatenate([w.ids[1:] for w in windows[:end]]), minlength=3000) for end in bounds])
    for key, settled in enumerate(plan.settled.tolist()):
        if settled < 0:
            assert uses[3, key] == 0
        else:
            assert settled == 3 or uses[settled, key] >= 100
            assert settled == 0 or uses[settled - 1, key] < 100
            assert plan.stored[key] == min(100, uses[settled, key])
    later = sum(int(uses[3, key] - uses[settled, key]) for key, settled in enumerate(plan.settled) if settled >= 0)
    assert sum(part.summed for part in plan.harvest.values()) == later
    assert next(part.first_window for part in plan.harvest.values() if part.generation == 1) == bounds[0]


def test_a_stream_that_saves_nothing_is_called_so(letters: PreTrainedTokenizerBase, settings: BuildSettings) -> None:
    """Sums are kept of each shard of text, and a bound of memory makes many."""
    said = {}
    for memory in (10**9, 10**6):
        own = replace(settings, cap=2000, first=50, mode="streaming", memory=memory, k=10)
        plan = plan_in(memory, 150_000, own)
        needs = needs_of(plan, own, replace(outline(letters), dim=64, vocabulary_size=3000), [])
        assert needs.exact == int(np.minimum(plan.occurrences, 2000).sum()) * (2 * 64 + 12)
        said[memory] = [line for line in describe(plan, needs, own) if "saves no disk" in line]
        assert bool(said[memory]) == (needs.shards > needs.exact)
    assert not said[10**9]
    assert "--mode exact would need" in said[10**6][0]


def test_planning_takes_no_more_memory_for_more_text(settings: BuildSettings) -> None:
    settings = replace(settings, cap=100)
    peaks = []
    for tokens in (250_000, 1_000_000):
        tracemalloc.start()
        plan_in(4_000_000, tokens, settings)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 8_000_000  # eight bytes a token


def test_flops_of_a_real_pass_without_reading_weights(tmp_path: Path) -> None:
    folder = save_tiny_teacher(tmp_path / "tiny")
    teacher = load_teacher(str(folder))
    for file in folder.glob("*.safetensors"):
        file.unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    found = load_outline(str(folder))
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert found.summary.startswith("teacher ")
    assert "D = 32, V = " in found.summary
    assert (found.dim, found.vocabulary_size, found.layers) == (teacher.dim, teacher.vocabulary_size, teacher.layers)
    assert found.parameters == sum(weight.numel() for weight in teacher.model.parameters())
    assert found.tokenizer.get_vocab() == teacher.tokenizer.get_vocab()
    teacher.model.set_attn_implementation("eager")  # whose products the counter sees
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        teacher.head(teacher.hidden_states(torch.ones((3, 40), dtype=torch.int64))[:, :5])
    assert found.flops([40] * 3, headed=15) == pytest.approx(counter.get_total_flops(), rel=0.01)


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json"])
def test_a_folder_that_is_no_teacher(tmp_path: Path, missing: str) -> None:
    folder = save_tiny_teacher(tmp_path / "tiny")
    (folder / missing).write_text("{")
    with pytest.raises(ConfigurationError, match=r"the config or tokenizer of .*tiny' cannot be read"):
        load_outline(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(ConfigurationError, match=r"has no config\.json"):
        load_outline(str(folder))


def test_a_disk_too_small_is_named_with_both_numbers(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    work, files = tmp_path / "not" / "there", tmp_path / "files"
    check_disk({work: free // 4, files: free // 4})
    with pytest.raises(
        ConfigurationError, match=r"needs [\d.]+ [TGM]B in .*there and .*files, where [\d.]+ [TGM]B are"
    ):
        check_disk({work: 3 * free // 4, files: 3 * free // 4})  # each would fit alone
    assert not list(tmp_path.iterdir())


def test_the_help_says_what_a_dry_run_is() -> None:
    words = " ".join(CliRunner().invoke(build, ["--help"], terminal_width=120).output.split())
    assert "--dry-run Print the plan and stop: tokens, keys, disk, FLOPs. Reads no weights and stores nothing" in words
    assert "a build that the disk has no room for is refused" in words


@pytest.mark.parametrize(
    ("option", "needed"),
    [("--k-most", "--adaptive"), ("--budget", "--adaptive"), ("--first", "--mode streaming")],
)
def test_an_option_that_does_nothing_is_refused(option: str, needed: str) -> None:
    needless = ["--adaptive"] if option == "--first" else ["--mode", "streaming"]
    line = ["--teacher", "t", "--corpus", "c", "--lexicon", "l@1", "--name", "n", "--version", "1", option, "50"]
    done = CliRunner().invoke(build, line + needless)
    assert done.exit_code == 2
    assert f"{option} does nothing without {needed}: add that" in " ".join(done.output.split())
