"""What the tests of training share: a tiny teacher, its text, and a dictionary of random senses that fits it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from file_set_factory import IDENTITY, write_file_set
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.terms.kl import ForwardKL
from sensedict_trainer.teacher import Teacher, load_teacher
from sensedict_trainer.text import Document, TokenWindow, cut_windows
from tiny_teacher import corpus, save_tiny_teacher, save_tokenizer

RECIPE = Recipe(
    terms={"kl": ForwardKL(temperature=1.0)},
    lr=1e-2,
    epochs=2,
    batch_size=4,
    window=24,
    minimum=3,
    nearest=2,
    neighbours=2,
)


_SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
_GROUPED = {**_SHAPE, "num_key_value_heads": 2, "max_position_embeddings": 128, "attention_dropout": 0.3}
ARCHITECTURES = {
    "llama": _GROUPED,
    "mistral": {**_GROUPED, "sliding_window": 8},
    "qwen2": {**_GROUPED, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2},
    "gemma3_text": {**_GROUPED, "head_dim": 8, "sliding_window": 8, "sliding_window_pattern": 2},
    "gpt2": {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 128, "resid_pdrop": 0.3, "embd_pdrop": 0.3},
}


def make_teacher(folder: Path) -> Teacher:
    """The tiny teacher, saved and loaded."""
    return load_teacher(str(save_tiny_teacher(folder)))


def make_architecture(folder: Path, architecture: str) -> Teacher:
    """A tiny random teacher of that architecture, saved and loaded; with dropout in its config."""
    folder.mkdir()
    save_tokenizer(folder)
    size = len(AutoTokenizer.from_pretrained(folder))
    special = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": 0}
    config = AutoConfig.for_model(
        architecture, vocab_size=size, initializer_range=0.2, **special, **ARCHITECTURES[architecture]
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    return load_teacher(str(folder))


def make_windows(teacher: Teacher, sentences: int = 24, length: int = 24) -> list[TokenWindow]:
    """Windows of different lengths."""
    documents = (Document(f"s{i}", text) for i, text in enumerate(corpus(sentences)))
    return cut_windows(documents, teacher.tokenizer, length)


def make_dictionary(folder: Path, teacher: Teacher, seed: int = 0) -> Path:
    """A file set for that teacher: the frequent tokens have senses, some of them synonyms and antonyms."""
    uses = Counter(int(token) for window in make_windows(teacher) for token in window.ids)
    frequent = [token for token, _ in uses.most_common(40)]
    random = np.random.default_rng(seed)
    tokens = {}
    for place, token in enumerate(frequent):
        others = [t for t in frequent if t != token]
        synonyms = random.choice(others, place % 4, replace=False).tolist()
        antonyms = random.choice(others, (place + 1) % 3, replace=False).tolist()
        tokens[token] = (1 + place % 5, synonyms, antonyms)
    identity = replace(
        IDENTITY,
        teacher_hash=teacher.fingerprint,
        tokenizer_hash=teacher.tokenizer_hash,
        vocabulary_size=teacher.vocabulary_size,
        dim=teacher.dim,
    )
    folder.mkdir(parents=True, exist_ok=True)
    return write_file_set(folder, seed, tokens, identity)
