"""What a soak kills, and how long it takes until all is well again."""

from __future__ import annotations

import random
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import psycopg
from soak_load import Question
from soak_place import WORKERS, Place
from soak_place import signal as send

from sensedict.errors import SenseDictError
from sensedict_server import embedded

KINDS = ("worker", "backend", "postmaster", "restart")
PAUSE = (3.0, 7.0)  # seconds between a recovery and the next kill
PATIENCE = 60.0  # seconds in which all must be well
_RIGHT = 8  # answers on connections of their own, one after the other


@dataclass(frozen=True)
class Kill:
    """One kill.

    Attributes:
        kind: of KINDS.
        at: when, by the monotonic clock.
        database: seconds from then until PostgreSQL took connections again; 0 where it was not killed.
        answers: seconds from then, or from when PostgreSQL was there again, to right answers alone.
        whole: of a worker, seconds from the kill until another answered in its place; else as `answers`.
    """

    kind: str
    at: float
    database: float
    answers: float
    whole: float

    @property
    def over(self) -> float:
        """When all was well again."""
        return self.at + self.database + max(self.answers, self.whole)


class Killer:
    """Kills one thing after the other, in an order that the seed says, and waits for the recovery each time."""

    def __init__(self, place: Place, seed: int, known: tuple[Question, bytes]) -> None:
        self._place, self._known = place, known
        self._choose = random.Random(seed)
        self.kills: list[Kill] = []
        self.began: list[float] = []  # also of a kill whose recovery was not seen

    def run(self, stop: threading.Event, workers_until: float) -> None:
        """Kill until told to stop; after a time the workers are left alone, so that what they hold can be compared."""
        kinds: list[str] = []
        while not stop.wait(self._choose.uniform(*PAUSE)):
            if not kinds:
                kinds = self._choose.sample(KINDS, len(KINDS))
            kind = kinds.pop()
            if kind == "worker" and time.monotonic() > workers_until:
                continue
            self.began.append(time.monotonic())
            self.kills.append(getattr(self, f"_{kind}")())

    def _worker(self) -> Kill:
        before = self._place.workers()
        victim = self._choose.choice(sorted(before))
        at = time.monotonic()
        send(victim, signal.SIGKILL)
        answers = self._recovered(at)
        while not self._all_answer(before) and time.monotonic() < at + PATIENCE:
            time.sleep(0.05)
        return Kill("worker", at, 0.0, answers, time.monotonic() - at)

    def _backend(self) -> Kill:
        """One process of PostgreSQL: then it ends all others and recovers by itself."""
        with self._place.database() as connection:
            found = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'sensedict' ORDER BY pid"
            ).fetchall()
        at = time.monotonic()
        if found:
            send(int(str(self._choose.choice(found)[0])), signal.SIGKILL)
        database = self._database_back(at)
        answers = self._recovered(at + database)
        return Kill("backend", at, database, answers, answers)

    def _postmaster(self) -> Kill:
        folder = self._folder()
        pid = embedded.status(folder).pid
        at = time.monotonic()
        if pid is not None:
            send(pid, signal.SIGKILL)
        return self._started("postmaster", at)

    def _restart(self) -> Kill:
        at = time.monotonic()
        embedded.stop(self._folder())
        return self._started("restart", at)

    def _started(self, kind: str, at: float) -> Kill:
        time.sleep(self._choose.uniform(0.0, 2.0))
        while True:
            try:
                embedded.start(self._folder())
                break
            except SenseDictError:
                if time.monotonic() > at + PATIENCE:
                    raise
                time.sleep(0.2)
        database = self._database_back(at)
        answers = self._recovered(at + database)
        return Kill(kind, at, database, answers, answers)

    def _folder(self) -> Path:
        return self._place.settings.home / "postgres"

    def _database_back(self, at: float) -> float:
        time.sleep(0.1)  # a server whose process was killed takes connections for a moment still
        while time.monotonic() < at + PATIENCE:
            try:
                with self._place.database() as connection:
                    connection.execute("SELECT 1")
                return time.monotonic() - at
            except psycopg.Error:
                time.sleep(0.1)
        return PATIENCE

    def _recovered(self, since: float) -> float:
        """Seconds from then to the first of several right answers without another between them."""
        in_line, first = 0, time.monotonic()
        while in_line < _RIGHT:
            asked = time.monotonic()
            if not self._right():
                in_line = 0
                if asked > since + PATIENCE:
                    return PATIENCE
                continue
            if in_line == 0:
                first = time.monotonic()
            in_line += 1
        return max(0.0, first - since)

    def _right(self) -> bool:
        question, known = self._known
        try:
            answer = httpx.get(
                self._place.url + question.path,
                headers={"Authorization": f"Bearer {self._place.key}"},
                timeout=PATIENCE,
                trust_env=False,
            )
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and answer.content == known

    def _all_answer(self, before: dict[int, psutil.Process]) -> bool:
        """Whether there are as many as there should be, and the new one has a client."""
        there = self._place.workers()
        new = [process for pid, process in there.items() if pid not in before]
        if len(there) != WORKERS or len(new) != 1:
            return False
        with httpx.Client(trust_env=False, timeout=PATIENCE) as http:  # stays connected to whoever took it
            try:
                http.get(f"{self._place.url}/livez")
                return any(found.status == psutil.CONN_ESTABLISHED for found in new[0].net_connections("inet"))
            except (httpx.HTTPError, psutil.Error):
                return False
