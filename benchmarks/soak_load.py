"""What a soak asks: questions whose answers are known, a version that moves, and versions that come and go."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import numpy as np
from soak_place import WHY, Place, version_of

from sensedict import arrays, wire
from sensedict.errors import PROBLEM_TYPE_PREFIX, by_code
from sensedict_server.build.publish import publish
from sensedict_server.database import opened

TIMEOUT = 20.0  # seconds; the service itself says 503 before
_AWAY = (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
Body = bytes | None


@dataclass(frozen=True)
class Question:
    """A request whose answer is the same each time."""

    method: str
    path: str
    body: Body = None
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Fault:
    """An answer that was neither right nor a clear error."""

    at: float
    what: str


class Tally:
    """What became of all requests; safe to use from several threads."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[Fault] = []
        self.refused: list[Fault] = []  # clear errors and cut connections: right where something was killed just before
        self.longest = 0.0
        self._lock = threading.Lock()

    def note(self, kind: str, seconds: float = 0.0) -> None:
        """Count an answer."""
        with self._lock:
            self.counts[kind] += 1
            self.longest = max(self.longest, seconds)

    def refuse(self, kind: str, what: str) -> None:
        """Count an answer that is right in bad times alone."""
        with self._lock:
            self.counts[kind] += 1
            self.refused.append(Fault(time.monotonic(), what))

    def blame(self, what: str) -> None:
        """Keep an answer that is never right."""
        with self._lock:
            self.counts["wrong"] += 1
            self.wrong.append(Fault(time.monotonic(), what))


class Asker:
    """One client; gives answers, or None where there was a clear error or the connection was cut."""

    def __init__(self, place: Place, tally: Tally) -> None:
        self._http = httpx.Client(
            base_url=place.url, timeout=TIMEOUT, headers={"Authorization": f"Bearer {place.key}"}, trust_env=False
        )
        self._tally = tally

    def ask(self, question: Question, right: Callable[[httpx.Response], bool]) -> httpx.Response | None:
        """Ask, and count what came."""
        started = time.monotonic()
        try:
            answer = self._http.request(question.method, question.path, content=question.body, headers=question.headers)
        except _AWAY as cut:
            self._tally.refuse("cut", f"{question}: {cut!r}")
            return None
        except httpx.HTTPError as error:
            self._tally.blame(f"{question}: {error!r} after {time.monotonic() - started:.1f} s")
            return None
        if right(answer):
            self._tally.note("right", time.monotonic() - started)
            return answer
        fault = _no_clear_error(answer)
        if fault is None:
            self._tally.refuse(str(answer.status_code), f"{question}: {answer.text[:300]}")
        else:
            self._tally.blame(f"{question}: {fault}: {answer.status_code} {answer.content[:300]!r}")
        return None

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()


def _no_clear_error(answer: httpx.Response) -> str | None:
    """What an answer lacks to be "not now" as it is documented."""
    if answer.status_code not in (429, 503):
        return "not as expected"
    if answer.headers.get("content-type") != wire.PROBLEM:
        return "no problem document"
    code = answer.json()["type"].removeprefix(PROBLEM_TYPE_PREFIX)
    if code not in by_code() or by_code()[code].status != answer.status_code:
        return "an unknown code"
    return None if answer.headers.get("retry-after", "").isdigit() else "no Retry-After"


def questions(senses: int, dim: int) -> list[Question]:
    """The mixed load over `tiny@1`; every route that reads, most of them several times."""
    ref = {"ref": "tiny@1"}
    words = ("hot", "cold", "happy", "ice%20cream", "%C3%A9t%C3%A9", "and%2For", "nowhere")
    asked = [wire.WORD_SENSES, wire.RELATIONS, wire.SENSE_MAP]
    paths = [f"{route.format(**ref)}?word={word}" for route in asked for word in words]
    paths += [f"{wire.RELATIONS.format(**ref)}?word={word}&depth=3&limit=5&count=true" for word in words]
    paths += [wire.TOKEN_SENSES.format(token=token, **ref) for token in (1, 2, 30, 99)]
    paths += [wire.SENSE.format(sense=sense, **ref) for sense in (0, senses - 1, senses)]
    paths += [wire.NEIGHBOURS.format(sense=sense, **ref) for sense in (0, 7)]
    paths += [f"{wire.WORDS.format(**ref)}?prefix={prefix}" for prefix in ("h", "c")]
    paths += [f"{wire.PATH.format(**ref)}?word=hot&other=glad", wire.DICTIONARY.format(**ref), wire.LIMITS]
    paths += [wire.SNAPSHOT.format(**ref), "/explorer", "/explorer/index.html", "/openapi.json"]
    return [*(Question("GET", path) for path in paths), *_bulk(ref, senses, dim)]


