"""Alerts, dashboard and handbook speak of numbers that there are, and the handbook of all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from sensedict_server import logs, metrics

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/monitoring"
HANDBOOK = ROOT / "docs/operations.md"
_OF_DATABASE = {"database_up", "jobs", "workers", "dictionaries", "build_info"}


def known() -> set[str]:
    """The name of every sample that the service gives, without what a histogram adds to it."""
    families = metrics._registry.collect()
    counted = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    return counted | {f"sensedict_{name}" for name in _OF_DATABASE}


def named_in(text: str) -> set[str]:
    found = re.findall(r"\bsensedict_[a-z_]+[a-z]", text)
    return {re.sub(r"(?<=_seconds)_(bucket|sum|count)$", "", name) for name in found}


def test_alerts_and_dashboard_ask_for_what_there_is() -> None:
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    asked = [rule["expr"] for rule in rules] + [target["expr"] for panel in panels for target in panel["targets"]]
    assert all(named_in(expression) for expression in asked if "up{" not in expression)
    assert named_in(" ".join(asked)) <= known()
    assert yaml.safe_load((FOLDER / "prometheus.yml").read_text())["rule_files"] == ["alerts.yml"]


def test_the_handbook_tells_of_every_number_alert_and_field() -> None:
    text = HANDBOOK.read_text()
    assert named_in(text) == known()
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
    for rule in rules:
        assert f"`{rule['alert']}`" in text
    for field in logs.FIELDS:
        assert f"`{field}`" in text
