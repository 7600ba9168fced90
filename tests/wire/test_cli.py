"""What a user sees of a path that is wrong: one line that names it."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from sensedict.cli import COMMANDS, cli
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


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("serve", "`sensedict serve` needs the package 'uvicorn': pip install 'sensedict[server]'"),
        ("teacher show .", "`sensedict teacher` needs the package 'torch': pip install 'sensedict[trainer]'"),
    ],
)
def test_a_package_that_was_left_out_is_named_with_its_extra(words: str, line: str) -> None:
    """The bare install is imitated: the package cannot be found, at the import of the command or when it runs."""
    hidden = "import sys\nsys.modules.update(uvicorn=None, torch=None)\n"
    program = f"{hidden}sys.argv = {['sensedict', *words.split()]}\nfrom sensedict import cli\ncli.main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, f"sensedict: {line}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_group_is_its_own(name: str) -> None:
    """The list of commands is written without importing them."""
    with click.Context(cli) as context:
        command = cli.get_command(context, name)
    assert command is not None
    if isinstance(command, click.Group):
        assert command.help == COMMANDS[name].help


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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bild", "No such command 'bild'. Did you mean 'build'?"),
        ("xyz", "No such command 'xyz'."),
    ],
)
def test_an_unknown_command_suggests_the_nearest(name: str, said: str) -> None:
    done = CliRunner().invoke(cli, [name])
    assert done.exit_code == 2
    assert done.output.endswith(f"Error: {said}\n")