def _bulk(ref: dict[str, str], senses: int, dim: int) -> list[Question]:
    vectors = np.random.default_rng(7).normal(size=(9, dim)).astype(np.float32)
    bodies = [
        (wire.CANDIDATE_SETS, {"tokens": np.array([1, 2, 4, 20, 99], np.uint32)}),
        (wire.GET_SENSES, {"ids": np.arange(senses, dtype=np.uint32)}),
        (wire.NEAREST_SENSES, {"vectors": vectors}),
        (wire.NEAREST_SENSES, {"vectors": vectors, "tokens": np.arange(1, 10, dtype=np.uint32)}),
    ]
    kinds = [{"Content-Type": wire.SAFETENSORS, "Accept": accept} for accept in (wire.SAFETENSORS, wire.JSON)]
    return [
        Question("POST", route.format(**ref), arrays.encode(body), headers)
        for route, body in bodies
        for headers in kinds
        for _ in range(3)
    ]


def load(
    place: Place, tally: Tally, expected: list[tuple[Question, httpx.Response]], seed: int, stop: threading.Event
) -> None:
    """One client that asks one question after the other, and now and then what the alias stands for."""
    choose = random.Random(seed)
    asker = Asker(place, tally)
    answer: object = None
    moving = f"{wire.WORD_SENSES.format(ref='moving@prod')}?word=hot"
    while not stop.is_set():
        if choose.random() < 0.1:
            answer = asker.ask(Question("GET", moving), lambda answer: _counts(answer) in ({1}, {2}))
        else:
            question, known = choose.choice(expected)
            answer = asker.ask(
                question,
                lambda answer, known=known: (answer.status_code, _told(answer)) == (known.status_code, _told(known)),
            )
        if answer is None:
            stop.wait(0.3)  # as the answer asked for, and more hastily
        if choose.random() < 0.02:  # the next one comes on a connection of its own
            asker.close()
            asker = Asker(place, tally)
    asker.close()


def _told(answer: httpx.Response) -> object:
    """The answer without what is each request's own."""
    if answer.headers["content-type"] == wire.PROBLEM:
        return {**answer.json(), "request_id": None}
    return answer.content


def _counts(answer: httpx.Response) -> set[int]:
    """The counts of a word's senses: one number, that of its version, or the answer is torn."""
    return {sense["count"] for sense in answer.json()["senses"]} if answer.status_code == 200 else set()


def change(place: Place, tally: Tally, stop: threading.Event) -> None:
    """Somebody who moves the alias, and publishes and deletes versions; what was answered holds from then on."""
    asker = Asker(place, tally)
    number = 2
    while not stop.is_set():
        number += 1
        _move_alias(asker, 1 + number % 2, stop)
        if number % 5 == 0:
            _come_and_go(place, tally, asker, number, stop)
        stop.wait(0.1)
    asker.close()


def _until(ask: Callable[[], httpx.Response | None], stop: threading.Event) -> httpx.Response | None:
    """Ask again while the service is away; None where the soak ends before."""
    while (answer := ask()) is None and not stop.is_set():
        stop.wait(0.2)
    return answer


def _json(method: str, path: str, body: str) -> Question:
    return Question(method, path, body.encode(), {"Content-Type": wire.JSON})


def _move_alias(asker: Asker, version: int, stop: threading.Event) -> None:
    move = _json(
        "PUT", wire.ALIAS.format(name="moving", alias="prod"), f'{{"version": "{version}", "reason": "a soak"}}'
    )
    if _until(lambda: asker.ask(move, lambda answer: answer.status_code == 200), stop) is None:
        return
    read = Question("GET", f"{wire.WORD_SENSES.format(ref='moving@prod')}?word=hot")
    asker.ask(read, lambda answer: _counts(answer) == {version})


def _come_and_go(place: Place, tally: Tally, asker: Asker, number: int, stop: threading.Event) -> None:
    """A draft that is published and deleted; 409 and 410 tell that a request was heard whose answer was cut off."""
    ref = f"coming@{number}"
    if not _draft(place, tally, number, stop):
        return
    for question, statuses in (
        (_json("POST", wire.PUBLISH.format(ref=ref), '{"reason": "a soak"}'), (200, 409)),
        (Question("GET", f"{wire.WORD_SENSES.format(ref=ref)}?word=hot"), None),
        (Question("DELETE", wire.ALIAS.format(name="coming", alias="latest") + "?reason=a+soak"), (200, 404)),
        (Question("DELETE", wire.DICTIONARY.format(ref=ref) + "?reason=a+soak"), (200, 410)),
    ):
        right = (
            (lambda answer: _counts(answer) == {number})
            if statuses is None
            else (lambda answer, statuses=statuses: answer.status_code in statuses)
        )
        if _until(lambda question=question, right=right: asker.ask(question, right), stop) is None:
            return
    stop.wait(1.5)  # every process has noticed
    gone = Question("GET", wire.DICTIONARY.format(ref=ref))
    _until(lambda: asker.ask(gone, lambda answer: answer.status_code == 410), stop)


def _draft(place: Place, tally: Tally, number: int, stop: threading.Event) -> bool:
    """Make the draft `coming@NUMBER`, as a build would; again where the database went away meanwhile."""
    from sensedict.errors import Conflict, Unavailable

    draft = version_of(place.draft, "coming", number)
    while not stop.is_set():
        try:
            with opened(place.settings) as engine:
                publish(engine, place.settings.files, draft, because=WHY, keep_draft=True)
            return True
        except Conflict:  # the commit was heard, its answer was not
            return True
        except Unavailable as away:
            tally.refuse("build", f"{draft.name}: {away}")
            stop.wait(0.2)
    return False
