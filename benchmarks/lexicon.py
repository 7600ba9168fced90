"""`make bench-lexicon`: reading, loading, querying and composing, each against a named peer in the same run."""

from __future__ import annotations

import composition
import lexicon_loading
import lexicon_queries
import lexicon_reading
from common import write

if __name__ == "__main__":
    parts = (lexicon_reading, lexicon_loading, lexicon_queries, composition)
    write("lexicon", [row for part in parts for row in part.rows()])
