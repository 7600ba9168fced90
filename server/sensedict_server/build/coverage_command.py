"""`sensedict lexicon totals` and `coverage`: the paper's counts beside a lexicon's own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click
import numpy as np
from sqlalchemy import Connection

from sensedict_server.build.words import tokenize_words
from sensedict_server.lexicon.coverage import COMPOSED, MOST_TOKENS, PAPER, PAPER_PAIRS, Kept, kept, word_keys
from sensedict_server.lexicon.relations import ANTONYM, SYNONYM
from sensedict_server.queries import totals as queries
from sensedict_server.queries.lexicons import find_lexicon, list_lexicon_sources, relation_words
from sensedict_server.queries.relations import HEAD_LETTERS, is_head
from sensedict_server.schema import connected
from sensedict_server.settings import Settings

KINDS = (SYNONYM, ANTONYM)
_SHOWN = 10  # conflicts of a pair of sources that are printed; --json has all of them
# The paper's sources (DSKD §3.2), and what stands in the name of one in a lexicon, or in that of a user's list.
HG2VEC = "Roget's Super Thesaurus (HG2Vec's pairs)"
_PAPER_SOURCES = {
    "Wiktionary (wiktextract)": ("wiktextract", "wiktionary", "kaikki"),
    HG2VEC: ("hg2vec", "synonyms:syn-pairs", "antonyms:ant-pairs"),  # as the files are called in its repository
    "MorphoLEX": ("morpholex",),
}


@dataclass(frozen=True)
class TokenizerCoverage:
    """Table 2's rows and Table 8's word keys of a tokenizer.

    Attributes:
        words: of the lexicon's relations.
        unknown: words that have no tokens, or one that stands for any unknown character.
        heads: words of one token and three letters or more.
        word_keys: words of two or three tokens in a synonym or antonym relation of a head.
    """

    tokenizer: str
    vocabulary: int
    words: int
    unknown: int
    heads: int
    word_keys: int
    kept: Mapping[str, Kept]


@click.command()
@click.argument("ref", metavar="NAME@VERSION")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every conflicting pair.")
def totals(ref: str, as_json: bool) -> None:
    """Print how many synonym and antonym pairs NAME@VERSION has beside the paper's counts, and where they come from.

    A pair counts once, in any order, over all sources. Negations count as antonyms, as training takes them.
    """
    with connected(Settings.from_environment()) as connection:
        found = find_lexicon(connection, ref)
        document = {"lexicon": found.ref, **_totals(connection, found.id)}
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        for line in _totals_lines(document):
            click.echo(line)


@click.command()
@click.argument("ref", metavar="NAME@VERSION")
@click.option(
    "--tokenizer",
    "specs",
    required=True,
    multiple=True,
    metavar="SPEC",
    help="A folder, a model's name, or a file: tokenizer.json, a SentencePiece model, or tiktoken's ranks, also as .xz "
    "and as package:NAME/FILE. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def coverage(ref: str, specs: tuple[str, ...], as_json: bool) -> None:
    """Print how many relations of NAME@VERSION a tokenizer keeps, beside the paper's Table 2, and its word keys.

    Relations whose head is a word of one token and three letters or more, by the tokens of the other word; each counts
    from each of its ends that is a head.
    """
    from sensedict_trainer.tokenizers import load_tokenizer

    tokenizers = [load_tokenizer(spec) for spec in specs]  # first, for a wrong name should not wait
    with connected(Settings.from_environment()) as connection:
        found = find_lexicon(connection, ref)
        words = relation_words(connection, found.id)
        pairs = {kind: queries.pairs_of_kind(connection, found.id, kind) for kind in KINDS}
    rows = [_coverage(spec, it, words, pairs) for spec, it in zip(specs, tokenizers, strict=True)]
    if as_json:
        paper = {name: asdict(row) for name, row in PAPER.items()}
        document = {"lexicon": found.ref, "paper": paper, "tokenizers": [asdict(row) for row in rows]}
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        for line in _coverage_lines(found.ref, rows):
            click.echo(line)


def _coverage(
    spec: str, tokenizer: Any, words: Sequence[tuple[int, str]], pairs: Mapping[str, Any]
) -> TokenizerCoverage:
    ids = np.array([word_id for word_id, _ in words], dtype=np.int64)
    unknown = tokenizer.unk_token_id
    lengths = [
        0 if unknown in tokens else len(tokens) for tokens in tokenize_words(tokenizer, [text for _, text in words])
    ]
    tokens = np.array(lengths, dtype=np.int64)
    heads = (tokens == 1) & np.array([is_head(text) for _, text in words], dtype=np.bool_)
    rows = {kind: np.searchsorted(ids, of_kind) for kind, of_kind in pairs.items()}
    return TokenizerCoverage(
        tokenizer=spec,
        vocabulary=len(tokenizer),
        words=len(words),
        unknown=int((tokens == 0).sum()),
        heads=int(heads.sum()),
        word_keys=word_keys(np.concatenate([rows[kind] for kind in KINDS]), tokens, heads),
        kept={kind: kept(rows[kind], tokens, heads) for kind in KINDS},
    )


def _coverage_lines(ref: str, rows: Sequence[TokenizerCoverage]) -> Iterator[str]:
    width = max(len(name) for name in [*(row.tokenizer for row in rows), *(f"the paper, {name}" for name in PAPER)])
    yield f"Relations of {ref} whose other word has at most so many tokens, % (DSKD, Table 2)"
    counts = "".join(f"{count:>8}" for count in range(1, MOST_TOKENS + 1))
    yield f"{'':<{width}}  {'':<8}{'relations':>11}{counts}"
    for kind in KINDS:
        for name, row in PAPER.items():
            yield _shares(f"the paper, {name}", kind, "", (share / 100 for share in getattr(row, kind)), width)
        for ours in rows:
            of_kind = ours.kept[kind]
            yield _shares(ours.tokenizer, kind, f"{of_kind.relations:,}", of_kind.shares, width)
    yield ""
    least, most = COMPOSED
    yield f"Word keys: words of {least} or {most} tokens in a synonym or antonym relation of a head (DSKD, Table 8)"
    yield f"{'':<{width}}{'vocabulary':>13}{'words':>11}{'unknown':>9}{'heads':>9}{'word keys':>11}"
    for name, row in PAPER.items():
        yield f"{'the paper, ' + name:<{width}}{'':>42}{row.word_keys:>11,}"
    for ours in rows:
        yield (
            f"{ours.tokenizer:<{width}}{ours.vocabulary:>13,}{ours.words:>11,}{ours.unknown:>9,}{ours.heads:>9,}"
            f"{ours.word_keys:>11,}"
        )
    yield f"A head is a word of one token and {HEAD_LETTERS} letters or more."
    sense_keys = ", ".join(f"{row.sense_keys:,} for {name}" for name, row in PAPER.items())
    yield f"The paper's sense token keys ({sense_keys}) are counted in a dictionary, not in a lexicon."


def _shares(name: str, kind: str, relations: str, shares: Iterable[float], width: int) -> str:
    return f"{name:<{width}}  {kind:<8}{relations:>11}" + "".join(f"{100 * share:>8.2f}" for share in shares)


def _totals(connection: Connection, lexicon_id: int) -> dict[str, Any]:
    counted = queries.count_all_pairs(connection, lexicon_id)
    names = [source.name for source in list_lexicon_sources(connection, lexicon_id)]
    conflicts = queries.conflicting_pairs(connection, lexicon_id)
    return {
        "paper": PAPER_PAIRS,
        "pairs": {kind: counted.get(kind, (0, 0))[0] for kind in KINDS},
        "only_derived": {kind: counted.get(kind, (0, 0))[1] for kind in KINDS},
        "other_types": {kind: pairs for kind, (pairs, _) in counted.items() if kind not in KINDS},
        "missing_sources": missing_sources(names),
        "other_sources": [
            name for name in names if not any(_among([name], marks) for marks in _PAPER_SOURCES.values())
        ],
        "sources": [asdict(row) for row in queries.count_pairs_by_source(connection, lexicon_id)],
        "rules": [asdict(row) for row in queries.count_pairs_by_rule(connection, lexicon_id)],
        "conflicting_pairs": len({(pair.word, pair.other) for pair in conflicts}),
        "conflicts": [asdict(pair) for pair in conflicts],
    }


def missing_sources(names: Sequence[str]) -> list[str]:
    """The paper's sources that none of a lexicon's sources is, by their names."""
    return [name for name, marks in _PAPER_SOURCES.items() if not _among(names, marks)]


def _among(names: Iterable[str], marks: Sequence[str]) -> bool:
    return any(mark in name.casefold() for name in names for mark in marks)


def _totals_lines(document: Mapping[str, Any]) -> Iterator[str]:
    pairs, paper = document["pairs"], document["paper"]
    shown = {kind: pairs[kind] for kind in KINDS}
    yield f"{'distinct pairs':<44}{'synonyms':>12}{'antonyms':>12}"
    yield _counts("the paper (DSKD, Table 8)", paper)
    yield _counts(document["lexicon"], shown)
    yield _counts("  of them derived and listed nowhere", document["only_derived"])
    yield _counts("  more (+) or less (−) than the paper", {kind: pairs[kind] - paper[kind] for kind in KINDS}, "+")
    if pairs != paper:
        yield from _differences(document)
    yield from _sources_lines(document["sources"])
    for kind, count in document["other_types"].items():
        yield f"{kind:<44}{count:>12,} pairs, neither synonyms nor antonyms"
    yield from _rules_lines(document["rules"])
    yield from _conflict_lines(document)


def _differences(document: Mapping[str, Any]) -> Iterator[str]:
    """What explains a difference from the paper."""
    for name in document["missing_sources"]:
        # Its pairs are plain lists, which a user may have called anything; the others have kinds of their own.
        yield f"  no source is named so: {name}" if name == HG2VEC else f"  missing here: {name}"
    if document["other_sources"]:
        yield f"  not the paper's: {', '.join(document['other_sources'])}"
    if not document["missing_sources"]:
        yield "  All sources of the paper are here: look at their versions and at what was skipped (lexicon show)."


def _sources_lines(sources: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    counts = {(row["source"], row["derived"], row["kind"]): row["pairs"] for row in sources if row["kind"] in KINDS}
    yield f"\n{'by source, pairs that several list counted at each':<44}"
    for source, derived in dict.fromkeys((source, derived) for source, derived, _ in counts):
        of_kind = {kind: counts.get((source, derived, kind), 0) for kind in KINDS}
        yield _counts(f"{source}, {'derived' if derived else 'listed'}", of_kind)


def _rules_lines(rules: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if rules:
        yield f"\n{'derived by rule':<44}{'edges':>12}{'pairs':>12}{'listed nowhere':>16}"
    for row in rules:
        yield f"{row['kind'] + ', ' + row['rule']:<44}{row['edges']:>12,}{row['pairs']:>12,}{row['new']:>16,}"


def _conflict_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Conflicts by pair of sources; where one source or rule contradicts itself, it stands twice."""
    yield f"\n{document['conflicting_pairs']:,} pairs are both synonyms and antonyms: not used in training"
    by_sources: dict[tuple[str, str], dict[tuple[str, str], None]] = {}
    for pair in document["conflicts"]:
        sides = [pair[f"{kind}_source"] + (", derived" if pair[f"{kind}_rule"] else "") for kind in KINDS]
        by_sources.setdefault((sides[0], sides[1]), {})[pair["word"], pair["other"]] = None
    for (synonym, antonym), pairs in sorted(by_sources.items(), key=lambda item: (-len(item[1]), item[0])):
        yield f"{len(pairs):>8,}  synonyms of {synonym}; antonyms of {antonym}"
        examples = [f"{word}–{other}" for word, other in pairs][:_SHOWN]
        yield f"{'':>10}{', '.join(examples)}" + (" …" if len(pairs) > _SHOWN else "")


def _counts(label: str, counts: Mapping[str, int], sign: str = "") -> str:
    return f"{label:<44}{counts[SYNONYM]:>{sign}12,}{counts[ANTONYM]:>{sign}12,}"
