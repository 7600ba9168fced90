"""What a training run asks a service for: each vector once, used where it was received."""

from __future__ import annotations

import httpx
import numpy as np
import torch

from running_service import Service
from sensedict.client import SenseClient
from sensedict_trainer.distil.cache import SenseCache
from sensedict_trainer.distil.draws import Sampling
from sensedict_trainer.distil.prefetch import Prefetcher
from sensedict_trainer.text import TokenWindow
from tiny_dictionary import TOKENS, D


class Counting(httpx.HTTPTransport):
    """Adds up the bytes of the answers to each bulk verb."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: dict[str, int] = {}
        self.answers: dict[str, int] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        verb = request.url.path.rpartition(":")[2]
        self.bytes[verb] = self.bytes.get(verb, 0) + int(response.headers["content-length"])
        self.answers[verb] = self.answers.get(verb, 0) + 1
        return response


def test_each_vector_and_each_candidate_set_travels_once(service: Service) -> None:
    random = np.random.default_rng(0)
    batches = [
        [TokenWindow(f"{batch}-{row}", random.integers(1, len(TOKENS), 20)) for row in range(3)] for batch in range(12)
    ]
    transport = Counting()
    with SenseClient(service.url, "tiny@1", transport=transport) as source, SenseClient(service.url, "tiny@1") as other:
        cache = SenseCache(source.identity.senses, D, source.identity.senses, torch.device("cpu"))
        sampling = Sampling(fraction=0.4, minimum=2, neighbours=2, seed=0)
        wanted: set[int] = set()
        with Prefetcher(batches, source, cache, sampling, {}) as prefetcher:
            for batch in prefetcher:
                ids = np.unique(np.concatenate([draw.ids for draw in batch.draws.values()]))
                assert torch.equal(cache.table[cache.rows(ids)], torch.from_numpy(other.get_senses(ids)))
                wanted |= set(ids.tolist())
                cache.release(batch.held)
        heads = transport.bytes["getSenses"] - len(wanted) * D * 2
        assert 0 < heads <= 96 * transport.answers["getSenses"]  # of safetensors; not one vector more
        targets = {int(token) for batch in batches for window in batch for token in window.ids[1:]}
        assert transport.bytes["candidateSets"] < 600 * transport.answers["candidateSets"] + 60 * len(targets)


def test_tensors_are_made_where_the_answer_was_received(service: Service) -> None:
    """Warnings are errors here: of memory that cannot be written to torch would warn."""
    with SenseClient(service.url, "tiny@1") as source:
        vectors = source.get_senses(np.arange(7))
    tensor = torch.from_numpy(vectors)
    assert tensor.data_ptr() == vectors.ctypes.data
    assert vectors.base is not None
    assert vectors.flags.writeable
    assert tensor.is_contiguous()
