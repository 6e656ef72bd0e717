"""Data sets that runs share: each is drawn, or read, once and kept while there is room."""

import threading
from collections import OrderedDict

from pyneedle._datasets import Dataset
from pyneedle.sweep._cell import Cell
from pyneedle.sweep._cost import dataset_bytes

# The last is the hash of own data, empty for drawn ones.
DataKey = tuple[str, int, int, int, str, str, str]


def data_key(cell: Cell) -> DataKey:
    """What a data set is determined by."""
    own = "" if cell.data is None else cell.data.sha256
    return (cell.target, cell.d, cell.n_samples, cell.data_seed, cell.sort, cell.dtype, own)


class DatasetCache:
    """Draws data sets on demand, each once, and drops those used longest ago; for threads.

    Parameters
    ----------
    limit : int
        Bytes of the data sets that are kept beyond their use.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._drawing: dict[DataKey, threading.Lock] = {}
        self._kept: OrderedDict[DataKey, tuple[Dataset, int]] = OrderedDict()
        self._size = 0  # of those kept

    def get(self, cell: Cell) -> Dataset:
        """The data set of a cell; a second caller waits for the first one's drawing."""
        key = data_key(cell)
        with self._lock:
            drawing = self._drawing.setdefault(key, threading.Lock())
        with drawing:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key][0]
            dataset = cell.make_dataset()
            with self._lock:
                self._kept[key] = (dataset, dataset_bytes(cell))
                self._size += dataset_bytes(cell)
                self._drop()
            return dataset

    def _drop(self) -> None:
        while len(self._kept) > 1 and self._size > self._limit:
            _, (_, size) = self._kept.popitem(last=False)
            self._size -= size
