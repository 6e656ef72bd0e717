"""Cells that wait, equal ones together, in the order of the time that they will take."""

import bisect
import heapq
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Generic, TypeAlias, TypeVar

from pyneedle.sweep._cell import Cell
from pyneedle.sweep._cost import Shape, Speeds, shape_of

_T = TypeVar("_T", bound=Hashable)
_Kind: TypeAlias = tuple[Shape, tuple[object, ...]]
# By a number, and where it is equal by another that no two things share.
_Rank: TypeAlias = tuple[float, int]


class _Ranking(Generic[_T]):
    """Things by their ranks, the first being that of the highest."""

    def __init__(self, ranks: Mapping[_T, _Rank]) -> None:
        self._ranks = dict(ranks)
        self._ascending = sorted(((rank, thing) for thing, rank in ranks.items()), key=itemgetter(0))

    def __len__(self) -> int:
        return len(self._ascending)

    def __contains__(self, thing: _T) -> bool:
        return thing in self._ranks

    def __getitem__(self, place: int) -> tuple[_Rank, _T]:
        return self._ascending[-1 - place]

    def remove(self, thing: _T) -> None:
        del self._ascending[bisect.bisect_left(self._ascending, self._ranks.pop(thing), key=itemgetter(0))]

    def put(self, thing: _T, rank: _Rank) -> None:
        if thing in self._ranks:
            self.remove(thing)
        self._ranks[thing] = rank
        bisect.insort(self._ascending, (rank, thing), key=itemgetter(0))


class Waiting:
    """Cells that wait, by kind, the longest first by what is known of speeds at the time.

    Kinds of one shape differ in their steps alone, so that their order stays as it is; a shape changes its place when
    its speed is learnt. What it takes to find and to remove a cell hardly grows with the number of kinds.

    Parameters
    ----------
    cells : sequence of Cell
        All of them.
    speeds : Speeds
        Known so far, and learnt meanwhile.
    kind : callable
        What must agree within a kind, beside the shape.
    """

    def __init__(self, cells: Sequence[Cell], speeds: Speeds, kind: Callable[[Cell], tuple[object, ...]]) -> None:
        self._speeds, self._kind = speeds, kind
        self._count = len(cells)
        self._cells: dict[_Kind, deque[Cell]] = {}
        for cell in cells:
            self._cells.setdefault((shape_of(cell), kind(cell)), deque()).append(cell)
        ranks: dict[Shape, dict[_Kind, _Rank]] = {}
        for i, (key, same) in enumerate(self._cells.items()):
            ranks.setdefault(key[0], {})[key] = (same[0].steps, -i)
        self._kinds = {shape: _Ranking(kinds) for shape, kinds in ranks.items()}
        self._learnt = speeds.watch()
        self._step_seconds = {shape: self._asked(shape) for shape in self._kinds}
        self._shapes = _Ranking({shape: self._rank(shape, 0) for shape in self._kinds})

    def __len__(self) -> int:
        """Number of cells that wait."""
        return self._count

    def longest(self) -> Iterator[Sequence[Cell]]:
        """The cells of each kind, the kind whose runs take longest first; ends when cells are removed."""
        self._settle()
        heap: list[tuple[float, int, Shape, int, int]] = []

        def push(shape: Shape, place: int, kind: int) -> None:
            seconds, order = self._rank(shape, kind)
            heapq.heappush(heap, (-seconds, -order, shape, place, kind))

        if self._shapes:
            push(self._shapes[0][1], 0, 0)
        while heap:
            _, _, shape, place, kind = heapq.heappop(heap)
            yield self._cells[self._kinds[shape][kind][1]]
            if kind + 1 < len(self._kinds[shape]):
                push(shape, place, kind + 1)
            # What follows a shape has no kind that goes before the shape's first one.
            if kind == 0 and place + 1 < len(self._shapes):
                push(self._shapes[place + 1][1], place + 1, 0)

    def like(self, cell: Cell) -> Sequence[Cell]:
        """Those that wait of the kind of `cell`, itself one of them."""
        return self._cells[shape_of(cell), self._kind(cell)]

    def take(self, like: Cell, count: int) -> tuple[Cell, ...]:
        """Remove so many of the kind of `like`, the first ones."""
        kind = (shape_of(like), self._kind(like))
        waiting = self._cells[kind]
        cells = tuple(waiting.popleft() for _ in range(count))
        self._count -= count
        if not waiting:
            del self._cells[kind]
            self._remove(kind)
        return cells

    def _remove(self, kind: _Kind) -> None:
        shape, _ = kind
        kinds = self._kinds[shape]
        kinds.remove(kind)
        if kinds:
            self._shapes.put(shape, self._rank(shape, 0))
        else:
            del self._kinds[shape]
            self._shapes.remove(shape)

    def _settle(self) -> None:
        """Put the shapes in their places whose speeds were learnt since the last time."""
        while self._learnt:
            shape = self._learnt.pop()
            if shape in self._shapes:
                self._step_seconds[shape] = self._asked(shape)
                self._shapes.put(shape, self._rank(shape, 0))

    def _asked(self, shape: Shape) -> float:
        _, kind = self._kinds[shape][0]
        return self._speeds.step_seconds(self._cells[kind][0])

    def _rank(self, shape: Shape, place: int) -> _Rank:
        (steps, order), _ = self._kinds[shape][place]
        return steps * self._step_seconds[shape], order
