"""What a user has of training: a student from Python, its card and logs, a run's cost before it, and clear refusals."""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from huggingface_hub.repocard import metadata_load
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, Qwen2Config, Qwen2ForCausalLM
from transformers.modeling_layers import GradientCheckpointingLayer

from running_service import free_port
from sensedict.errors import ConfigurationError, InvalidInput, MissingExtra, SenseDictError, Unavailable
from sensedict.snapshot import Snapshot
from sensedict_trainer import Distillation
from sensedict_trainer.compare_command import compare as compare_command
from sensedict_trainer.distil.cost import count_flops, count_parameters
from sensedict_trainer.distil.layers import block_influence, choose_layers, shared_layers
from sensedict_trainer.distil.loop import TrainOptions, train
from sensedict_trainer.distil.progress import Progress
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.student import Tail, cut_student, to_save
from sensedict_trainer.distil.teacher_states import build_teacher_states
from sensedict_trainer.distil.tensorboard import check_tensorboard
from sensedict_trainer.distil.train_command import train as train_command
from sensedict_trainer.results import read_json_lines
from sensedict_trainer.teacher import Teacher, load_teacher
from sensedict_trainer.text import cut_windows, pad_windows, read_documents
from tiny_teacher import corpus, save_tiny_teacher, save_tokenizer
from tiny_training import RECIPE, make_dictionary, make_windows

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
SETTINGS = ["window=24", "batch_size=8", "epochs=1", "nearest=2", "minimum=3", "neighbours=2", "lr=1e-2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher with a chat template, a licence, and two tokens that end a text."""
    folder = save_tiny_teacher(tmp_path_factory.mktemp("teacher") / "tiny")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    GenerationConfig(eos_token_id=[0, 5], pad_token_id=0).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    return folder


@pytest.fixture(scope="module")
def teacher(folder: Path) -> Teacher:
    return load_teacher(str(folder))


@pytest.fixture(scope="module")
def dictionary(teacher: Teacher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dictionary(tmp_path_factory.mktemp("sets"), teacher)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "train.jsonl"
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in corpus(24)))
    return path


