"""A 2-D map of some words' senses among their synonyms' and antonyms' senses (DSKD Figure 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from transformers import PreTrainedTokenizerBase

from sensedict.source import CandidateSets, Ranges, SenseSource
from sensedict_trainer.plots import STYLE

Relation = Literal["own", "synonym", "antonym"]

# Words that most lexicons relate and most corpora hold; the first few that the dictionary can draw are drawn.
WORDS = ("red", "car", "happy", "large", "hot", "begin", "child", "rich", "war", "day", "good", "strong", "fast", "old")
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#A0417C", "#8A6D00", "#444444")
_MARKERS: Mapping[Relation, str] = {"own": "o", "synonym": "^", "antonym": "s"}
_MARK_WORDS = ("Ġ", "▁")  # how byte-level and SentencePiece vocabularies write the blank before a word


@dataclass(frozen=True)
class MappedWord:
    """A word on the map.

    Attributes:
        text: the word.
        head: the word whose neighbourhood it is drawn in; itself for `own`.
        relation: what it is to `head`.
        points: one (x, y) a sense.
    """

    text: str
    head: str
    relation: Relation
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class SenseMap:
    """Words with a place for each sense; distances mean something only between near points."""

    words: tuple[MappedWord, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """The map as plain JSON values."""
        return [asdict(word) for word in self.words]

    @classmethod
    def from_json(cls, value: Sequence[Mapping[str, Any]]) -> SenseMap:
        """The map that `to_json` wrote."""
        return cls(
            tuple(
                MappedWord(word["text"], word["head"], word["relation"], tuple((x, y) for x, y in word["points"]))
                for word in value
            )
        )


def build_map(
    source: SenseSource,
    tokenizer: PreTrainedTokenizerBase,
    words: Sequence[str] = WORDS,
    heads: int = 6,
    neighbours: int = 4,
    seed: int = 0,
) -> SenseMap:
    """Place the senses of a few words and of their single-token neighbours on a plane: PCA, then t-SNE.

    Neighbours of several tokens are left out: a source answers with their senses and not with their names.

    Args:
        source: the dictionary.
        tokenizer: names its tokens.
        words: wished for; where fewer than `heads` of them have senses, synonyms and antonyms, the dictionary's
            words with the most senses follow.
        heads: words to draw.
        neighbours: most synonyms, and most antonyms, of each.
        seed: of t-SNE.
    """
    texts = _token_texts(tokenizer, source.identity.vocabulary_size)
    sets = source.candidate_sets(np.arange(source.identity.vocabulary_size, dtype=np.uint32))
    chosen = _choose(sets, texts, words, heads, neighbours)
    if not chosen:
        return SenseMap(())
    ids = np.concatenate([np.arange(first, first + count) for *_, first, count in chosen])
    unique, places = np.unique(ids, return_inverse=True)  # a word drawn for two heads has one place
    if len(unique) < 5:  # too few for a map
        return SenseMap(())
    plane = _project(source.get_senses(unique).astype(np.float32), seed)[places]
    ends = np.cumsum([count for *_, count in chosen])[:-1]
    return SenseMap(
        tuple(
            MappedWord(text, head, relation, tuple((round(float(x), 3), round(float(y), 3)) for x, y in points))
            for (text, head, relation, *_), points in zip(chosen, np.split(plane, ends), strict=True)
        )
    )


def draw(sense_map: SenseMap) -> Figure:
    """The map: a colour a neighbourhood, a shape a relation, each word's name beside its senses."""
    heads = list(dict.fromkeys(word.head for word in sense_map.words))
    colours = {head: _COLOURS[i % len(_COLOURS)] for i, head in enumerate(heads)}
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 7.2), layout="constrained")
        FigureCanvasAgg(figure)
        axis = figure.add_subplot()
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
        for word in sense_map.words:
            x, y = np.array(word.points).T
            own = word.relation == "own"
            axis.scatter(
                x,
                y,
                s=34 if own else 22,
                marker=_MARKERS[word.relation],
                facecolor=colours[word.head] if word.relation != "antonym" else "white",
                edgecolor=colours[word.head],
                linewidth=0.9,
                alpha=0.9 if own else 0.65,
                zorder=3 if own else 2,
            )
        handles = [
            Line2D(
                [],
                [],
                marker=_MARKERS[r],
                color="#555555",
                linestyle="",
                fillstyle="none" if r == "antonym" else "full",
            )
            for r in _MARKERS
        ]
        labels = ["senses of the word in bold", "of its synonyms", "of its antonyms"]
        figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False, fontsize=9)
        figure.draw_without_rendering()  # fixes the axes' place, which the labels are fitted to
        figure.set_layout_engine("none")
        _label(axis, sense_map, colours)
    return figure


def _token_texts(tokenizer: PreTrainedTokenizerBase, size: int) -> dict[int, str]:
    """Tokens that begin a word, by id, as a person writes them."""
    tokens = tokenizer.convert_ids_to_tokens(list(range(min(size, len(tokenizer)))))
    return {i: token[1:] for i, token in enumerate(tokens) if token and token[0] in _MARK_WORDS and token[1:].isalpha()}


