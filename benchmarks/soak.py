"""Mixed load while PostgreSQL and the processes of the API are killed at random. Run: python benchmarks/soak.py

Several clients ask `sensedict serve --workers 2` for everything that it answers, and compare with what it answered
before; one more moves an alias, and publishes and deletes versions. Meanwhile, in an order that `--seed` says, a worker
or a backend of PostgreSQL is killed (-9), or PostgreSQL as a whole, which is then started again. In the second half the
workers are left alone, and in the last quarter, warm, they must not grow. Prints a table, writes
benchmarks/out/soak.json, and ends with 1 where an answer was wrong, an error came without a cause, a recovery took too
long, or something leaked.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import httpx
from common import OUT
from soak_faults import KINDS, Kill, Killer
from soak_load import Asker, Fault, Question, Tally, change, load, questions
from soak_place import Place, Watch, place

CLIENTS = 6
RECOVERY = 5.0  # seconds to right answers
WHOLE = 30.0  # seconds until a killed worker has a successor: processor time, which the clients leave little of
GRACE = 5.0  # seconds after a recovery in which a request that began before it may still fail
GROWTH = 24.0  # MiB that a process may grow in the last quarter
FILES = 12  # open files that it may have more then: clients' connections come and go


def main() -> None:
    """Soak, print and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with place() as here:
        found = soak(here, given.seconds, given.seed)
    found |= {"seed": given.seed, "command": f"python benchmarks/soak.py --seconds {given.seconds:g}"}
    OUT.mkdir(exist_ok=True)
    (OUT / "soak.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(_table(found))
    sys.exit(1 if found["faults"] else 0)


def soak(here: Place, seconds: float, seed: int) -> dict[str, object]:
    """Load and kills for so long; what came of it."""
    tally = Tally()
    _wait(here)
    expected = _expected(here)
    known = next((question, answer.content) for question, answer in expected if "/senses?word=hot" in question.path)
    killer, watch, stop, calm = Killer(here, seed, known), Watch(here), threading.Event(), threading.Event()
    started = time.monotonic()
    with ThreadPoolExecutor(CLIENTS + 2) as threads:
        clients = [threads.submit(load, here, tally, expected, seed * 1000 + number, stop) for number in range(CLIENTS)]
        clients.append(threads.submit(change, here, tally, stop))
        killing = threads.submit(killer.run, calm, started + seconds / 2)
        while time.monotonic() < started + seconds and not any(each.done() for each in (*clients, killing)):
            time.sleep(0.2)
        calm.set()
        killing.exception()
        time.sleep(min(10.0, seconds / 10))
        stop.set()
    for each in (*clients, killing):
        each.result()
    watch.close()
    faults = _faults(tally, killer, watch, here, since=started + seconds * 3 / 4)
    return _report(tally, killer, watch, faults, time.monotonic() - started)


def _wait(here: Place) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"{here.url}/readyz", timeout=5, trust_env=False).raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > deadline or not here.supervisor.is_running():
                raise RuntimeError(f"the service did not start:\n{here.log.read_text()}") from None
            time.sleep(0.1)


def _expected(here: Place) -> list[tuple[Question, httpx.Response]]:
    """Each question with its answer, which is the same from every process."""
    found = []
    for question in questions(senses=81, dim=8):
        asker = Asker(here, Tally())
        answers = [asker.ask(question, lambda answer: answer.status_code in (200, 404)) for _ in range(2)]
        asker.close()
        if answers[0] is None or answers[1] is None:
            raise RuntimeError(f"{question} is not answered:\n{here.log.read_text()[-3000:]}")
        found.append((question, answers[0]))
    _set_alias(here)
    return found


def _set_alias(here: Place) -> None:
    asker = Asker(here, Tally())
    body = b'{"version": "1", "reason": "a soak"}'
    path = "/v1/dictionaries/moving/aliases/prod"
    if asker.ask(Question("PUT", path, body, {"Content-Type": "application/json"}), lambda a: a.is_success) is None:
        raise RuntimeError("the alias cannot be set")
    asker.close()