def test_the_five_lines_of_the_guide_train_from_a_file_set(
    folder: Path, dictionary: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "teacher").symlink_to(folder)
    (tmp_path / "train.jsonl").symlink_to(text)
    (tmp_path / "files").mkdir()
    (tmp_path / "files/mine@1").symlink_to(dictionary)
    monkeypatch.chdir(tmp_path)
    (lines,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert len([line for line in lines.splitlines() if line]) <= 5
    assert '["lr=1e-4"]' in lines
    exec(lines.replace('["lr=1e-4"]', str([*SETTINGS, "choice=even"])), {})
    student = tmp_path / "run-1e-4" / "student"

    card = (student / "README.md").read_text()
    stated = metadata_load(student / "README.md")
    assert stated is not None
    assert stated["license"] == "apache-2.0"
    assert stated["library_name"] == "transformers"
    assert "base_model" not in stated  # a folder is no name of the hub
    note = json.loads((student / "sensedict-run.json").read_text())
    assert note["layers"] == [0, 3]
    (name, sha256), *_ = note["run"]["text"]["sources"]
    assert name == "train.jsonl"
    with Snapshot.open(dictionary) as source:
        facts = [source.identity.content_hash, f"{source.identity.name}@{source.identity.version}"]
    for fact in (*facts, sha256, note["text"], note["teacher"], "layers of", ": 0, 3.", "sense.margin", "torch"):
        assert fact in card
    assert f"{note['losses']['sense']:.4f}" in card
    template = AutoTokenizer.from_pretrained(student).chat_template
    assert template == AutoTokenizer.from_pretrained(folder).chat_template
    assert GenerationConfig.from_pretrained(student).eos_token_id == [0, 5]
    # The commands of the card, on the folder they are in.
    code = card.partition("```python\n")[2].partition("```")[0].replace("FOLDER", str(student))
    found: dict[str, Any] = {}
    exec(code, found)
    ids = found["tokenizer"]("The cold river", return_tensors="pt")["input_ids"]
    assert found["model"].generate(ids, max_new_tokens=4, do_sample=False).shape[1] > ids.shape[1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_greedy_output_is_the_same_before_and_after_export(folder: Path, tmp_path: Path, dtype: str) -> None:
    teacher = load_teacher(str(folder), dtype)
    student = cut_student(teacher, [0, 2, 3], 1)
    with torch.no_grad():
        for weight in student.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn_like(weight))
    here = to_save(student, teacher.dtype)
    here.save_pretrained(tmp_path / "s")
    there = AutoModelForCausalLM.from_pretrained(tmp_path / "s", dtype=teacher.dtype)
    ids = teacher.tokenizer("The cold river", return_tensors="pt")["input_ids"]
    greedy = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    before = here.generate(ids, **greedy)
    assert torch.equal(there.generate(ids, **greedy), before)
    if dtype == "float32":  # else what was trained is rounded when it is saved
        assert torch.equal(student.generate(ids, **greedy), before)


def test_layers_are_chosen_by_their_influence(teacher: Teacher) -> None:
    windows = make_windows(teacher)
    influence = block_influence(teacher, windows)
    ids, mask = pad_windows(windows, teacher.device)
    with torch.no_grad():
        states = teacher.model.base_model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    for layer in range(teacher.layers - 1):  # what leaves the last is given after the norm
        before, after = (states[at][mask.bool()].double() for at in (layer, layer + 1))
        cosine = (before * after).sum(-1) / (before.norm(dim=-1) * after.norm(dim=-1))
        assert influence[layer] == pytest.approx(1 - float(cosine.mean()), abs=1e-5)
    for layers in range(1, 5):
        kept = choose_layers("influence", layers, teacher, windows)
        assert len(kept) == layers
        assert list(kept) == sorted(kept)
        left_out = set(range(teacher.layers)) - set(kept)
        assert all(influence[out] <= influence[layer] for out in left_out for layer in kept)
    assert [choose_layers("even", layers, teacher, []) for layers in (1, 2, 3)] == [(0,), (0, 3), (0, 2, 3)]
    assert choose_layers("first", 3, teacher, []) == (0, 1, 2)
    assert [shared_layers(kept) for kept in ([0, 1, 2], [0, 1, 3], [1, 2])] == [3, 2, 0]


def test_a_student_that_skips_layers_keeps_what_the_config_says_of_each(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    kinds = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    config = Qwen2Config(
        vocab_size=400, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, use_sliding_window=True, sliding_window=4, max_window_layers=1, layer_types=kinds,
    )  # fmt: skip
    Qwen2ForCausalLM(config).to(torch.float32).save_pretrained(tmp_path)
    teacher = load_teacher(str(tmp_path))
    student = cut_student(teacher, [0, 2, 3], 1)
    to_save(student, torch.float32).save_pretrained(tmp_path / "s")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "s", dtype=torch.float32)
    assert loaded.config.layer_types == [kinds[0], kinds[2], kinds[3]]
    theirs, ours = teacher.model.state_dict(), loaded.state_dict()
    for place, layer in enumerate((0, 2, 3)):
        name = "model.layers.{}.mlp.up_proj.weight"
        assert torch.equal(ours[name.format(place)], theirs[name.format(layer)])
    ids = torch.arange(16).reshape(1, 16)
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids).logits, student(input_ids=ids).logits)


def test_parameters_and_flops_are_those_of_the_models(folder: Path) -> None:
    teacher = load_teacher(str(folder))
    teacher.model.set_attn_implementation("eager")  # the counter does not know a CPU's fused attention
    kept, length = [0, 2, 3], 20
    recipe = Recipe(objective="kd", trainable=1, layers=0.75)
    student = cut_student(teacher, kept, 1)
    found = count_parameters(teacher, kept, 1)
    assert found.teacher == sum(weight.numel() for weight in teacher.model.parameters())
    assert found.student == sum(weight.numel() for weight in student.parameters())
    assert found.trained == sum(weight.numel() for weight in student.parameters() if weight.requires_grad)

    ids = torch.arange(2 * length).reshape(2, length)
    mask = torch.ones_like(ids)

    def counted(work: Any) -> float:
        with FlopCounterMode(display=False) as counter:
            work()
        return counter.get_total_flops() / ids.numel()

    flops = count_flops(recipe, teacher, kept, [length, length])
    with torch.no_grad():
        assert counted(lambda: teacher.hidden_states(ids, mask)) == flops.teacher
        whole = counted(lambda: student.base_model(input_ids=ids, attention_mask=mask, use_cache=False))
        assert whole == flops.own_trunk + flops.forward
        assert counted(lambda: teacher.head(torch.ones(2, length, teacher.dim))) == flops.teacher_head
    tail = Tail(student, 1)
    hidden = tail(torch.randn(2, length, teacher.dim), mask)
    assert counted(lambda: hidden.sum().backward()) == flops.backward
    states = torch.randn(2, length, teacher.dim, requires_grad=True)
    assert counted(lambda: teacher.head(states).sum().backward()) == flops.head
    assert flops.trunk == 0
    first = count_flops(recipe, teacher, [0, 1, 2], [length])
    assert (first.own_trunk, first.trunk) == (0, flops.own_trunk)


