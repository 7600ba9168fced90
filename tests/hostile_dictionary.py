"""The tiny dictionary with texts that would be markup, scripts or addresses if a page took them for more than text."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Engine, insert, update

from sensedict_server.build.contents import Draft
from sensedict_server.tables import glosses, lexicons, relation_sources, relations, words
from tiny_dictionary import RELATIONS, TOKENS, WORDS, make_draft

IMAGE = '<img src=x onerror="window.hurt=1">'
SCRIPT = "</script><script>window.hurt=2</script>"
ADDRESS = "javascript:window.hurt=3"
HEBREW = "שלום עולם"
LONG = "Donaudampfschifffahrtsgesellschaft" * 6
# Words of `tiny_dictionary` as they are spelt here.
SPELT = {"and/or": IMAGE, "frosty": SCRIPT, "unkind": ADDRESS, "New York": HEBREW, "naïve": LONG}
TOKEN = 11  # " cat", in no relation: here it reads as markup
CONTEXTS = [
    (f"👩‍🔬 it was 𝒽ot: {IMAGE} and so on", 11, 14),  # characters of two and of several UTF-16 units before it
    (f"{SCRIPT} It was hot there.", 48, 51),
]
GLOSSES = [("hot", "adjective", f"of {IMAGE} great warmth"), ("hot", None, "javascript:window.hurt=4")]
SOURCES = {"thesaurus": ("CC-BY-4.0", "2"), "opposites": (f"Apache-2.0 {IMAGE}", "1")}


def insert_hostile_lexicon(engine: Engine) -> tuple[int, dict[str, int]]:
    """Store and publish the tiny relations under those spellings; gives the lexicon's id and the words', as `WORDS`."""
    with engine.begin() as connection:
        lexicon = connection.execute(
            insert(lexicons).values(name="hostile", version="1").returning(lexicons.c.id)
        ).scalar_one()
        ids = {
            word: connection.execute(
                insert(words).values(text=SPELT.get(word, word)).returning(words.c.id)
            ).scalar_one()
            for word in WORDS
        }
        sources = {
            name: connection.execute(
                insert(relation_sources)
                .values(lexicon_id=lexicon, name=name, licence=licence, version=version)
                .returning(relation_sources.c.id)
            ).scalar_one()
            for name, (licence, version) in SOURCES.items()
        }
        for word, pos, text in GLOSSES:
            of = {"lexicon_id": lexicon, "source_id": sources["thesaurus"], "word_id": ids[word]}
            connection.execute(insert(glosses).values(**of, pos=pos, text=text))
        rows: list[int] = []
        for word, other, type_, source, rule, parent, conflict in RELATIONS:
            low, high = sorted((ids[word], ids[other]))
            row = insert(relations).values(
                lexicon_id=lexicon,
                word_id=low,
                other_id=high,
                type=type_,
                source_id=sources[source],
                rule=rule,
                parent_id=None if parent is None else rows[parent],
                conflict=conflict,
            )
            rows.append(connection.execute(row.returning(relations.c.id)).scalar_one())
        connection.execute(update(lexicons).where(lexicons.c.id == lexicon).values(state="published"))
    return lexicon, ids


def hostile_draft(engine: Engine) -> Draft:
    """`tiny@1` over that lexicon; its first token's passages and one token's text are hostile too."""
    draft = make_draft(*insert_hostile_lexicon(engine))
    texts = [text for text, _ in TOKENS]
    texts[TOKEN] = f" {IMAGE}"
    contexts = [list(passages) for passages in draft.tokens.contexts]
    contexts[0] = CONTEXTS  # of " hot"
    return replace(draft, tokens=replace(draft.tokens, texts=texts, contexts=contexts))
