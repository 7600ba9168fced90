"""`make setup` on a machine without ensurepip, and `make clean` beside a running database; with make itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = ("MAKE", "MFLAGS", "SENSEDICT", "PYTHON", "VENV", "TORCH_ARGS")  # of a make that runs these tests
# Makes what `python3 -m venv` leaves: $ENDS, and a python with pip or, like Debian's without python3-venv, none.
FAKE_PYTHON = """\
#!/bin/sh
[ "$2" = venv ] || exec {python} "$@"
echo "$@" >>arguments
for folder; do :; done
mkdir -p "$folder/bin" && touch "$folder/pyvenv.cfg"
printf '#!/bin/sh\\n[ "$3" != --version ] || exit %s\\n' "$ENDS" >"$folder/bin/python"
chmod +x "$folder/bin/python"
exit "$ENDS"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile and what it looks at."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
    return subprocess.run(
        ["make", *arguments], cwd=checkout, env={**plain, **environment}, capture_output=True, text=True, timeout=60
    )


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o755)


def test_a_half_environment_is_made_anew(checkout: Path) -> None:
    script(checkout / "python", FAKE_PYTHON.format(python=sys.executable))
    failed = make(checkout, "setup", "PYTHON=./python", ENDS="1")
    assert failed.returncode != 0
    assert "python3-venv is needed" in failed.stdout
    done = make(checkout, "setup", "PYTHON=./python", ENDS="0")
    assert done.returncode == 0, done.stderr
    assert (checkout / "arguments").read_text().splitlines() == ["-m venv .venv", "-m venv --clear .venv"]
    (checkout / "pyproject.toml").touch()
    assert make(checkout, "setup", "PYTHON=./python", ENDS="1").returncode == 0  # with pip, it is left as it is


def test_a_folder_that_is_no_environment_is_not_cleared(checkout: Path) -> None:
    script(checkout / "python", FAKE_PYTHON.format(python=sys.executable))
    (checkout / "mine").mkdir()
    assert make(checkout, "setup", "PYTHON=./python", "VENV=mine", ENDS="0").returncode == 0
    assert (checkout / "arguments").read_text() == "-m venv mine\n"


def test_clean_stops_the_demos_database_first(checkout: Path) -> None:
    home = checkout / "demo-out" / "home"
    home.mkdir(parents=True)
    script(checkout / ".venv/bin/sensedict", '#!/bin/sh\necho "$SENSEDICT_HOME|$SENSEDICT_DATABASE_URL|$*" >>calls\n')
    done = make(checkout, "clean", "DEMO_HOME=demo-out/home", SENSEDICT_DATABASE_URL="postgresql://another")
    assert done.returncode == 0, done.stderr
    assert (checkout / "calls").read_text() == "demo-out/home||database stop\n"
    assert not (checkout / "demo-out").exists()
    assert not (checkout / ".venv").exists()


def test_clean_removes_nothing_under_a_database_that_does_not_stop(checkout: Path) -> None:
    (checkout / "demo-out" / "home").mkdir(parents=True)
    script(checkout / ".venv/bin/sensedict", "#!/bin/sh\nexit 1\n")
    assert make(checkout, "clean", "DEMO_HOME=demo-out/home").returncode != 0
    assert (checkout / "demo-out" / "home").exists()


def test_every_target_has_its_line_of_help(checkout: Path) -> None:
    phony = next(line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if line.startswith(".PHONY"))
    listed = {line.split()[0] for line in make(checkout, "help").stdout.splitlines()}
    assert listed == set(phony.split()[1:])
