"""`make bench-build`: the stages of a build, each against a named peer in the same run."""

from __future__ import annotations

import harvest
import kmeans
import workers
from common import write

if __name__ == "__main__":
    write("build", [row for part in (harvest, kmeans, workers) for row in part.rows()])
