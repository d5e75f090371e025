"""Which blocks of a set one rank still sees to, and taking the next of them.

A block is a range of indices. Every rank has a share of the blocks, ``rank::world_size``, and when
that is done turns to the others': nothing is agreed on between ranks, except through claims.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dit_accel.runs.claims import ClaimBoard
from dit_accel.runs.folder import RunFolder
from dit_accel.runs.manifest import ImageRecord
from dit_accel.runs.manifest_reading import ManifestTail
from dit_accel.runs.reading import missing, unreadable
from dit_accel.sampling.ranks.shard import Shard


def share_first(num_blocks: int, shard: Shard) -> list[int]:
    """Every block in the order in which a rank turns to them: its own share, then the others'.

    A rank comes to another's share from its end, where the owner itself comes last, and to the
    share of the rank behind its own first, so that several ranks that are done part the rest.
    """
    order = list(range(shard.rank, num_blocks, shard.world_size))
    for distance in range(1, shard.world_size):
        owner = (shard.rank + distance) % shard.world_size
        order += reversed(range(owner, num_blocks, shard.world_size))
    return order


@dataclass(frozen=True)
class TakenBlock:
    """A block that this process has claimed.

    Attributes:
        number: of the block.
        indices: all of its images.
        absent: those to make.
        records: of the images that are there.
        former: who had claimed it and died, if somebody had.
    """

    number: int
    indices: range
    absent: tuple[int, ...]
    records: Mapping[int, ImageRecord]
    former: str | None


class OpenBlocks:
    """The blocks that are not known to be complete.

    The own share is decoded once, at the start, and compared with its records; of the others'
    blocks, those with a record for every image are taken as complete, since their owners do that.

    Attributes:
        unreadable: images of the own share whose files are missing, damaged or others.
    """

    def __init__(self, folder: RunFolder, board: ClaimBoard, shard: Shard, *, steal: bool) -> None:
        self._folder, self._board, self._tail = folder, board, ManifestTail(folder)
        self._blocks = folder.blocks()
        share = range(shard.rank, len(self._blocks), shard.world_size)
        self._open = share_first(len(self._blocks), shard) if steal else list(share)
        records = self._tail.refresh()
        own = [records[i] for number in share for i in self._blocks[number] if i in records]
        self.unreadable = frozenset(unreadable(folder, own, thorough=True))
        self._drop_complete()

    def __len__(self) -> int:
        """Blocks that are left to see to."""
        return len(self._open)

    def take(self) -> TakenBlock | None:
        """Claim the next block in which something is missing.

        Returns:
            None if every block that is left is in other processes' hands, or none is left.
        """
        self._drop_complete()
        for number in tuple(self._open):
            former = self._board.holder(number)
            if not self._board.claim(number):
                continue
            self._open.remove(number)
            taken = self._look_at(number, former)
            if taken.absent:
                return taken
            self._board.release(number)
        return None

    def holders(self) -> str:
        """Which processes have the blocks that are left, for a line to show."""
        claims = {number: self._board.holder(number) for number in self._open}
        parts = [f"block {number}: {name}" for number, name in claims.items() if name]
        return "; ".join(parts[:3] + ["…"] * (len(parts) > 3))

    def _look_at(self, number: int, former: str | None) -> TakenBlock:
        # Only now, with the claim in hand, does what is there stay as it is.
        records, indices = self._tail.refresh(), self._blocks[number]
        absent = set(missing(self._folder, indices, records))
        found = [records[i] for i in indices if i not in absent]
        absent |= unreadable(self._folder, found, thorough=True)
        there = {record.index: record for record in found if record.index not in absent}
        return TakenBlock(number, indices, tuple(sorted(absent)), there, former)

    def _drop_complete(self) -> None:
        records = self._tail.refresh()
        self._open = [
            number
            for number in self._open
            if any(i not in records or i in self.unreadable for i in self._blocks[number])
        ]
