"""The arrows between the packages, read from their source: `sensedict_server → sensedict ← sensedict_trainer`."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from running_service import SENSEDICT

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "sensedict": ROOT / "client/sensedict",
    "sensedict_server": ROOT / "server/sensedict_server",
    "sensedict_trainer": ROOT / "trainer/sensedict_trainer",
    "sensedict_migrations": ROOT / "migrations/sensedict_migrations",
}
# What a package may not import anywhere, and why the arrows say so.
FORBIDDEN = {
    "sensedict": {"sensedict_server", "sensedict_trainer", "sensedict_migrations", "torch", "sqlalchemy", "fastapi"},
    "sensedict_server": {"httpx"},
    "sensedict_trainer": {"sensedict_server", "sensedict_migrations", "sqlalchemy", "fastapi", "httpx"},
    "sensedict_migrations": {"sensedict", "sensedict_server", "sensedict_trainer", "torch", "fastapi", "httpx"},
}
HEAVY = ("torch", "fastapi", "sqlalchemy", "transformers", "httpx", "pydantic", "numpy")


@dataclass(frozen=True)
class Import:
    """One import statement: the package it names, where it stands, and whether it waits for a function's call."""

    root: str
    file: Path
    line: int
    late: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.root}"


def imports_of(file: Path) -> Iterator[Import]:
    def walk(node: ast.AST, late: bool) -> Iterator[Import]:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            assert node.level == 0, f"{file}:{node.lineno}: write the whole name of a module"
        for name in names:
            yield Import(name.partition(".")[0], file, getattr(node, "lineno", 0), late)
        types_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"  # never run
        inside = late or types_only or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside)

    yield from walk(ast.parse(file.read_text(encoding="utf-8")), False)


def modules(package: str) -> list[Path]:
    return sorted(PACKAGES[package].rglob("*.py"))


def all_imports() -> Iterator[Import]:
    for package in PACKAGES:
        for file in modules(package):
            yield from imports_of(file)


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows(package: str) -> None:
    wrong = [str(found) for file in modules(package) for found in imports_of(file) if found.root in FORBIDDEN[package]]
    assert wrong == []


def test_the_server_knows_the_trainer_only_inside_functions_of_build() -> None:
    build = PACKAGES["sensedict_server"] / "build"
    wrong = [
        str(found)
        for file in modules("sensedict_server")
        for found in imports_of(file)
        if found.root in ("sensedict_trainer", "torch", "transformers")
        and not (found.late and file.is_relative_to(build))
    ]
    assert wrong == []


def test_one_module_speaks_http_as_a_client() -> None:
    assert {found.file for found in all_imports() if found.root == "httpx"} == {PACKAGES["sensedict"] / "service.py"}


def test_what_stands_around_the_routes_is_plain_asgi() -> None:
    """Starlette's own form runs each request in a task of its own, and hides from it that the client has gone."""
    for file in sorted(PACKAGES["sensedict_server"].rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        assert "BaseHTTPMiddleware" not in source, file
        assert '.middleware("http")' not in source, file


def test_no_second_copy_of_a_package_from_the_repositorys_root() -> None:
    roots = {"client", "server", "trainer", "migrations"}
    tests = [found for file in sorted((ROOT / "tests").rglob("*.py")) for found in imports_of(file)]
    assert [str(found) for found in (*all_imports(), *tests) if found.root in roots] == []


def test_selects_live_in_the_query_modules() -> None:
    queries = PACKAGES["sensedict_server"] / "queries"
    selecting = [
        str(file.relative_to(ROOT))
        for file in modules("sensedict_server")
        if not file.is_relative_to(queries)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "sqlalchemy"
        if any(alias.name == "select" for alias in node.names)
    ]
    assert selecting == []


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_public_says_what_it_promises(package: str) -> None:
    silent = [where for file in modules(package) for where in _without_docstring(file)]
    assert silent == []


def _without_docstring(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if tree.body and ast.get_docstring(tree) is None:
        yield f"{file.relative_to(ROOT)}: the module"
    owners: list[ast.Module | ast.ClassDef] = [tree]
    while owners:
        for node in owners.pop().body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
                if ast.get_docstring(node) is None:
                    yield f"{file.relative_to(ROOT)}:{node.lineno}: {node.name}"
                if isinstance(node, ast.ClassDef):
                    owners.append(node)


def test_help_is_quick() -> None:
    script = (
        "import sys\nfrom sensedict.cli import cli\n"
        "try:\n    cli(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print('loaded', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "loaded []"
    assert "Serve dictionaries over HTTP." in done.stdout


def test_an_unknown_command_is_an_error_of_usage() -> None:
    done = subprocess.run([*SENSEDICT, "nosuch"], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert "No such command 'nosuch'" in done.stderr
