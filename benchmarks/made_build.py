"""A build to be measured: a random teacher of any size, text by Zipf's law, an embedded database with a lexicon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from database import databases
from sqlalchemy import Engine
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sensedict_server.build.lexicon import load_lexicon
from sensedict_server.build.lexicon_plan import Recipe
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.sources import parse_source

_WORDS, _UNKNOWN = 4_000, "<unknown>"
_DOCUMENT = 500  # words
SENSEDICT = (sys.executable, "-c", "from sensedict.cli import main; main()")


@dataclass(frozen=True)
class Place:
    """Where builds are measured.

    Attributes:
        engine: of an embedded database with the lexicon `opposites@1`; folder: for teachers, text and shards.
    """

    engine: Engine
    folder: Path

    def environment(self) -> Mapping[str, str]:
        """In which the `sensedict` command finds the database."""
        url = self.engine.url.render_as_string(hide_password=False)
        return {**os.environ, "SENSEDICT_DATABASE_URL": url, "SENSEDICT_HOME": str(self.folder / "home")}

    def settings(self, name: str, teacher: Path, text: Path, **changed: object) -> BuildSettings:
        """Of a build with one thread, named so."""
        made = BuildSettings(str(teacher), (str(text),), "opposites@1", name, "1", threads=1)
        return BuildSettings.from_json(made.to_json() | changed)


@contextmanager
def place() -> Iterator[Place]:
    """Gives a place that is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="sensedict-bench-") as folder, databases() as fresh:
        engine = fresh()
        load_lexicon(engine, "opposites", "1", Recipe([parse_source("opposites")], []))
        yield Place(engine, Path(folder))


def made_teacher(folder: Path, dim: int, layers: int) -> Path:
    """Write a random Llama whose tokens are words, as `made_text` writes them; gives the folder."""
    vocabulary = {_UNKNOWN: 0} | {f"w{i}": i + 1 for i in range(_WORDS)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=_UNKNOWN))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.WhitespaceSplit(), decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token=_UNKNOWN).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=_WORDS + 1,
        hidden_size=dim,
        intermediate_size=3 * dim,
        num_hidden_layers=layers,
        num_attention_heads=dim // 32,
        tie_word_embeddings=True,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.float32).eval().save_pretrained(folder)
    return folder


def made_text(path: Path, tokens: int) -> Path:
    """Write so many words, drawn by Zipf's law; gives the file."""
    share = 1 / np.arange(1, _WORDS + 1)
    drawn = np.random.default_rng(0).choice(_WORDS, tokens, p=share / share.sum()).tolist()
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, tokens, _DOCUMENT):
            file.write('{"text": "' + " ".join(f"w{i}" for i in drawn[start : start + _DOCUMENT]) + '"}\n')
    return path


@contextmanager
def workers(at: Place, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Gives so many processes of `sensedict worker`, ended at the end."""
    processes = [
        subprocess.Popen([*SENSEDICT, "worker"], env=at.environment(), stdout=subprocess.DEVNULL) for _ in range(count)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(timeout=60)
