"""What a client adds to bare httpx, and what asking many questions at once gains. Run: python benchmarks/client.py

Against a running service, the demo's by default. Rounds of the contestants are interleaved. Processor time of this
process is what a client costs, whatever the service does meanwhile; the gain is of wall time.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np

from sensedict import arrays, wire
from sensedict.client import AsyncSenseClient, SenseClient

ROUNDS = 9
CALLS = 40
AT_ONCE = 8
VECTORS = 256


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--dictionary", default="smollm2-demo")
    parser.add_argument("--word", default="light")
    given = parser.parse_args()
    with SenseClient(given.server, given.dictionary) as client, httpx.Client(base_url=given.server) as http:
        ref = f"{client.identity.name}@{client.identity.version}"
        overhead(client, http, ref, given.word)
        gain(client, given.server, ref, given.word)


def overhead(client: SenseClient, http: httpx.Client, ref: str, word: str) -> None:
    """Processor microseconds a call, of the client and of httpx with the same work by hand."""
    senses = wire.WORD_SENSES.format(ref=ref)
    vectors = wire.GET_SENSES.format(ref=ref)
    ids = np.arange(min(VECTORS, client.identity.senses), dtype=np.uint32)
    bulk = {"content-type": wire.SAFETENSORS, "accept": wire.SAFETENSORS, "accept-encoding": "identity"}

    def bare_word() -> object:
        return wire.WordSenses.model_validate_json(http.get(senses, params={"word": word}).content)

    def bare_vectors() -> object:
        answer = http.post(vectors, content=arrays.encode({"ids": ids}, {}), headers=bulk)
        return arrays.decode(bytearray(answer.content))

    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "word": (bare_word, lambda: client.word(word)),
        f"get_senses of {len(ids)}": (bare_vectors, lambda: client.get_senses(ids)),
    }
    print("| question | bare httpx, µs of processor | client, µs | ratio |\n|---|---:|---:|---:|")
    for name, (bare, ours) in pairs.items():
        spent = [(processor(bare), processor(ours)) for _ in range(ROUNDS)]
        of_bare, of_ours = (statistics.median(times) for times in zip(*spent, strict=True))
        ratio = statistics.median(ours / bare for bare, ours in spent)
        print(f"| {name} | {of_bare:.0f} | {of_ours:.0f} | {ratio:.2f} |")


def processor(call: Callable[[], object]) -> float:
    """Microseconds of this process a call."""
    call()
    begun = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - begun) / CALLS * 1e6


def gain(client: SenseClient, server: str, ref: str, word: str) -> None:
    """Questions a second: one after the other, by threads, and by one loop."""

    async def gathered() -> None:
        async with AsyncSenseClient(server, ref, connections=AT_ONCE) as at_once:
            await asyncio.gather(*(at_once.word(word) for _ in range(AT_ONCE)))  # the connections
            begun.append(time.perf_counter())
            await asyncio.gather(*(at_once.word(word) for _ in range(CALLS * 4)))
            ended.append(time.perf_counter())

    begun: list[float] = []
    ended: list[float] = []
    rates: dict[str, list[float]] = {"one by one": [], f"{AT_ONCE} threads": [], f"async, {AT_ONCE} connections": []}
    one, threads, loop = rates.values()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(ROUNDS):
            one.append(rate(lambda: [client.word(word) for _ in range(CALLS * 4)]))
            threads.append(rate(lambda: list(pool.map(client.word, [word] * CALLS * 4))))
            asyncio.run(gathered())
            loop.append(CALLS * 4 / (ended[-1] - begun[-1]))
    print("\n| questions | a second | to one by one |\n|---|---:|---:|")
    for name, found in rates.items():
        ratio = statistics.median(other / first for other, first in zip(found, one, strict=True))
        print(f"| {name} | {statistics.median(found):.0f} | {ratio:.2f} |")


def rate(ask: Callable[[], object]) -> float:
    """Questions a second."""
    begun = time.perf_counter()
    ask()
    return CALLS * 4 / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
