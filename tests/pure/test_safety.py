"""What the source may not do, read from it: SQL put together from text, pickles, code that comes with weights."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    name: ROOT / folder / name
    for folder, name in (
        ("client", "sensedict"),
        ("server", "sensedict_server"),
        ("trainer", "sensedict_trainer"),
        ("migrations", "sensedict_migrations"),
    )
}
# Functions whose first argument is SQL, and text that is made to be SQL.
RUNS = {"text", "execute", "executemany", "exec_driver_sql", "copy", "SQL", "scalar", "scalars", "stream"}
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def nodes(package: str) -> Iterator[tuple[ast.AST, str]]:
    """Everything in a package's source, and where it stands."""
    files = sorted(PACKAGES[package].rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            yield node, f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def calls(package: str) -> Iterator[tuple[str, ast.Call, str]]:
    """Every call: the name that is called, the call, and where it stands."""
    for node, where in nodes(package):
        if isinstance(node, ast.Call):
            yield node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""), node, where


def is_put_together(node: ast.AST) -> bool:
    """Whether an expression makes text of parts that are not all literals."""
    for part in ast.walk(node):
        if isinstance(part, ast.JoinedStr) and any(isinstance(piece, ast.FormattedValue) for piece in part.values):
            return True
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add | ast.Mod):
            sides = (part.left, part.right)
            if any(isinstance(side, ast.Constant) and isinstance(side.value, str | bytes) for side in sides):
                return True
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            owner = part.func.value
            literal = isinstance(owner, ast.Constant) and isinstance(owner.value, str)
            if literal and part.func.attr in ("format", "join", "replace"):
                return True
    return False


@pytest.mark.parametrize(
    ("expression", "bad"),
    [
        ("f'SELECT {x}'", True),
        ("'SELECT ' + x", True),
        ("x % 'a'", True),
        ("'SELECT {}'.format(x)", True),
        ("', '.join(x)", True),
        ("f'SELECT 1'", False),
        ("'SELECT 1'", False),
        ("sql.SQL('SELECT {}').format(sql.Identifier(x))", False),
        ("select(a.c.b).where(a.c.d == x)", False),
    ],
)
def test_what_counts_as_put_together(expression: str, bad: bool) -> None:
    assert is_put_together(ast.parse(expression, mode="eval").body) is bad


@pytest.mark.parametrize("package", ["sensedict", "sensedict_server", "sensedict_trainer"])
def test_no_sql_is_made_of_text(package: str) -> None:
    """Values go as parameters, names through `psycopg.sql` or SQLAlchemy; migrations, which no input reaches, may."""
    found = [
        where for name, call, where in calls(package) if name in RUNS and call.args and is_put_together(call.args[0])
    ]
    assert found == []


def test_no_pickles() -> None:
    wrong = []
    for package in PACKAGES:
        for node, where in nodes(package):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong += [where for name in names if name.partition(".")[0] in PICKLES]
        for name, call, where in calls(package):
            called = ast.unparse(call.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if called in ("torch.load", "torch.save") or name in ("read_pickle", "to_pickle"):
                wrong.append(where)
            if given.get("allow_pickle", "False") != "False" or given.get("weights_only", "True") != "True":
                wrong.append(where)
    assert wrong == []


def test_weights_bring_no_code() -> None:
    """`transformers` asks at a terminal whether to run the code of a model, unless it is told not to."""
    loads = [
        (ast.unparse(call.func), {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}, where)
        for package in PACKAGES
        for name, call, where in calls(package)
        if name in ("from_pretrained", "from_config") and ast.unparse(call.func).startswith("Auto")
    ]
    assert len(loads) > 5
    assert [where for _, given, where in loads if given.get("trust_remote_code") != "False"] == []
    weights = [
        (given, where) for called, given, where in loads if called.startswith("AutoModel") and "_config" not in called
    ]
    assert [
        where for given, where in weights if given.get("use_safetensors") != "True" and "gguf_file" not in given
    ] == []


def test_data_sets_bring_no_code() -> None:
    for package in PACKAGES:
        for name, call, where in calls(package):
            if name.startswith("load_dataset"):
                assert "trust_remote_code" not in {keyword.arg for keyword in call.keywords}, where
