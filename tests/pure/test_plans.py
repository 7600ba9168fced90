"""The file of plans that a service may start, read and checked."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from sensedict.errors import ConfigurationError
from sensedict_server.plans import read_plans

GOOD = """
[nightly]
teacher = "/models/teacher"
corpus = ["/text/a.txt", "/text/b.jsonl"]
lexicon = "english@1"
name = "mine"
version = "{date}"
k = 4
store = "s3://bucket/mine"
"""


def file_of(folder: Path, text: str) -> Path:
    path = folder / "plans.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_plan(tmp_path: Path) -> None:
    plans = read_plans(file_of(tmp_path, GOOD))
    assert list(plans) == ["nightly"]
    plan = plans["nightly"]
    assert plan.store == "s3://bucket/mine"
    late_in_the_west = datetime(2026, 1, 2, 23, tzinfo=timezone(-timedelta(hours=5)))
    settings = plan.at(late_in_the_west)
    assert (settings.name, settings.version, settings.k) == ("mine", "20260103", 4)
    assert [str(path) for path in settings.corpus] == ["/text/a.txt", "/text/b.jsonl"]
    assert settings.seed == 0


def test_a_store_is_named_as_builds_are_compared_by(tmp_path: Path) -> None:
    text = GOOD.replace("s3://bucket/mine", f"file://{tmp_path}/x/../store/")
    assert read_plans(file_of(tmp_path, text))["nightly"].store == str(tmp_path.resolve() / "store")


def test_no_file_means_no_plans() -> None:
    assert read_plans(None) == {}


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    text = f"""
        stray = 1
        {GOOD}
        kk = 3
        [wrong]
        teacher = 3
        corpus = ["/text"]
        lexicon = "english@1"
        name = "mine"
        k = "3"
        key = "nxt"
        store = "/store"
        [unfit]
        teacher = "/models/teacher"
        corpus = ["/text"]
        lexicon = "english@1"
        name = "mine"
        version = "{{day}}"
        store = "/store"
        [relative]
        teacher = "./models/teacher"
        corpus = ["text", "datasets:wikitext", "/text"]
        training_text = ["~/text"]
        lexicon = "english@1"
        name = "mine"
        version = "1"
        store = "file://store"
        [memory]
        teacher = "org/model"
        corpus = ["/text"]
        lexicon = "english@1"
        name = "mine"
        version = "1"
        store = "memory://store"
        [idle]
        teacher = "org/model"
        corpus = ["/text"]
        lexicon = "english@1"
        name = "mine"
        version = "1"
        store = "/store"
        mode = "streaming"
        first = 100
        budget = 1000
        [layer]
        teacher = "org/model"
        corpus = ["/text"]
        lexicon = "english@1"
        name = "mine"
        version = "1"
        state_point = "layer:99x"
        store = "/store"
        [lexicon]
        teacher = "model"
        corpus = ["/text"]
        lexicon = "english"
        name = "mine"
        version = "1"
        store = "/store"
        ["a b"]
    """
    with pytest.raises(ConfigurationError) as caught:
        read_plans(file_of(tmp_path, text))
    for said in (
        "plans.toml",
        "stray stands outside of a plan",
        "[nightly] kk is no option of a build",
        "[wrong] teacher is 3: Input should be a valid string",
        "[wrong] k is '3'",
        "[wrong] key is 'nxt': Input should be 'next', 'predicted' or 'input'",
        "[wrong] version is missing",
        "[unfit] version '{day}'",
        "[relative] store is 'file://store', in whatever folder a worker runs: write the whole path",
        "[relative] teacher is './models/teacher'",
        "[relative] corpus is 'text'",
        "[relative] training_text is '~/text'",
        "[memory] store is 'memory://store', which no two processes share: name a folder",
        '[idle] budget does nothing without allocation = "adaptive"',
        "[layer] state point 'layer:99x'",
        "[lexicon] lexicon 'english': write name@version",
        "[a b] plan 'a b'",
        "[a b] store is missing",
    ):
        assert said in caught.value.detail
    assert "first does nothing" not in caught.value.detail
    assert "datasets:wikitext" not in caught.value.detail


@pytest.mark.parametrize("content", [b"[nightly", b"\xff"])
def test_what_is_no_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plans.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"cannot be read: .*plans\.toml"):
        read_plans(path)


def test_a_service_needs_no_torch_for_its_plans() -> None:
    script = (
        "import sys, sensedict_server.app\n"
        "print([name for name in ('torch', 'transformers', 'sensedict_trainer') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
