"""Reading wiktextract's output, against decompressing and parsing the same lines with orjson and keeping nothing."""

from __future__ import annotations

import gzip
import lzma
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import orjson
from common import Row, write

from sensedict_server.lexicon.readers import READERS, File, Notes

LARGE, SMALL = 500, 60  # MB
TURN = 2_000  # lines
COMMAND = "make bench-lexicon"
_SAMPLE = "lexical/wiktextract-en-sample.jsonl.xz"
_READER = READERS["wiktextract"]
_SEED, _MADE_RECORDS = 0, 2_000


def rows() -> list[Row]:
    """`wiktextract vs orjson` in MB of unpacked lines a second, and the most memory at 500 MB and at 60 MB."""
    block = _block()
    with tempfile.TemporaryDirectory() as folder:
        large, size = _repeated(block, LARGE, Path(folder))
        small, _ = _repeated(block, SMALL, Path(folder))
        ours, peer = _seconds(large)
        megabytes = size / 1e6
        return [
            Row("wiktextract vs orjson", megabytes / ours, megabytes / peer, "MB/s", COMMAND),
            Row("wiktextract memory 500 MB vs 60 MB", _most_memory(large), _most_memory(small), "bytes", COMMAND),
        ]


def read(path: Path) -> None:
    """Everything that the reader takes out of the file."""
    deque(_READER.read(File(path), Notes()), maxlen=0)


def parse(path: Path) -> Iterator[None]:
    """The peer, a turn a step: the standard library unpacks the file, each line is parsed as a whole and dropped."""
    with gzip.open(path) as file:
        line: bytes | None = b""
        while line is not None:
            line = None
            for line in islice(file, TURN):
                orjson.loads(line)
            yield


def _seconds(path: Path) -> tuple[float, float]:
    """What the reader and the peer take for the whole file, by turns so short that other load meets both alike."""
    entries, lines = _READER.read(File(path), Notes()), parse(path)
    ours = peer = 0.0
    reading = parsing = True
    while reading or parsing:
        start = time.perf_counter()
        reading = reading and bool(deque(islice(entries, 4 * TURN), maxlen=1))  # some four entries a line
        middle = time.perf_counter()
        parsing = parsing and next(lines, 0) is None
        ours, peer = ours + middle - start, peer + time.perf_counter() - middle
    return ours, peer


def _block() -> bytes:
    """The lines that are repeated: those of the sample where there is one, else lines made here."""
    folder = os.environ.get("SENSEDICT_TEST_DATA")
    sample = Path(folder) / _SAMPLE if folder else None
    if sample is not None and sample.is_file():
        print(f"wiktextract: {sample.name}, repeated", file=sys.stderr)
        return lzma.decompress(sample.read_bytes())
    print(
        "wiktextract: made lines, repeated, because SENSEDICT_TEST_DATA names no folder with a sample", file=sys.stderr
    )
    return b"".join(orjson.dumps(record) + b"\n" for record in _made(random.Random(_SEED)))


def _repeated(block: bytes, megabytes: int, folder: Path) -> tuple[Path, int]:
    """The block until it is that much, packed with gzip as the downloads are, and its unpacked size in bytes."""
    times = -(-megabytes * 1_000_000 // len(block))
    path = folder / f"{megabytes}.jsonl.gz"
    member = gzip.compress(block, 6)  # a file of several members is one of all their content
    with path.open("wb") as file:
        for _ in range(times):
            file.write(member)
    return path, times * len(block)


def _most_memory(path: Path) -> int:
    """The most memory in bytes of a process of its own that reads the file."""
    call = [sys.executable, __file__, str(path)]
    return int(subprocess.run(call, check=True, capture_output=True, text=True).stdout)


def _made(draw: random.Random) -> Iterator[dict[str, object]]:
    """Records as wiktextract writes them, of made words: as many senses and related words as English ones have."""
    words = ["".join(draw.choices("abcdefghilmnoprstuvw", k=draw.randint(3, 9))) for _ in range(5_000)]

    def text(most: int) -> str:
        return " ".join(draw.choices(words, k=draw.randint(3, most))).capitalize() + "."

    def related(label: str | None) -> list[dict[str, object]]:
        found = [{"word": draw.choice(words)} for _ in range(draw.randint(1, 8))]
        return [{"sense": label, **item} for item in found] if label else found

    for _ in range(_MADE_RECORDS):
        senses: list[dict[str, object]] = []
        for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 4, 7))):
            gloss = text(12)
            sense = {"links": [[word, word] for word in gloss.split()[:2]], "glosses": [gloss]}
            if draw.random() < 0.6:
                sense = {"examples": [{"text": text(20)} for _ in range(draw.randint(1, 2))], **sense}
            if draw.random() < 0.6:
                sense |= {"raw_glosses": [f"(obsolete) {gloss}"], "tags": ["obsolete", "transitive"]}
            if draw.random() < 0.07:
                sense["synonyms"] = related(None)
            senses.append(sense)
        word, pos = draw.choice(words), draw.choice(("noun", "verb", "adj"))
        record: dict[str, object] = {"senses": senses, "pos": pos, "head_templates": [{"name": "en", "args": {}}]}
        if draw.random() < 0.2:
            record["synonyms"] = related(draw.choice((text(6), str(senses[0]["glosses"])[2:14])))
        if draw.random() < 0.2:
            record["derived"] = related(None)
        yield record | {"word": word, "lang": "English", "lang_code": "en"}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        read(Path(sys.argv[1]))
        # Not getrusage: what it calls the most holds the memory of the process that started this one.
        print(int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024)
    else:
        write("lexicon_reading", rows())