def test_a_dry_run_does_not_wait_for_a_service(folder: Path, text: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = ["--dictionary", "mine@1", "--server", f"http://127.0.0.1:{free_port()}"]
    with pytest.raises(Unavailable, match="does not answer"):
        CliRunner().invoke(
            train_command,
            ["--teacher", str(folder), "--text", str(text), "--objective", "dskd", *gone, "--dry-run"],
            catch_exceptions=False,
        )
    assert "asking again" not in caplog.text


def test_a_dry_run_says_what_a_run_costs_and_writes_nothing(
    folder: Path, dictionary: Path, text: Path, tmp_path: Path
) -> None:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    before = sorted(path for place in (folder, dictionary, text.parent) for path in place.rglob("*"))
    done = CliRunner().invoke(
        train_command,
        ["--teacher", str(folder), "--text", str(text), "--snapshot", str(dictionary), *settings, "--dry-run"],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    teacher = load_teacher(str(folder))
    parameters = count_parameters(teacher, [0, 1], 2)
    windows = make_windows(teacher)
    for fact in (
        f"{parameters.student:,}, of them {parameters.trained:,} trained",
        f"{sum(len(window.ids) for window in windows):,} tokens in {len(windows)} windows",
        f"steps                     {-(-len(windows) // 8)}, each of 8 windows",
        "candidates of",
    ):
        assert fact in done.output
    assert list(tmp_path.iterdir()) == []
    assert sorted(path for place in (folder, dictionary, text.parent) for path in place.rglob("*")) == before


def test_a_dry_run_counts_what_is_kept_of_the_teacher(folder: Path, text: Path, tmp_path: Path) -> None:
    plain = Distillation(folder, [text], objective="kd", settings=SETTINGS).plan()
    teacher = load_teacher(str(folder))
    windows = cut_windows(read_documents([text]), teacher.tokenizer, plain.recipe.window)
    build_teacher_states(tmp_path / "states", teacher, windows, "logits", 4)
    stored = Distillation(
        folder,
        [text],
        objective="kd",
        settings=SETTINGS,
        activations=tmp_path / "cache",
        teacher_states=tmp_path / "states",
    )
    plan = stored.plan()
    assert plan.flops.teacher == plan.flops.trunk == plain.flops.trunk < plain.flops.teacher
    assert not (tmp_path / "cache").exists()
    stored.train(tmp_path / "run")
    assert plan.memory.states == 0
    assert plan.memory.disk == sum(path.stat().st_size for path in (tmp_path / "cache").glob("rows-*"))
    assert [line.split()[0] for line in plan.lines()].count("disk") == 1
    with pytest.raises(ConfigurationError, match="holds logits, and ce \\+ mse compares hidden states"):
        replace(stored, objective="ce + mse", settings=[*SETTINGS, "mse.positions=all"]).plan()


def test_layers_with_a_gap_train_and_tensorboard_has_the_history(teacher: Teacher, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = replace(RECIPE, objective="kd", choice="even", layers=0.75, trainable=1, epochs=4)
    options = TrainOptions(tensorboard=True, measure_every=2)
    result = train(recipe, teacher, make_windows(teacher), None, tmp_path / "run", options=options)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    rows = read_json_lines(result.history)
    assert sum(row["loss"] for row in rows[-6:]) < sum(row["loss"] for row in rows[:6])
    for tag, values in {"loss": [r["loss"] for r in rows], "lr": [r["lr"] for r in rows]}.items():
        assert [event.value for event in events.Scalars(tag)] == pytest.approx(values)
        assert [event.step for event in events.Scalars(tag)] == [row["step"] for row in rows]
    shares = [row["grad_share"]["kl"] for row in rows if "grad_share" in row]
    assert [event.value for event in events.Scalars("grad_share/kl")] == pytest.approx(shares)


def test_without_tensorboard_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=r"pip install 'sensedict\[tensorboard\]'"):
        check_tensorboard()


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    row = {"loss": 2.5, "ce": 2.0, "kl": 0.5, "hit_rate": 0.97, "tokens": 100}
    for stream in (io.StringIO(), Terminal()):
        with Progress("dskd", 3, 300, (1, 100), stream=stream, every=1e9) as progress:
            progress.step(row)
            progress.write("a word between")
            progress.step(row)
        shown = stream.getvalue()
        assert "a word between\n" in shown
        assert ("\r" in shown) == stream.isatty()
        for part in ("loss", "2.5", "ce", "kl", "0.5", "hits", "97%"):
            assert part in shown
        if not stream.isatty():
            last = shown.splitlines()[-1]
            assert last.startswith("dskd: step 3 of 3, loss 2.5, ce 2, kl 0.5, hits 97%, ")
            assert last.endswith("tokens/s, 00:00 left")
            assert len(shown.splitlines()) == 2  # the step before the last had no line of its own


def test_where_memory_is_short_a_command_says_what_to_lower(
    folder: Path, dictionary: Path, text: Path, tmp_path: Path
) -> None:
    held_out = tmp_path / "held-out.jsonl"
    held_out.write_text(json.dumps({"text": " ".join(corpus(8, seed=9))}))
    options = ["--teacher", str(folder), "--text", str(text), "--held-out", str(held_out), "--set", "window=24"]
    options += ["--snapshot", str(dictionary), "--out", str(tmp_path / "out")]

    def full(module: nn.Module, _args: Any) -> None:
        if isinstance(module, GradientCheckpointingLayer):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nAnd much more.")

    for command, now in ((train_command, 8), (compare_command, 4)):
        hook = register_module_forward_pre_hook(full)
        try:
            done = CliRunner().invoke(command, options)
        finally:
            hook.remove()
        assert isinstance(done.exception, ConfigurationError)
        assert str(done.exception) == (
            f"cpu has not enough memory: lower --micro-batch (now {now} windows), --cache-mb (now 256), or the setting "
            "window (now 24); --dtype bfloat16 halves weights (CUDA out of memory. Tried to allocate 2.00 GiB.)"
        )
        # A device that is not there is found before the teacher, which is not there either.
        absent = ["nowhere/x/y" if option == str(folder) else option for option in options]
        with pytest.raises(ConfigurationError, match="the device 'cuda:99' cannot be used"):
            CliRunner().invoke(command, [*absent, "--device", "cuda:99"], catch_exceptions=False)


def test_what_cannot_be_is_refused_at_the_edge(folder: Path, dictionary: Path, text: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.jpg").write_bytes(b"x")
    columns = tmp_path / "columns.jsonl"
    columns.write_text('{"title": "no text"}\n')
    good: dict[str, Any] = {"teacher": "missing-teacher-folder/x/y", "text": [text], "dictionary": dictionary}
    # A teacher that cannot be loaded: whatever else is wrong is said before it is tried.
    wrong: list[tuple[dict[str, Any], type[SenseDictError], str]] = [
        ({"settings": ["lrr=1e-4"]}, InvalidInput, "unknown field 'lrr', is 'lr' meant"),
        ({"settings": ["lr=5e5"]}, InvalidInput, "lr = 500000: AdamW moves each weight"),
        ({"settings": ["choice=best"]}, InvalidInput, "choice 'best' is not one of first, even, influence"),
        ({"settings": "lr=1e-4"}, InvalidInput, "settings is 'lr=1e-4' and must be a list"),
        ({"text": str(text)}, InvalidInput, "text is .* and must be a list"),
        ({"text": []}, InvalidInput, "no text to train on"),
        ({"tokens": -3}, InvalidInput, "tokens is -3 and must be at least 1"),
        ({"micro_batch": 0}, InvalidInput, "micro_batch is 0 and must be at least 1"),
        ({"checkpoint_every": 0}, InvalidInput, "checkpoint_every is 0 and must be at least 1"),
        ({"settings": ["weight_decay=inf"]}, InvalidInput, "weight_decay inf is not 0 or more"),
        ({"patience": float("nan")}, ConfigurationError, "patience is nan and must be 0 seconds or more"),
        ({"text": [tmp_path / "absent.jsonl"]}, InvalidInput, "absent.jsonl"),
        ({"text": [columns]}, InvalidInput, "columns.jsonl"),
        ({"teacher_states": text.parent}, ConfigurationError, "holds no teacher states: make them with"),
        ({"device": "cuda:99"}, ConfigurationError, "the device 'cuda:99' cannot be used"),
        ({"dictionary": None}, ConfigurationError, "the objective dskd needs a dictionary"),
        ({"dictionary": tmp_path / "nowhere"}, ConfigurationError, "nowhere"),
        ({"recipe": "paper"}, InvalidInput, "no recipe 'paper'"),
        ({}, ConfigurationError, "missing-teacher-folder"),
        ({"teacher": folder, "settings": ["window=512"]}, InvalidInput, "reads 256 tokens at most"),
    ]
    for changes, error, message in wrong:
        with pytest.raises(error, match=message):
            Distillation(**good | changes).train(tmp_path / "run")
    with pytest.raises(ConfigurationError, match="photos holds something else"):
        Distillation(**good).train(foreign)
    assert not (tmp_path / "run").exists()