def _faults(tally: Tally, killer: Killer, watch: Watch, here: Place, since: float) -> list[str]:
    """All that is wrong, in words."""
    found = [fault.what for fault in tally.wrong]
    found += [f"without a cause: {fault.what}" for fault in tally.refused if not _excused(fault, killer.kills)]
    for kill in killer.kills:
        if kill.answers > RECOVERY or kill.whole > WHOLE:
            found.append(f"{kill.kind}: {kill.answers:.1f} s to right answers, {kill.whole:.1f} s until whole")
    memory, files = watch.growth(since)
    if memory > GROWTH:
        found.append(f"a worker grew by {memory:.0f} MiB")
    if files > FILES:
        found.append(f"a worker holds {files:.0f} more open files")
    found += _left(here)
    log = here.log.read_text(errors="replace")
    if "Traceback" in log:
        at = log.index("Traceback")
        found.append(f"the log has a traceback: {log[max(0, at - 500) : at + 2000]}")
    return found


def _excused(fault: Fault, kills: list[Kill]) -> bool:
    return any(kill.at - 0.1 <= fault.at <= kill.over + GRACE for kill in kills)


def _left(here: Place) -> list[str]:
    """What is held by nobody, a moment after the last client went."""
    time.sleep(3.0)
    found = []
    with here.database() as connection:
        ask = "SELECT count(*), count(*) FILTER (WHERE state <> 'idle') FROM pg_stat_activity " + (
            "WHERE application_name = 'sensedict'"
        )
        (row,) = connection.execute(ask).fetchall()
    connections, busy = (int(str(value)) for value in row)
    most = len(here.workers()) * (here.settings.pool_size + 4)  # and one each of upkeep, removal, probes and keys
    if connections > most:
        found.append(f"{connections} connections to the database, at most {most} are ours")
    if busy:
        found.append(f"{busy} connections to the database are busy")
    numbers = httpx.get(f"{here.url}/metrics", timeout=10, trust_env=False).text
    for name, most in (("sensedict_requests_in_flight", 1), ("sensedict_pool_connections_used", 0)):
        value = sum(float(line.split()[-1]) for line in numbers.splitlines() if line.split(" ")[0] == name)
        if value > most:
            found.append(f"{name} is {value:g}")
    strays = [path.name for path in here.settings.files.iterdir() if "new-" in path.name or "coming" in path.name]
    return [*found, *([f"left in the folder of file sets: {strays[:5]}"] if len(strays) > 2 else [])]  # of the last one


def _report(tally: Tally, killer: Killer, watch: Watch, faults: list[str], seconds: float) -> dict[str, object]:
    def spread(values: list[float]) -> dict[str, float]:
        return {"median": round(statistics.median(values), 2), "most": round(max(values), 2)} if values else {}

    kills = {}
    for kind in KINDS:
        of_kind = [kill for kill in killer.kills if kill.kind == kind]
        kills[kind] = {"kills": len(of_kind)} | {
            name: spread([getattr(kill, name) for kill in of_kind]) for name in ("database", "answers", "whole")
        }
    looks = [look for look in watch.looks if look.memory]
    return {
        "seconds": round(seconds),
        "requests": dict(tally.counts),
        "longest_right_answer": round(tally.longest, 2),
        "kills": kills,
        "worker_mib": [round(max(look.memory.values()) / 2**20) for look in (looks[0], looks[-1])],
        "worker_files": [max(look.files.values()) for look in (looks[0], looks[-1])],
        "connections_most": max(look.connections for look in looks),
        "faults": faults,
        "each_kill": [asdict(kill) for kill in killer.kills],
    }


def _table(found: dict[str, object]) -> str:
    kills = found["kills"]
    assert isinstance(kills, dict)
    lines = [f"{found['seconds']} s; requests: {found['requests']}; longest {found['longest_right_answer']} s"]
    lines.append(f"{'killed':12}{'times':>6}  {'database back':>16}  {'right answers':>16}  {'as many as before':>18}")
    for kind, told in kills.items():
        spreads = [
            f"{told[name]['median']:.2f} / {told[name]['most']:.2f} s" if told[name] else "-"
            for name in ("database", "answers", "whole")
        ]
        lines.append(f"{kind:12}{told['kills']:>6}  {spreads[0]:>16}  {spreads[1]:>16}  {spreads[2]:>18}")
    lines.append(
        f"largest worker, first and last: {found['worker_mib']} MiB, {found['worker_files']} open files; at most "
        f"{found['connections_most']} connections to the database"
    )
    faults = found["faults"]
    assert isinstance(faults, list)
    lines += [f"{len(faults)} faults", *(f"  {fault}" for fault in faults[:20])]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