def _choose(
    sets: CandidateSets, texts: Mapping[int, str], words: Sequence[str], heads: int, neighbours: int
) -> list[tuple[str, str, Relation, int, int]]:
    """(text, head, relation, first sense, senses) of the words to draw."""
    owners = {int(sets.own_first[i]): text for i, text in texts.items() if sets.own_count[i]}
    wished = {word: place for place, word in enumerate(words)}
    related = [
        i
        for i in texts
        if sets.own_count[i] >= 2
        and _named(sets.synonyms, i, owners, neighbours)
        and _named(sets.antonyms, i, owners, neighbours)
    ]
    related.sort(key=lambda i: (wished.get(texts[i], len(words)), -int(sets.own_count[i]), i))
    chosen: list[tuple[str, str, Relation, int, int]] = []
    drawn: set[str] = set()
    left = heads
    for i in related:
        if left == 0 or texts[i] in drawn:  # already there as another word's neighbour
            continue
        head = texts[i]
        chosen.append((head, head, "own", int(sets.own_first[i]), int(sets.own_count[i])))
        drawn.add(head)
        relations: tuple[tuple[Relation, Ranges], ...] = (("synonym", sets.synonyms), ("antonym", sets.antonyms))
        for relation, ranges in relations:
            for text, first, count in _named(ranges, i, owners, neighbours):
                if text not in drawn:
                    chosen.append((text, head, relation, first, count))
                    drawn.add(text)
        left -= 1
    return chosen


def _named(ranges: Ranges, i: int, owners: Mapping[int, str], most: int) -> list[tuple[str, int, int]]:
    """(text, first, count) of a token's neighbours that are single tokens, those with the most senses first."""
    found = [
        (owners[first], first, count)
        for first, count in zip(*(part.tolist() for part in ranges.row(i)), strict=True)
        if first in owners
    ]
    return sorted(found, key=lambda item: (-item[2], item[0]))[:most]


def _project(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """(n, 2): fifty principal components, then t-SNE, both seeded."""
    components = min(50, len(vectors) - 1, vectors.shape[1])
    reduced = PCA(components, svd_solver="full", random_state=seed).fit_transform(vectors)
    perplexity = min(15.0, (len(vectors) - 1) / 3)
    plane = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    return np.asarray(plane, dtype=np.float64)


def _label(axis: Axes, sense_map: SenseMap, colours: Mapping[str, str]) -> None:
    """Names beside the middle of each word's senses: where one would lie on another, it steps aside on a thin line."""
    renderer = axis.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    bounds = axis.get_window_extent(renderer)
    every = axis.transData.transform(np.concatenate([np.array(word.points) for word in sense_map.words]))
    placed: list[Bbox] = []
    for word in sorted(sense_map.words, key=lambda word: word.relation != "own"):
        own = word.relation == "own"
        points = np.array(word.points)
        # The sense nearest the middle: the middle itself may be empty, or another word's.
        anchor = points[np.square(points - np.median(points, axis=0)).sum(1).argmin()]
        label = axis.text(anchor[0], anchor[1], word.text, color=colours[word.head], zorder=5, ha="center", va="center")
        label.set_fontsize(10.5 if own else 8.5)
        label.set_fontweight("bold" if own else "normal")
        extent = label.get_window_extent(renderer)
        x, y = axis.transData.transform(anchor)
        box, centre = _best_place((x, y), (extent.width + 4, extent.height + 2), placed, every, bounds)
        placed.append(box)
        label.set_position(tuple(axis.transData.inverted().transform(centre)))
        if math.hypot(centre[0] - x, centre[1] - y) > extent.width / 2 + 14:
            ends = axis.transData.inverted().transform([(x, y), centre])
            axis.plot(*ends.T, color=colours[word.head], linewidth=0.5, alpha=0.6, zorder=1)


def _best_place(
    anchor: tuple[float, float],
    size: tuple[float, float],
    placed: Sequence[Bbox],
    points: NDArray[np.float64],
    bounds: Bbox,
) -> tuple[Bbox, tuple[float, float]]:
    """The place round an anchor that hides least: pixels, boxes of labels first, then points, then distance."""
    best: tuple[float, Bbox, tuple[float, float]] | None = None
    for radius in (8.0, 16.0, 28.0, 44.0, 64.0):
        for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False):
            x = anchor[0] + (radius + size[0] / 2) * math.cos(angle)
            y = anchor[1] + (radius + size[1] / 2) * math.sin(angle)
            box = Bbox.from_bounds(x - size[0] / 2, y - size[1] / 2, *size)
            covered = ((points > box.min) & (points < box.max)).all(1).sum()
            outside = not (bounds.x0 <= box.x0 and box.x1 <= bounds.x1 and bounds.y0 <= box.y0 and box.y1 <= bounds.y1)
            cost = 100.0 * box.count_overlaps(placed) + 300.0 * outside + 4.0 * covered + radius / 8
            if best is None or cost < best[0]:
                best = (cost, box, (x, y))
    if best is None:  # the loops above are never empty
        raise RuntimeError("no place was tried")
    return best[1], best[2]
