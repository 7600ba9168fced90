"""examples/analytics.ipynb runs whole: over an export, over a lexicon alone, over a database."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner

from running_service import environment_of
from sensedict.cli import cli
from sensedict_server.settings import Settings

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples/analytics.ipynb"
PLOTS = ["affixes", "degrees", "overlap", "polysemy", "relations"]


def execute(plots: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """Run the notebook with these variables; gives what it printed, and leaves its plots in `plots`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jupyter's own, at import and at start
        from nbclient import NotebookClient

        plots.mkdir()
        for name in ("SENSEDICT_EXPORT", "SENSEDICT_DATABASE_URL", "SENSEDICT_DICTIONARY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {**environment, "SENSEDICT_PLOTS": str(plots), "MPLBACKEND": "agg"}.items():
            monkeypatch.setenv(name, value)
        notebook: Any = nbformat.read(NOTEBOOK, as_version=4)
        NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def test_it_is_stored_without_outputs() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert len(cells) > 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


def test_over_an_export(analytics: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for ref, folder in (("mine@1", "mine"), ("base@1", "base")):
        done = CliRunner().invoke(cli, ["export", ref, str(tmp_path / folder)], env=environment_of(analytics))
        assert done.exit_code == 0, done.exception
    printed = execute(tmp_path / "plots", monkeypatch, SENSEDICT_EXPORT=str(tmp_path / "mine"))
    assert "dictionary mine@1, lexicon english@1" in printed
    assert "thesaurus 2: CC-BY-4.0" in printed
    assert sorted(path.stem for path in (tmp_path / "plots").iterdir()) == PLOTS
    printed = execute(tmp_path / "fewer", monkeypatch, SENSEDICT_EXPORT=str(tmp_path / "base"))
    assert "a lexicon alone was exported" in printed
    assert "polysemy" not in {path.stem for path in (tmp_path / "fewer").iterdir()}


def test_over_a_database(analytics: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = environment_of(analytics)["SENSEDICT_DATABASE_URL"]
    printed = execute(tmp_path / "plots", monkeypatch, SENSEDICT_DATABASE_URL=url, SENSEDICT_DICTIONARY="mine@1")
    assert "dictionary mine@1, lexicon english@1" in printed
    assert sorted(path.stem for path in (tmp_path / "plots").iterdir()) == PLOTS
