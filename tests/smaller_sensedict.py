"""`sensedict` for the commands of the pages: the same command with less to do, and one that ends.

`python tests/smaller_sensedict.py ARGUMENTS…` runs `sensedict ARGUMENTS…`, but

- reads fewer tokens, asks fewer questions and takes one seed, whatever the page says;
- searches no grid, but lists its cells, and leaves the recipe's own settings as those that it chose;
- deletes what it is told to without asking;
- asks the service of `DOC_URL` where the page leaves out the usual address;
- lets a worker end when no build runs, and a service, on `DOC_PORT`, as soon as it answers;
- runs in a fork of a process that has imported torch (`warm_sensedict`); `DOC_WARM` is where it listens.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from warm_sensedict import run

SENSEDICT = [sys.executable, "-c", "from sensedict.cli import main; main()"]
_RUN = ["--train-tokens", "400", "--eval-tokens", "200", "--seeds", "0"]
MORE = {  # of an option that is given twice the last one counts
    "build": ["--tokens", "3000"],
    "train": ["--tokens", "400"],
    "compare": _RUN,
    "experiment": [*_RUN, "--task-limit", "2", "--task-shots", "1"],
    "grid": ["--dry-run"],
    "evaluate": ["--limit", "3", "--sample", "2"],
    "worker": ["--once"],
    "query": ["--server", os.environ.get("DOC_URL", "")],
    "serve": ["--port", os.environ.get("DOC_PORT", "")],
}


def smaller(arguments: list[str]) -> list[str]:
    """The arguments with those that make less of the command; they stand behind its name, or after all others."""
    name = arguments[0] if arguments else ""
    more = MORE.get(name, [])
    if name == "query":
        return arguments if "--snapshot" in arguments else [name, *more, *arguments[1:]]
    if arguments[1:2] == ["delete"]:
        return [*arguments, "--yes"]
    if name == "experiment" and "--teacher" not in arguments:  # one that trains nothing
        return arguments
    return [*arguments, *more]


def choose(arguments: list[str]) -> None:
    """Leave the file that a search would."""
    out, name = arguments[arguments.index("--out") + 1], Path(arguments[1]).stem
    (Path(out) / name).mkdir(parents=True, exist_ok=True)
    shutil.copy("own-settings.toml", Path(out) / name / "tuned.toml")


def serve(command: list[str]) -> int:
    """Start the service, wait until it answers, end it as Ctrl-C does."""
    process = subprocess.Popen(command)
    address = f"http://127.0.0.1:{os.environ['DOC_PORT']}/livez"
    for _ in range(600):
        if process.poll() is not None:
            return process.returncode or 1
        try:
            urllib.request.urlopen(address, timeout=5).close()
            break
        except OSError:
            time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    ended = process.wait(60)
    return 0 if ended in (0, 128 + signal.SIGINT, -signal.SIGINT) else ended


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        sys.exit(serve([*SENSEDICT, *smaller(sys.argv[1:])]))
    status = run(os.environ["DOC_WARM"], smaller(sys.argv[1:]))
    if sys.argv[1:2] == ["grid"] and status == 0:
        choose(sys.argv[1:])
    sys.exit(status)
