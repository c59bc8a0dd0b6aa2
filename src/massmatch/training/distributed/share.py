"""Several processes that train one network together, and what falls to each."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Share(NamedTuple):
    """One process of several: its number (`rank`, from 0), and how many there are (`of`)."""

    rank: int = 0
    of: int = 1

    def part(self, items: Sequence[T]) -> list[T]:
        """Every `of`-th item, beginning with number `rank`: so each item falls to exactly one process."""
        return list(items[self.rank :: self.of])

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and reports progress for all."""
        return self.rank == 0


ALONE = Share()
