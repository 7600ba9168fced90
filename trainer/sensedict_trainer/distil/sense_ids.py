"""A teacher's hidden state as a few senses and their weights: 5 bytes a sense, whatever D is.

A state h_t is written as μ = Σ w · c, a convex combination of the senses c of the whole dictionary, so that
Σ w · d²(h_s, c) = d²(h_s, μ) + Σ w · d²(c, μ): the sense loss with these senses as weighted positives has the gradient
of d²(h_s, μ), and the teacher's logits are nearly those of μ. Why so, and not by the nearest senses or softmax(−d²):
`docs/activation-cache.md`.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 1 << 24  # scores held at once, 64 MiB
_STEPS = 60  # of the weights' fit: p is small, and the product with all senses costs more


def bytes_of(p: int) -> int:
    """Bytes a position: of each sense an id in 4 and a weight in 1."""
    return 5 * p


def nearest_mixture(states: Tensor, senses: Tensor, p: int) -> tuple[Tensor, Tensor]:
    """The ids (n, p) and convex weights (n, p) of a mixture of p senses near each state.

    Greedy: the nearest sense, then again and again the one that lies farthest in the direction of what is missing, with
    all weights fitted anew (the fully corrective algorithm of Frank and Wolfe).

    Args:
        states: (n, D).
        senses: (N, D), N ≥ p, on the device of `states`.
        p: senses a state.
    """
    rows = max(1, _BLOCK // len(senses))
    parts = [_mixture(part.float(), senses, p) for part in torch.split(states, rows)]
    return torch.cat([ids for ids, _ in parts]), torch.cat([weights for _, weights in parts])


def mixture(ids: Tensor, weights: Tensor, senses: Tensor) -> Tensor:
    """(n, D) float32 μ of ids (n, p) and weights (n, p)."""
    mixed: Tensor = torch.einsum("np,npd->nd", weights, senses[ids].float())
    return mixed


def to_stored(ids: Tensor, weights: Tensor) -> Tensor:
    """(n, 5 · p) uint8: ids, then weights in 255ths."""
    whole = (weights * 255).round().to(torch.uint8)
    return torch.cat([ids.to(torch.int32).view(torch.uint8), whole], dim=1)


def from_stored(stored: Tensor) -> tuple[Tensor, Tensor]:
    """The ids (n, p) int64 and the weights (n, p), which add up to 1."""
    p = stored.shape[1] // 5
    ids = stored[:, : 4 * p].contiguous().view(torch.int32).long()
    weights = stored[:, 4 * p :].float()
    return ids, weights / weights.sum(dim=1, keepdim=True).clamp(min=1.0)


def _mixture(states: Tensor, senses: Tensor, p: int) -> tuple[Tensor, Tensor]:
    table = senses.float()
    ids = (table.square().sum(dim=1) / 2 - states @ table.T).argmin(dim=1, keepdim=True)
    weights = torch.ones_like(ids, dtype=torch.float32)
    while ids.shape[1] < p:
        scores = (states - mixture(ids, weights, table)) @ table.T  # (n, N)
        best = scores.scatter_(1, ids, -torch.inf).argmax(dim=1, keepdim=True)
        ids = torch.cat([ids, best], dim=1)
        weights = convex_weights(states, table[ids], torch.nn.functional.pad(weights, (0, 1)))
    return ids, weights


def convex_weights(states: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """(n, j) the weights w ≥ 0 with Σ w = 1 that bring Σ w · c nearest to each state.

    Args:
        states: (n, D).
        chosen: (n, j, D) senses c of each.
        weights: (n, j) to begin with, convex.
    """
    dim = states.shape[1]
    gram = chosen @ chosen.transpose(1, 2) / dim  # (n, j, j)
    towards = (chosen @ states.unsqueeze(2)).squeeze(2) / dim
    # Projected gradient with Nesterov's momentum; the largest row sum bounds the largest eigenvalue.
    step = gram.abs().sum(dim=2).amax(dim=1, keepdim=True).clamp(min=1e-12)
    ahead, momentum = weights, 1.0
    for _ in range(_STEPS):
        gradient = (gram @ ahead.unsqueeze(2)).squeeze(2) - towards
        moved = _to_simplex(ahead - gradient / step)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = moved + (momentum - 1) / following * (moved - weights)
        weights, momentum = moved, following
    return weights


def _to_simplex(values: Tensor) -> Tensor:
    """(n, j) the nearest weights that are not negative and add up to 1 (Duchi et al. 2008)."""
    falling = values.sort(dim=1, descending=True).values
    excess = falling.cumsum(dim=1) - 1
    places = torch.arange(1, values.shape[1] + 1, device=values.device)
    kept = (falling * places > excess).sum(dim=1, keepdim=True)
    return (values - excess.gather(1, kept - 1) / kept).clamp(min=0)
