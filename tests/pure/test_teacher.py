"""Loading a teacher: what it is known by, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import click
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from file_set_factory import IDENTITY
from sensedict.errors import ConfigurationError, Mismatch
from sensedict_trainer.compare_command import compare
from sensedict_trainer.distil.train_command import train
from sensedict_trainer.state_points import FINAL_NORM, StatePoint
from sensedict_trainer.teacher import Teacher, check_identity, check_room, load_teacher
from tiny_teacher import save_tiny_teacher


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_teacher(tmp_path_factory.mktemp("teacher") / "t")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_the_head_reads_the_hidden_states(folder: Path) -> None:
    teacher = load_teacher(str(folder))
    assert (teacher.dim, teacher.layers, teacher.vocabulary_size) == (32, 4, len(teacher.tokenizer))
    ids = torch.tensor([[5, 9, 300, 17], [8, 2, 1, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    teacher.check_state_point(ids, mask)
    with torch.no_grad():
        logits = teacher.head(teacher.hidden_states(ids, mask))
        torch.testing.assert_close(logits[0], teacher.model(input_ids=ids[:1]).logits[0])


def test_a_model_that_changes_its_logits_is_refused(folder: Path) -> None:
    teacher = load_teacher(str(folder))
    teacher.model.register_forward_hook(lambda _m, _a, out: out.__setitem__("logits", out.logits * 1.5) or out)
    with pytest.raises(ConfigurationError, match="changes its logits after the head"):
        teacher.check_state_point(torch.tensor([[5, 9, 300, 17]]))


def test_a_copy_is_the_same_teacher_whatever_dtype_it_is_loaded_in(folder: Path, copy: Path) -> None:
    here, there, rounded = load_teacher(str(folder)), load_teacher(str(copy)), load_teacher(str(copy), "bfloat16")
    assert here.fingerprint == there.fingerprint == rounded.fingerprint
    assert here.tokenizer_hash == there.tokenizer_hash
    assert rounded.dtype == torch.bfloat16


def test_a_teacher_in_shards_is_read_whole(folder: Path, tmp_path: Path) -> None:
    whole = load_teacher(str(folder))
    whole.model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    whole.tokenizer.save_pretrained(tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    assert load_teacher(str(tmp_path / "shards")).fingerprint == whole.fingerprint


def test_one_changed_weight_is_another_teacher(folder: Path, copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    name = "model.layers.3.mlp.down_proj.weight"
    weights[name][0, 0] += 1e-3
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert load_teacher(str(copy)).fingerprint != load_teacher(str(folder)).fingerprint


def test_one_changed_number_of_the_config_is_another_teacher(folder: Path, copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "transformers_version": "9.9", "dtype": "bfloat16"}))
    assert load_teacher(str(copy)).fingerprint == load_teacher(str(folder)).fingerprint
    (copy / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.5}))
    assert load_teacher(str(copy)).fingerprint != load_teacher(str(folder)).fingerprint


def test_a_device_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="the device 'nosuch' cannot be used"):
        load_teacher(str(folder), device="nosuch")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigurationError, match="the device 'cuda' cannot be used"):
            load_teacher(str(folder), device="cuda")


def test_all_devices_give_the_states_of_one(folder: Path) -> None:
    one, spread = load_teacher(str(folder)), load_teacher(str(folder), device="auto")
    ids = torch.tensor([[5, 9, 300, 17]])
    ours, theirs = one.hidden_states(ids), spread.hidden_states(ids.to(spread.device))
    torch.testing.assert_close(theirs.cpu(), ours, rtol=1e-4, atol=1e-4)
    if not torch.cuda.is_available():
        assert torch.equal(theirs, ours)
        assert spread.summary == one.summary


@pytest.fixture
def parted(folder: Path, tmp_path: Path) -> Teacher:
    """A teacher two layers of which are moved to the device at each pass: with the hooks that devices are joined by."""
    parts = ["embed_tokens", "rotary_emb", *(f"layers.{i}" for i in range(4)), "norm"]
    places = {f"model.{name}": "cpu" for name in parts} | {"lm_head": "cpu"}
    places |= {"model.layers.1": "disk", "model.layers.2": "disk"}
    model = LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, device_map=places, offload_folder=tmp_path / "away"
    )
    return replace(load_teacher(str(folder)), model=model.eval())


def test_a_teacher_whose_layers_lie_apart_gives_the_same_states(folder: Path, parted: Teacher) -> None:
    one = load_teacher(str(folder))
    ids = torch.tensor([[5, 9, 300, 17], [8, 2, 1, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    with torch.inference_mode():
        for point in (FINAL_NORM, StatePoint(2)):
            assert torch.equal(parted.states_at(point, ids, mask), one.states_at(point, ids, mask))
        parted.check_state_point(ids, mask)
    assert parted.model.model.layers[1].mlp.up_proj.weight.device.type == "meta"  # so the hooks were at work


def test_a_teacher_that_devices_have_no_room_for_is_named(parted: Teacher) -> None:
    with pytest.raises(ConfigurationError, match=r"too large for the devices here: \d+ of its weights, e\.g\. model"):
        check_room("t", parted.model)


def test_a_student_is_trained_on_one_device() -> None:
    for command in (train, compare):
        with pytest.raises(click.BadParameter, match="a student is trained on one device"):
            command.make_context("x", ["--device", "auto"])


def test_a_dictionary_of_another_teacher_is_refused_naming_both_values(folder: Path) -> None:
    teacher = load_teacher(str(folder))
    fits = replace(
        IDENTITY,
        teacher_hash=teacher.fingerprint,
        tokenizer_hash=teacher.tokenizer_hash,
        vocabulary_size=teacher.vocabulary_size,
        dim=teacher.dim,
    )
    check_identity(teacher, fits)
    for field, value, what in (
        ("tokenizer_hash", "c" * 64, "tokenizer"),
        ("vocabulary_size", 50_000, "vocabulary width"),
        ("dim", 64, "dimension"),
        ("teacher_hash", "d" * 64, "weights"),
    ):
        with pytest.raises(Mismatch, match=f"{what} .*{getattr(fits, field)} here, {value} in the dictionary"):
            check_identity(teacher, replace(fits, **{field: value}))


def test_folders_that_are_no_teacher_are_named(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no folder"):
        load_teacher(str(tmp_path / "nosuch"))
    with pytest.raises(ConfigurationError, match=r"dtype 'int8' is none of"):
        load_teacher(str(copy), "int8")
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match=r"no weights.*pytorch_model\.bin is a pickle"):
        load_teacher(str(copy))
    (copy / "config.json").unlink()
    with pytest.raises(ConfigurationError, match=r"no config\.json"):
        load_teacher(str(copy))


def test_damaged_weights_are_named(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match=r"NaN or infinity in model\.norm\.weight"):
        load_teacher(str(copy))
    del weights["model.norm.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match=r"lacks 1 of its weights, e\.g\. model\.norm\.weight"):
        load_teacher(str(copy))
    (copy / "model.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load_teacher(str(copy))


def test_a_broken_tokenizer_and_a_broken_index_are_named(copy: Path) -> None:
    (copy / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"index\.json is damaged"):
        load_teacher(str(copy))
    (copy / "model.safetensors.index.json").unlink()
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load_teacher(str(copy))


def test_a_broken_config_is_named(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text("{")
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load_teacher(str(copy))
    (copy / "config.json").write_text(json.dumps({"model_type": "no-such-architecture"}))
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load_teacher(str(copy))
    (copy / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load_teacher(str(copy))
