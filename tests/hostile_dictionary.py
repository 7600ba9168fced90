"""The tiny dictionary with texts that would be markup, scripts or addresses if a page took them for more than text."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Engine

from sensedict_server.build.contents import Draft
from tiny_dictionary import TOKENS, insert_lexicon, make_draft

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
    return insert_lexicon(engine, "hostile", spelt=SPELT, sources_of=SOURCES, glossed=GLOSSES)


def hostile_draft(engine: Engine) -> Draft:
    """`tiny@1` over that lexicon; its first token's passages and one token's text are hostile too."""
    draft = make_draft(*insert_hostile_lexicon(engine))
    texts = [text for text, _ in TOKENS]
    texts[TOKEN] = f" {IMAGE}"
    contexts = [list(passages) for passages in draft.tokens.contexts]
    contexts[0] = CONTEXTS  # of " hot"
    return replace(draft, tokens=replace(draft.tokens, texts=texts, contexts=contexts))
