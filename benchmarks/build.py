"""`make bench-build`: the stages of a build, each against a named peer in the same run."""

from __future__ import annotations

import harvest
import kmeans
from common import write

if __name__ == "__main__":
    write("build", [row for part in (harvest, kmeans) for row in part.rows()])
