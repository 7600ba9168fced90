"""The analysts' views as whole tables of one lexicon or one dictionary, for the export to Parquet."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True)
class View:
    """One of the views in the schema `analytics`.

    Attributes:
        key: the column that names the lexicon or dictionary.
        order: columns that put its rows in an order of their own, so that an export is the same every time.
    """

    name: str
    key: str
    order: tuple[str, ...]


OF_LEXICON = (
    View("lexicons", "lexicon", ("lexicon",)),
    View("sources", "lexicon", ("source",)),
    View("relations", "lexicon", ("relation_id",)),
    View("word_relations", "lexicon", ("relation_id", "word_id")),
    View("derivations", "lexicon", ("relation_id",)),
    View("conflicts", "lexicon", ("word_id", "other_id")),
    View("source_overlap", "lexicon", ("type", "source", "other_source")),
    View("glosses", "lexicon", ("gloss_id",)),
    View("forms", "lexicon", ("form_id", "lemma_id", "source", "pos")),
    View("judgements", "name", ("judgement_id",)),
)
OF_DICTIONARY = (
    View("dictionaries", "dictionary", ("dictionary",)),
    View("words", "dictionary", ("word_id",)),
    View("senses", "dictionary", ("sense_id",)),
    View("coverage", "dictionary", ("token_id",)),
    View("polysemy", "dictionary", ("word_id",)),
)


def view_columns(connection: Connection, view: View) -> dict[str, str]:
    """Name to PostgreSQL's type of the view's columns, in order."""
    query = text(
        "SELECT attname, format_type(atttypid, NULL) AS type FROM pg_attribute "
        "WHERE attrelid = CAST(:name AS regclass) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    return {row.attname: row.type for row in connection.execute(query, {"name": f"analytics.{view.name}"})}


def view_rows(view: View) -> str:
    """The statement for the driver that gives all rows of the one that the view's key names."""
    return f"SELECT * FROM analytics.{view.name} WHERE {view.key} = %s ORDER BY {', '.join(view.order)}"
