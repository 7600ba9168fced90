"""Chats: files and tables of them, the template's text, which tokens are answers, and what is said of broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sensedict.errors import InvalidInput
from sensedict_trainer.text import cut_windows, read_documents, text_hash
from sensedict_trainer.text_sources import check_sources
from tiny_teacher import save_tokenizer

TEMPLATE = (
    "{% for m in messages %}{{ '<' + m['role'] + '>\n' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>\n' }}{% endif %}"
)
REWRITES = "{% for m in messages %}{{ m['role'] if loop.last else '-' }} {{ m['content'] }}{% endfor %}"
TALK = [
    {"role": "user", "content": "the hot water of the river"},
    {"role": "assistant", "content": "is in the field"},
    {"role": "user", "content": "when was it cold"},
    {"role": "assistant", "content": "all night"},
]


@pytest.fixture
def tokenizer(tmp_path: Path) -> PreTrainedTokenizerBase:
    save_tokenizer(tmp_path)
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tmp_path)
    loaded.chat_template = TEMPLATE
    return loaded


def test_answers_are_found_in_the_templates_text(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    path = tmp_path / "talks.jsonl"
    rows = [
        {"messages": TALK, "id": "a"},
        {"prompt": TALK[0]["content"], "answer": "cold snow"},
        {"text": "plain " * 9},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    check_sources([path])
    windows = cut_windows(read_documents([path]), tokenizer, 256)
    assert [window.id for window in windows] == ["a#0", "talks.jsonl:2#0", "talks.jsonl:3#0"]
    assert windows[2].answers is None
    said = [tokenizer.decode(window.ids[window.answers]) for window in windows[:2] if window.answers is not None]
    assert said == ["is in the field<|end|>all night<|end|>", "cold snow<|end|>"]
    assert tokenizer.decode(windows[1].ids).startswith("<user>\nthe hot water")
    # cut into short windows the answers go along
    short = cut_windows(read_documents([path]), tokenizer, 11)
    for whole in windows[:2]:
        name = whole.id.removesuffix("#0")
        parts = [window for window in short if window.id.startswith(f"{name}#")]
        length = sum(len(part.ids) for part in parts)
        assert len(parts) > 1
        assert np.concatenate([part.ids for part in parts]).tolist() == whole.ids[:length].tolist()
        flags = [part.answers for part in parts if part.answers is not None]
        assert (
            np.concatenate(flags).tolist()
            == (whole.answers if whole.answers is not None else np.zeros(0))[:length].tolist()
        )
    other = [window if window.answers is None else type(window)(window.id, window.ids) for window in windows]
    assert text_hash(other) != text_hash(windows)


def test_a_data_set_of_chats(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    datasets.Dataset.from_list([{"messages": TALK, "source": "x"}] * 2).save_to_disk(str(tmp_path / "set"))
    datasets.Dataset.from_list([{"prompt": "when was it", "answer": "all night", "n": "x"}]).to_parquet(
        str(tmp_path / "p.parquet")
    )
    sources = [f"datasets:{tmp_path / 'set'}", tmp_path / "p.parquet"]
    check_sources(sources)
    documents = list(read_documents(sources))
    assert [len(document.messages) for document in documents] == [4, 4, 2]
    assert all(window.answers is not None and window.answers.any() for window in cut_windows(documents, tokenizer, 128))


@pytest.mark.parametrize(
    ("row", "template", "message"),
    [
        ({"conversations": TALK}, TEMPLATE, r"line 1: .*`messages`, or `prompt` and `answer`; it has conversations"),
        ({"messages": "hello"}, TEMPLATE, r"line 1: `messages` must be a list of"),
        ({"messages": [{"from": "user", "value": "x"}]}, TEMPLATE, r"line 1: `messages` must be a list of"),
        ({"messages": []}, TEMPLATE, r"line 1: `messages` hold no text"),
        ({"prompt": 3, "answer": "x"}, TEMPLATE, r"line 1: `prompt` and `answer` must be strings"),
        ({"messages": TALK}, None, r"talks\.jsonl:1 is a chat, and the tokenizer has no chat template"),
        ({"messages": TALK}, REWRITES, r"message 2 in another way when others follow"),
        (
            {"messages": TALK},
            "{{ raise_exception('no system') }}",
            r"talks\.jsonl:1: the chat template refuses.*no system",
        ),
    ],
)
def test_what_is_no_chat_says_so(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, row: object, template: str | None, message: str
) -> None:
    path = tmp_path / "talks.jsonl"
    path.write_text(json.dumps(row) + "\n")
    tokenizer.chat_template = template
    with pytest.raises(InvalidInput, match=message):
        cut_windows(read_documents([path]), tokenizer, 64)
