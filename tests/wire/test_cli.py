"""What a user sees of a path that is wrong: one line that names it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sensedict.errors import ConfigurationError
from sensedict.paths import package_path

RAISES = """
import click
from sensedict import cli

@click.command()
def fails():
    {statement}

cli.cli.get_command = lambda context, name: fails
import sys
sys.argv = ["sensedict", "fails"]
cli.main()
"""


def fail(statement: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RAISES.format(statement=statement)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        ("open('/proc/x', 'w')", "sensedict: /proc/x: No such file or directory"),
        ("import os; os.mkdir('/proc/x')", "sensedict: /proc/x: No such file or directory"),
        ("raise OSError(28, 'No space left on device')", "sensedict: [Errno 28] No space left on device"),
        ("raise OSError('first line\\nsecond line')", "sensedict: first line"),
        ("raise TimeoutError", "sensedict: TimeoutError"),
    ],
)
def test_an_error_of_the_system_is_one_line(statement: str, line: str) -> None:
    done = fail(statement)
    assert (done.returncode, done.stderr) == (1, line + "\n")


def test_clicks_own_errors_stay() -> None:
    done = fail("raise click.UsageError('not so')")
    assert done.returncode == 2
    assert "Error: not so" in done.stderr
    assert fail("raise click.FileError('x.txt', 'gone')").stderr == "Error: Could not open file 'x.txt': gone\n"


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    assert "Traceback" in fail("raise ValueError('a fault')").stderr


@pytest.mark.parametrize("name", ["nosuch", "nosuch.part", "json.nosuch.part", "sys.part", "", ".part"])
def test_a_package_that_is_not_installed(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"the package '{name}' is not installed"):
        package_path(f"package:{name}/words.txt")


def test_a_file_inside_a_package() -> None:
    assert package_path("package:sensedict/errors.py").name == "errors.py"
    with pytest.raises(ConfigurationError, match=r"there is no file .*nosuch.txt"):
        package_path("package:sensedict/nosuch.txt")
