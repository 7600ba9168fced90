"""A plan of the configuration, started over HTTP and made by a worker: from a tiny teacher to a served dictionary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
from click.testing import CliRunner
from sqlalchemy import Engine

from running_service import environment_of, running_service
from sensedict import wire
from sensedict.cli import cli
from sensedict_server.settings import Settings
from tiny_dictionary import insert_lexicon
from tiny_teacher import corpus, save_tiny_teacher


def test_from_a_plan_to_a_dictionary(database: Engine, settings: Settings, tmp_path: Path) -> None:
    insert_lexicon(database)
    save_tiny_teacher(tmp_path / "teacher")
    (tmp_path / "corpus.txt").write_text("\n".join(corpus(60)), "utf-8")
    (tmp_path / "plans.toml").write_text(
        f"""
        [small]
        teacher = "{tmp_path}/teacher"
        corpus = ["{tmp_path}/corpus.txt"]
        lexicon = "opposites@1"
        name = "small"
        version = "1"
        k = 2
        window = 32
        threads = 1
        store = "{tmp_path}/store"
        """,
        "utf-8",
    )
    settings = replace(settings, plans=tmp_path / "plans.toml")
    with running_service(settings, tmp_path / "log") as service, httpx.Client(base_url=service.url) as http:
        place = http.post("/v1/jobs", json={"plan": "small"}).raise_for_status().headers["location"]
        worked = CliRunner().invoke(cli, ["worker", "--once"], env=environment_of(settings), catch_exceptions=False)
        job = wire.JobDetail.model_validate_json(http.get(place).text)
        assert (job.state, job.percent, job.workers) == ("published", 100.0, 0), (job.error, worked.output)
        assert [(stage.name, stage.shards) for stage in job.stages] == [
            (stage.name, stage.shards_total) for stage in job.stages
        ]
        assert [stage.name for stage in job.stages] == ["plan", "harvest/0", "cluster/0", "publish"]
        assert all(stage.done == stage.total for stage in job.stages)
        assert job.log
        assert str(tmp_path) not in http.get(place).text
        (found,) = http.get("/v1/dictionaries").json()
        assert (found["name"], found["k"]) == ("small", 2)
        assert http.get("/v1/dictionaries/small@1/senses", params={"word": "hot"}).json()["senses"]
        again = http.post("/v1/jobs", json={"plan": "small"})
        assert again.status_code == 409
    store = tmp_path / "store"
    assert any(path.is_file() for path in store.rglob("*"))
    removed = CliRunner().invoke(
        cli, ["jobs", "remove", str(job.id)], env=environment_of(settings), catch_exceptions=False
    )
    assert removed.output.startswith(f"removed job {job.id}, small@1: ")
    assert [path.name for path in store.rglob("*") if path.is_file()] == ["words-without-senses.tsv"]  # a report
