"""What a published id map says of some senses."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import pyarrow.compute as pc
import pyarrow.parquet as pq

from sensedict import wire


def moves_of(content: bytes, old: Sequence[int], new: Sequence[int]) -> list[wire.SenseMove]:
    """The rows of a map, a Parquet file, in which one of those old or of those new senses stands, by old then new id.

    A new sense that a sense of another owner was matched with does not occur: maps pair the senses of one owner.
    """
    wanted = pc.field("old_id").isin(list(old)) | pc.field("new_id").isin(list(new))
    rows = pq.read_table(BytesIO(content), filters=wanted).to_pylist()
    moves = [wire.SenseMove(old=row.pop("old_id"), new=row.pop("new_id"), **row) for row in rows]
    last = max([*old, *new], default=0) + 1
    return sorted(moves, key=lambda move: (last if move.old is None else move.old, move.new or 0))
