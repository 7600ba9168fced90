"""The OpenAPI document: valid, whole, and enough for a generated client to call a running service."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from running_service import Service

# A generator knows JSON and bytes; which of the contract's media types are bytes, it must be told (docs/client.md).
# Bodies of two kinds it cannot make; it leaves out safetensors, and says so.
CONFIG = """\
content_type_overrides:
  application/vnd.apache.parquet: application/octet-stream
  application/x-tar: application/octet-stream
post_hooks: []
"""


@pytest.fixture(scope="module")
def document(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{service.url}/openapi.json").raise_for_status().json()
    return found


def test_the_document_is_valid_and_every_operation_whole(document: dict[str, Any]) -> None:
    validate(document)
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) > 25
    names = [operation["operationId"] for _, _, operation in operations]
    assert sorted(names) == sorted(set(names))
    told = {tag["name"]: tag["description"] for tag in document["tags"]}
    for path, method, operation in operations:
        where = f"{method} {path}"
        assert operation["operationId"].isidentifier(), where
        assert operation["summary"], where
        assert operation["description"].startswith(operation["summary"]), where
        assert set(operation["tags"]) <= set(told), where
        assert (operation.get("security") == [{"key": []}]) == path.startswith("/v1"), where
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), f"{where}: {parameter['name']}"
            if parameter["required"]:
                assert "example" in parameter, f"{where}: {parameter['name']}"
        if wire_json := operation.get("requestBody", {}).get("content", {}).get("application/json"):
            assert "example" in wire_json, where
        problems = {status for status in operation["responses"] if status >= "400"}
        assert {"429", "503"} <= problems, where
        for status in problems:
            (media,) = operation["responses"][status]["content"]
            assert media == "application/problem+json", f"{where}: {status}"
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_a_generated_client_asks_a_service(
    service: Service, document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    (tmp_path / "config.yml").write_text(CONFIG)
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    paths = ["--path", "openapi.json", "--config", "config.yml", "--output-path", "made_client"]
    done = subprocess.run([*command, *paths], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    left_out = "Unsupported content type application/vnd.safetensors"
    assert done.stderr.count("WARNING") == done.stderr.count(left_out) == 3, done.stderr
    monkeypatch.syspath_prepend(tmp_path)

    def operation(name: str) -> Any:
        return importlib.import_module(f"made_client.api.{name}")

    made = importlib.import_module("made_client")
    models = importlib.import_module("made_client.models")
    with made.AuthenticatedClient(base_url=service.url, token="any") as client:
        (info,) = operation("dictionaries.dictionaries").sync(client=client)
        assert (info.name, info.version, info.dim) == ("tiny", "1", 8)
        word = operation("senses.word_senses").sync("tiny@1", client=client, word="hot", neighbours=2)
        assert [len(sense.neighbours) for sense in word.senses] == [2, 2, 2]
        page = operation("relations.relations").sync("tiny@1", client=client, word="hot", type_=["antonym"], limit=1)
        assert [relation.other for relation in page.relations] == ["cold"]
        asked = models.CandidateSetsRequest(tokens=[1, 40])
        sets = operation("bulk.candidate_sets").sync("tiny@1", client=client, body=asked)
        assert (sets.sets[0].own.count, sets.errors[0].code) == (3, "token-not-found")
        assert operation("service.limits").sync(client=client).max_items > 0

        unknown = operation("senses.word_senses").sync_detailed("tiny@1", client=client, word="nowhere")
        assert (unknown.status_code, unknown.parsed.type_) == (404, "urn:sensedict:problem:word-not-found")
        wrong = operation("relations.relations").sync_detailed("tiny@1", client=client, word="hot", limit=0)
        assert (wrong.status_code, wrong.parsed.errors[0].pointer) == (422, "/limit")
