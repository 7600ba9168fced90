"""`sensedict query relations`, `path` and `explain`: lexical relations from the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar, get_args

import click

from sensedict import wire
from sensedict.asking import (
    LIMITS,
    Target,
    json_option,
    print_json,
    print_json_list,
    print_match,
    print_table,
    printable,
)

_CONFLICT = "both synonym and antonym: not trained on"
_ARROWS: dict[wire.Direction, str] = {"both": "–", "out": "→", "in": "←"}
C = TypeVar("C", bound=Callable[..., object])


def _along(command: C) -> C:
    """The options of relations to walk along."""
    types = click.option(
        "--type",
        "types",
        metavar="TYPE",
        multiple=True,
        help="Only relations of this type, e.g. synonym or antonym; may be given several times.",
    )
    direction = click.option(
        "--direction",
        type=click.Choice(get_args(wire.Direction)),
        default="both",
        show_default=True,
        help="Only relations that lead from a word to the next, or that lead to it; symmetric ones do both.",
    )
    return types(direction(command))


@click.command()
@click.argument("word")
@_along
@click.option(
    "--depth",
    type=click.IntRange(1, LIMITS.max_depth),
    default=1,
    metavar="N",
    show_default=True,
    help="Steps from WORD: above 1, the relations of the words that were reached follow.",
)
@click.option("--source", metavar="NAME", help="Only relations of this source.")
@click.option("--rule", help="Only those derived by this rule, negation:un-, or kind of rule, negation.")
@click.option("--pos", help="Only those of this part of speech, e.g. noun or verb.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    metavar="N",
    show_default=True,
    help="How many at most, the nearest first; a last line tells how many more there are.",
)
@json_option
@click.pass_obj
def relations(
    target: Target,
    word: str,
    types: tuple[str, ...],
    direction: wire.Direction,
    depth: int,
    source: str | None,
    rule: str | None,
    pos: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the relations of WORD with their sources."""
    with target.client() as client:
        pages = client.relation_pages(
            word, types, direction=direction, depth=depth, source=source, rule=rule, pos=pos, limit=limit, count=True
        )
        first = next(pages)
        whole = chain([first], pages)
        if as_json:
            print_json_list(relation for page in whole for relation in page.relations)
        else:
            print_match(word, first.word, first.matched)
            for page in whole:
                if page.relations:
                    _print_relations(page.relations, depth)
            if not first.relations:
                click.echo(_none(types, direction=direction, source=source, rule=rule, pos=pos))
    for line in _left_out(first, limit, depth):
        click.echo(line, err=as_json)


@click.command()
@click.argument("word")
@click.argument("other")
@_along
@json_option
@click.pass_obj
def path(
    target: Target, word: str, other: str, types: tuple[str, ...], direction: wire.Direction, as_json: bool
) -> None:
    """Show a shortest way from WORD to OTHER along relations."""
    with target.client() as client:
        found = client.path(word, other, types, direction=direction)
        limits = client.limits()
    if as_json:
        print_json(found)
        return
    print_match(word, found.word, found.matched)
    print_match(other, found.other, found.other_matched)
    if found.relations:
        _print_relations(found.relations, len(found.relations))
    elif found.found:
        click.echo("the same word")
    else:
        click.echo(_no_way(found, limits, types, direction))


@click.command()
@click.argument("relation_id", metavar="ID", type=click.IntRange(min=0))
@json_option
@click.pass_obj
def explain(target: Target, relation_id: int, as_json: bool) -> None:
    """Show where the relation with this id comes from: its derivation, sources and licences."""
    with target.client() as client:
        found = client.explain(relation_id)
    if as_json:
        print_json(found)
        return
    steps = {step.relation: step for step in found.derivations}
    for relation in found.chain:
        click.echo(_sentence(relation))
        if relation.id in steps:
            _print_step(steps[relation.id])
    source = found.source
    click.echo(f"listed by {source.name} {source.version}, licence {source.licence}")
    if found.judgement is not None:
        judged = found.judgement
        click.echo(
            f"judgement {judged.id} by {judged.author}, {judged.created_at:%Y-%m-%d}: {printable(judged.reason)}"
        )
    rows = [
        (word, gloss.pos or "", gloss.text, gloss.source, gloss.licence)
        for word, glosses in found.glosses.items()
        for gloss in glosses
    ]
    if rows:
        print_table(("word", "pos", "gloss", "source", "licence"), rows)


def _print_relations(found: Sequence[wire.Relation], depth: int) -> None:
    rows = [
        (
            relation.id,
            relation.depth if depth > 1 else "",
            relation.word if depth > 1 else "",
            relation.type,
            "" if relation.direction == "both" else _ARROWS[relation.direction],
            relation.other,
            relation.pos or "",
            relation.source,
            relation.licence if relation.via is None else f"{relation.licence}, {relation.via.licence}",
            relation.rule or "",
            _CONFLICT if relation.conflict else "",
            _gloss(relation),
        )
        for relation in found
    ]
    heads = ("id", "depth", "from", "type", "way", "word", "pos", "source", "licence", "rule", "note", "gloss")
    print_table(heads, rows)


def _gloss(relation: wire.Relation) -> str:
    if not relation.glosses:
        return ""
    first, more = relation.glosses[0], len(relation.glosses) - 1
    return f"{first.word}: {first.text}" + (f" (and {more} more)" if more else "")


def _sentence(relation: wire.Relation) -> str:
    known = "" if relation.pos is None else f" ({relation.pos})"
    ends = f"{relation.word} {_ARROWS[relation.direction]} {relation.other}"
    note = f"; {_CONFLICT}" if relation.conflict else ""
    return printable(f"{relation.id}: {ends}, {relation.type}{known}{note}")


def _print_step(step: wire.Derivation) -> None:
    click.echo(f"  by {step.rule} from {step.parent}:")
    for negated in step.negated:
        built = "" if negated.segmentation is None else f", built {negated.segmentation}"
        source = "" if negated.source is None else f" ({negated.source.name}, {negated.source.licence})"
        affixes = " ".join(negated.affixes)
        click.echo(printable(f"    {negated.word} without {affixes} is {negated.base}{built}{source}"))


def _left_out(first: wire.RelationPage, limit: int, depth: int) -> Iterator[str]:
    """What the pages that begin with `first` do not show, and how to see it."""
    if first.total is not None and first.total > limit:
        yield f"and {first.total - limit} more: --limit {first.total} shows them all"
    if first.cut:
        yield (
            f"the walk ended at the nearest {first.words_reached} words, and more lie within {depth} steps: "
            "a smaller --depth, --type, --direction, --source, --rule or --pos makes it narrower"
        )


def _no_way(found: wire.Path, limits: wire.Limits, types: Sequence[str], direction: wire.Direction) -> str:
    """That there is no path, or which bound ended the search for one."""
    ends = printable(f"from {found.word} to {found.other}")
    along = _filtered(types, direction=direction)
    if found.bound == "words":
        return (
            f"no way{along} {ends} was found before the search had reached {limits.max_walk_words} words, where it "
            "ends: there may be one"
        )
    if found.bound == "relations":
        return f"no way{along} {ends} has at most {limits.max_path_relations} relations: there may be a longer one"
    return f"there is no way{along} {ends}"


def _none(types: Iterable[str], **filters: str | None) -> str:
    return f"none{_filtered(types, **filters)}"


def _filtered(types: Iterable[str], **filters: str | None) -> str:
    kinds = " or ".join(map(repr, types))
    told = [f" of type {kinds}"] if kinds else []
    told += [f" of {name} {value!r}" for name, value in filters.items() if value not in (None, "both")]
    return "".join(told)
