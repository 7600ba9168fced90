"""State points: what may be named, and that a layer's states are the whole pass's, read without the rest of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from file_set_factory import IDENTITY
from sensedict.errors import ConfigurationError, InvalidInput, Mismatch, NotFinite
from sensedict_trainer.harvest import harvest_into
from sensedict_trainer.state_points import FINAL_NORM, StatePoint, parse_state_point
from sensedict_trainer.teacher import Teacher, check_identity, load_teacher
from sensedict_trainer.text import TokenWindow
from tiny_teacher import save_tiny_teacher

IDS = torch.tensor([[5, 9, 30, 17], [8, 2, 1, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return load_teacher(str(save_tiny_teacher(tmp_path_factory.mktemp("teacher") / "t")))


def of_kind(teacher: Teacher, kind: str) -> Teacher:
    """A random teacher of another architecture; its tokenizer is the first one's."""
    from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, GPTNeoXConfig

    width = {"vocab_size": 100, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = {
        "gemma2": lambda: Gemma2Config(**width, **heads, num_key_value_heads=2, head_dim=8),
        "gpt_neox": lambda: GPTNeoXConfig(**width, **heads),
        "gpt2": lambda: GPT2Config(vocab_size=100, n_embd=32, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0),
    }[kind]()
    torch.manual_seed(0)
    return replace(teacher, model=AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval())


@pytest.mark.parametrize(("text", "layer"), [("final_norm", None), ("layer:1", 1), ("layer:80", 80)])
def test_names_of_state_points(text: str, layer: int | None) -> None:
    assert parse_state_point(text) == StatePoint(layer)
    assert str(parse_state_point(text)) == text


@pytest.mark.parametrize(
    "text", ["", "layer", "layer:0", "layer:-1", "layer:01", "layer:٣", "layer:1\n", "Final_norm", "7"]
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no state point: give final_norm, or layer:N"):
        parse_state_point(text)


def test_what_a_teacher_has_and_the_key_allows() -> None:
    for point, key in ((FINAL_NORM, "predicted"), (StatePoint(4), "next"), (StatePoint(1), "input")):
        point.check(4, key)
    with pytest.raises(
        InvalidInput, match=r"no state point layer:5: the teacher has 4 layers, choose layer:1 to layer:4"
    ):
        StatePoint(5).check(4, "input")
    with pytest.raises(InvalidInput, match=r"key predicted cannot be told at layer:2.*choose the key input or next"):
        StatePoint(2).check(4, "predicted")


@pytest.mark.parametrize(("kind", "norm"), [("gemma2", "norm"), ("gpt_neox", "final_layer_norm"), ("gpt2", "ln_f")])
@torch.inference_mode()
def test_a_layers_states_are_those_of_the_whole_pass(teacher: Teacher, kind: str, norm: str) -> None:
    other = of_kind(teacher, kind)
    whole = other.backbone(input_ids=IDS, attention_mask=MASK, use_cache=False, output_hidden_states=True)
    for layer in (1, 2):  # the last that transformers gives is after the norm
        assert torch.equal(other.states_at(StatePoint(layer), IDS, MASK), whole.hidden_states[layer])
    last = other.states_at(StatePoint(3), IDS, MASK)
    assert not torch.equal(last, whole.last_hidden_state)
    assert torch.equal(getattr(other.backbone, norm)(last), whole.last_hidden_state)
    assert torch.equal(other.states_at(FINAL_NORM, IDS, MASK), whole.last_hidden_state)


@torch.inference_mode()
def test_later_layers_do_not_run_and_no_hook_stays(teacher: Teacher) -> None:
    ran: list[str] = []

    def note(name: str) -> None:
        ran.append(name)

    named = {f"layer {i}": layer for i, layer in enumerate(teacher.backbone.layers, 1)} | {
        "norm": teacher.backbone.norm
    }
    handles = [
        module.register_forward_hook(lambda _module, _args, _output, name=name: note(name))
        for name, module in named.items()
    ]
    teacher.states_at(StatePoint(2), IDS, MASK)
    assert ran == ["layer 1", "layer 2"]
    ran.clear()
    teacher.hidden_states(IDS, MASK)
    assert ran == list(named)
    for handle in handles:
        handle.remove()
    assert not any(module._forward_hooks for module in teacher.backbone.modules())


def test_an_error_in_the_pass_is_no_end_of_it(teacher: Teacher) -> None:
    with pytest.raises(IndexError):
        teacher.states_at(StatePoint(2), IDS + teacher.vocabulary_size)
    assert not any(module._forward_hooks for module in teacher.backbone.modules())


def test_a_layer_beyond_float16_is_named(tmp_path: Path) -> None:
    teacher = load_teacher(str(save_tiny_teacher(tmp_path / "t")))
    teacher.backbone.layers[1].register_forward_hook(lambda _module, _args, output: output + 7e4)
    window, all_of_it = TokenWindow("book#0", IDS[0].numpy().astype(np.int32)), np.arange(4)
    out = np.zeros((4, teacher.dim), dtype=np.float16)
    harvest_into(teacher, [window], [all_of_it], [all_of_it], out, 1, point=StatePoint(1))
    assert out.any()
    with pytest.raises(NotFinite, match=r"state \(layer:2\) at position 0 of book#0 .* float16: choose another layer"):
        harvest_into(teacher, [window], [all_of_it], [all_of_it], out, 1, point=StatePoint(2))


def test_layers_that_cannot_be_told_or_give_something_else_are_refused(teacher: Teacher) -> None:
    other = of_kind(teacher, "gpt2")
    other.backbone.more = torch.nn.ModuleList(torch.nn.Identity() for _ in range(3))
    with pytest.raises(ConfigurationError, match="GPT2LMHeadModel has no one list of its 3 decoder layers"):
        other.states_at(StatePoint(1), IDS)
    other = of_kind(teacher, "gpt2")

    def wide(_module: torch.nn.Module, _args: object, output: Tensor) -> Tensor:
        return output.repeat(1, 1, 2)

    other.backbone.h[0].register_forward_hook(wide)
    with pytest.raises(
        ConfigurationError, match=r"layer 1 of GPT2LMHeadModel gives \(2, 4, 64\) in place of \(2, 4, 32\)"
    ):
        other.states_at(StatePoint(1), IDS)


def test_training_refuses_senses_of_a_layer(teacher: Teacher, tmp_path: Path) -> None:
    fits = replace(
        IDENTITY,
        teacher_hash=teacher.fingerprint,
        tokenizer_hash=teacher.tokenizer_hash,
        vocabulary_size=teacher.vocabulary_size,
        dim=teacher.dim,
    )
    check_identity(teacher, fits)
    with pytest.raises(Mismatch, match=r"were read at layer:3, .* read at final_norm: train with a dictionary"):
        check_identity(teacher, replace(fits, state_point="layer:3"))
