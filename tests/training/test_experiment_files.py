"""Files of experiments: those of the package are what they say, broken ones name their fault."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from sensedict.errors import InvalidInput
from sensedict_trainer.experiments import grid
from sensedict_trainer.experiments.cells import cells_of, read_tuned
from sensedict_trainer.experiments.command_options import known_variants
from sensedict_trainer.experiments.controls import CONTROLS
from sensedict_trainer.experiments.measures import check_measures
from sensedict_trainer.experiments.outcome import Outcome
from sensedict_trainer.experiments.reading import experiment_names, load_experiment


def test_a_dictionary_that_no_condition_has_is_refused() -> None:
    given = {"k=5": Path("five"), "k=05": Path("some")}
    with pytest.raises(click.BadParameter, match="'k=05' is no dictionary of table4, is 'k=5' meant"):
        known_variants(given, load_experiment("table4"))
    assert known_variants(given, load_experiment("table8")) == given, "it counts whatever it is given"


@pytest.mark.parametrize("name", experiment_names())
def test_experiments_of_the_package_can_be_run(name: str) -> None:
    found = load_experiment(name)
    assert found.title
    check_measures(found)
    assert set(found.build) >= set(found.variants) - {"base", *CONTROLS}
    pairs = [(first.name, second.name) for first, second in Outcome(found, {}).pairs()]
    assert len({frozenset(pair) for pair in pairs}) == len(pairs), "each pair once"
    told = {name for _, second in Outcome(found, {}).pairs() for name in (second.base, second.name)}
    assert set(found.against) <= told, "every name in `against` has something that is compared with it"
    if found.kind == "training":
        cells = cells_of(found, "demo", range(found.seeds))
        assert len({(cell.condition.name, cell.seed) for cell in cells}) == len(cells) >= len(found.conditions)


def test_the_reviews_cells_are_what_their_names_say() -> None:
    cells = {cell.condition.name: cell for cell in cells_of(load_experiment("review"), "demo", [0])}
    assert load_experiment("review").seeds >= 8
    searched = load_experiment("grid-review")
    students = {cell.condition.base: cell.condition.settings for cell in cells.values() if cell.seed is not None}
    assert {condition.base: condition.settings for condition in searched.conditions} == students
    variants = {cell.condition.base: cell.condition.variant for cell in cells.values() if cell.seed is not None}
    assert {condition.base: condition.variant for condition in searched.conditions} == variants
    stages = [cells_of(stage, "demo", range(searched.seeds)) for stage in grid.stages(searched)]
    assert sum(map(len, stages)) == 394, "as docs/experiments.md says"
    assert cells["positives"].recipe.to_json()["sense"]["negative"] == 0
    assert cells["mse-all"].recipe.uses_dictionary is False
    assert cells["mse-sampled"].recipe.uses_dictionary is True
    assert cells["shuffled"].condition.variant == "shuffled"
    assert cells["mse-shuffled"].recipe.to_json() == cells["mse-weighted"].recipe.to_json()
    assert cells["mse-shuffled"].condition.variant == "shuffled"
    pairs = [(a.name, b.name) for a, b in Outcome(load_experiment("review"), {}).pairs()]
    assert {("mse-weighted", "mse-all"), ("mse-shuffled", "mse-all"), ("dskd", "kd")} <= set(pairs)
    dskd = cells["dskd"].recipe.to_json()
    assert cells["one"].recipe.to_json() == dskd
    crossed = cells_of(load_experiment("weights"), "demo", [0])
    assert len(crossed) == 1 + 5 * 3
    table9 = {c.condition.name: c.recipe.to_json() for c in cells_of(load_experiment("table9"), "demo", [0])}
    assert table9["kd α=2.0"]["kl"]["weight"] == 2
    assert table9["dskd"]["kl"]["weight"] == 1
    stored = {c.condition.name: c.recipe.to_json() for c in cells_of(load_experiment("states"), "demo", [0])}
    assert stored["exact-kl-mse"] == stored["senses-kl"], "the same terms of exact states as of senses"
    pairs = Outcome(load_experiment("table9"), {}).pairs()
    assert [(a.name, b.name) for a, b in pairs] == [
        *(("dskd", f"kd α={alpha}") for alpha in (0.0, 0.5, 1.0, 2.0)),
        *((f"kd α={alpha}", "kd α=1.0") for alpha in (0.0, 0.5, 2.0)),
    ]
    pairs = Outcome(load_experiment("table5"), {}).pairs()
    assert [(a.name, b.name) for a, b in pairs] == [
        *((f"dskd p={p}", "kd") for p in (1, 5, 10, 15, 20)),
        *((f"dskd p={p}", "dskd p=5") for p in (1, 10, 15, 20)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = 3", "title = 3, which is no str"),
        ("title = 'x'\nmesures = ['kl']", "'mesures', is 'measures' meant"),
        ("title = 'x'", "has no conditions"),
        ("title = 'x'\nseeds = 0\n[[conditions]]\nname = 'kd'", "one seed or more"),
        ("title = 'x'\nagainst = ['kdd']\n[[conditions]]\nname = 'kd'", "compares with 'kdd'"),
        ("title = 'x'\n[[conditions]]\nname = 'kd'\n[[axes]]\nname = 'p'", "has no points"),
        ("title = 'x'\n[[conditions]]\nname = 'kd'\nmodel = 'taecher'", "it is one of student, teacher, untrained"),
        ("title = 'x'\n[[conditions]]\nname = 'kd'\nset = { window = 9 }", "the same for all conditions"),
        ("title = 'x'\n[[conditions]]\nname = 'kd'\n[[conditions]]\nname = 'kd'", "'kd' twice"),
        (
            "title = 'x'\n[[conditions]]\nname = 'a'\n[paper]\ncolumns = ['m']\nrows = { a = [1, 2] }",
            "there are 1 columns",
        ),
    ],
)
def test_a_broken_experiment_names_its_fault(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InvalidInput, match=message):
        load_experiment(str(tmp_path / "mine.toml"))
    with pytest.raises(InvalidInput, match="is 'table4' meant"):
        load_experiment("tabel4")
    (tmp_path / "mine.toml").write_text("title = 'x'\n[[conditions]]\nname = 'kd'\nset = { lrr = 1.0 }")
    with pytest.raises(InvalidInput, match=r"mine, kd: .*'lrr', is 'lr' meant"):
        cells_of(load_experiment(str(tmp_path / "mine.toml")), "demo", [0])


def test_what_is_no_conditions_to_choose_is_not_tuned(tmp_path: Path) -> None:
    for setting in ("window = 9", "seed = 1", "objective = 'ce'"):
        (tmp_path / "tuned.toml").write_text(f"[kd]\nlr = 0.1\n{setting}")
        with pytest.raises(InvalidInput, match=f"{setting.partition(' ')[0]} for kd: that is not tuned"):
            read_tuned(tmp_path / "tuned.toml")
