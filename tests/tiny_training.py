"""What the tests of training share: a tiny teacher, its text, and a dictionary of random senses that fits it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from file_set_factory import IDENTITY, write_file_set
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.terms.kl import ForwardKL
from sensedict_trainer.teacher import Teacher, load_teacher
from sensedict_trainer.text import Document, TokenWindow, cut_windows
from tiny_teacher import corpus, save_tiny_teacher

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


def make_teacher(folder: Path) -> Teacher:
    """The tiny teacher, saved and loaded."""
    return load_teacher(str(save_tiny_teacher(folder)))


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
