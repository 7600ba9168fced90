"""The student is a plain model: cut from the teacher, saved, loaded by transformers with bit-equal logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from sensedict.errors import ConfigurationError
from sensedict_trainer.distil.student import Tail, cut_student, to_save
from sensedict_trainer.distil.trunk import Trunk
from sensedict_trainer.teacher import Teacher, load_teacher
from sensedict_trainer.text import pad_windows
from tiny_teacher import save_tiny_teacher
from tiny_training import ARCHITECTURES, make_architecture, make_teacher, make_windows


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return make_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.mark.parametrize("tied", [True, False])
def test_the_cut_student_is_the_teachers_first_layers(tmp_path: Path, tied: bool) -> None:
    teacher = load_teacher(str(save_tiny_teacher(tmp_path / "t", tied=tied)))
    student = cut_student(teacher, 3, trainable=1)
    assert student.config.num_hidden_layers == 3
    theirs = teacher.model.state_dict()
    for name, weight in student.state_dict().items():
        assert torch.equal(weight, theirs[name])
    trained = {name for name, weight in student.named_parameters() if weight.requires_grad}
    assert trained
    assert all(name.startswith("model.layers.2.") for name in trained)
    ids = torch.tensor([[5, 9, 300, 17]])
    with torch.no_grad():
        ours = student.base_model(input_ids=ids, output_hidden_states=True).hidden_states
        whole = teacher.model.base_model(input_ids=ids, output_hidden_states=True).hidden_states
    assert torch.equal(ours[2], whole[2])  # what enters the last of the student's layers


def test_all_layers_give_the_teacher(teacher: Teacher) -> None:
    student = cut_student(teacher, teacher.layers, 1)
    ids = torch.tensor([[5, 9, 300, 17]])
    with torch.no_grad():
        assert torch.equal(student(input_ids=ids).logits, teacher.model(input_ids=ids).logits)


def test_how_the_teacher_stops_is_how_the_student_does(tmp_path: Path) -> None:
    folder = save_tiny_teacher(tmp_path / "t")
    GenerationConfig(eos_token_id=[0, 5], pad_token_id=0, temperature=0.7, do_sample=True).save_pretrained(folder)
    student = cut_student(load_teacher(str(folder)), 2, 1)
    to_save(student, torch.float32).save_pretrained(tmp_path / "s")
    assert GenerationConfig.from_pretrained(tmp_path / "s").eos_token_id == [0, 5]


@pytest.mark.parametrize(("layers", "trainable"), [(5, 1), (0, 0), (2, 3), (2, 0)])
def test_impossible_cuts_are_refused(teacher: Teacher, layers: int, trainable: int) -> None:
    with pytest.raises(ConfigurationError, match="cannot be cut from a teacher of 4 layers: raise the setting layers"):
        cut_student(teacher, layers, trainable)


def test_trunk_and_tail_are_the_student_bit_for_bit(teacher: Teacher) -> None:
    windows = make_windows(teacher)[:5]
    student = cut_student(teacher, 3, 2)
    trunk, tail = Trunk(teacher, 1, windows), Tail(student, 2)
    trunk.check(student, tail, windows)
    ids, mask = pad_windows(windows, teacher.device)
    first, again = trunk.states(windows), trunk.states(windows)  # run, then from memory
    with torch.no_grad():
        whole = student.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
        for states in (first, again):
            assert torch.equal(tail(states.entering, states.mask)[mask.bool()], whole[mask.bool()])
            assert torch.equal(states.hidden[mask.bool()], teacher.hidden_states(ids, mask)[mask.bool()])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_student_in_half_precision_passes_as_a_whole_and_from_the_trunk(tmp_path: Path, architecture: str) -> None:
    # Some norms keep the dtype that they are given, others do not.
    made = make_architecture(tmp_path / "t", architecture)
    teacher = load_teacher(made.name, "bfloat16")
    windows = make_windows(teacher)[:5]
    student = cut_student(teacher, 3, 2)
    trunk, tail = Trunk(teacher, 1, windows), Tail(student, 2)
    trunk.check(student, tail, windows)
    states = trunk.states(windows)
    with teacher.mixed():
        tail(states.entering, states.mask).float().sum().backward()
    trained = [weight for weight in student.parameters() if weight.requires_grad]
    assert trained
    assert all(weight.grad is not None and weight.grad.dtype == torch.float32 for weight in trained)


def test_a_trunk_that_remembers_nothing_gives_the_same(teacher: Teacher) -> None:
    windows = make_windows(teacher)[:3]
    forgetful, mindful = Trunk(teacher, 2, windows, memory=0), Trunk(teacher, 2, windows)
    for _ in range(2):
        a, b = forgetful.states(windows), mindful.states(windows)
        torch.testing.assert_close(a.entering[a.mask.bool()], b.entering[a.mask.bool()])


@pytest.mark.parametrize("tied", [True, False])
def test_what_is_saved_is_copied_to_main_memory_and_nowhere_else(
    tmp_path: Path, tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = cut_student(load_teacher(str(save_tiny_teacher(tmp_path / "t", tied=tied))), 2, 1)

    def fails(*_: object) -> None:
        raise AssertionError("a weight was copied where it is")

    with monkeypatch.context() as patched:
        patched.setattr(nn.Parameter, "__deepcopy__", fails)
        plain = to_save(student, torch.bfloat16)
    assert type(plain) is type(student)
    assert (plain.lm_head.weight is plain.model.embed_tokens.weight) == tied
    for name, weight in plain.state_dict().items():
        own = student.state_dict()[name]
        assert weight.device.type == "cpu"
        assert weight.data_ptr() != own.data_ptr()
        assert torch.equal(weight, own.to(torch.bfloat16))
    assert not any(weight.requires_grad for weight in plain.parameters())
    assert student.model.layers[-1].mlp.up_proj.weight.requires_grad
    frequencies = plain.model.rotary_emb.inv_freq
    assert frequencies.dtype == torch.float32
    assert frequencies.data_ptr() != student.model.rotary_emb.inv_freq.data_ptr()


def test_saved_and_loaded_it_gives_the_same_logits_and_generates(teacher: Teacher, tmp_path: Path) -> None:
    student = cut_student(teacher, 2, 1)
    with torch.no_grad():
        for weight in student.parameters():
            if weight.requires_grad:
                weight.add_(0.01)
    plain = to_save(student, teacher.dtype)
    plain.save_pretrained(tmp_path / "s")
    teacher.tokenizer.save_pretrained(tmp_path / "s")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "s", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "s")
    ids = tokenizer("The cold river", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids).logits, student(input_ids=ids).logits)
    generated = loaded.generate(ids, max_new_tokens=5, do_sample=False)
    assert generated.shape[1] > ids.shape[1]
    assert {p.suffix for p in (tmp_path / "s").iterdir()} <= {".json", ".safetensors", ".jinja"}
