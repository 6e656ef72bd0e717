"""Sweeps: many trainings described as data, run on this machine or a Ray cluster, and kept in one file."""

from pyneedle.sweep._cell import Cell
from pyneedle.sweep._data_file import DataFile
from pyneedle.sweep._errors import StoreError
from pyneedle.sweep._estimate import Estimate, ShapeEstimate
from pyneedle.sweep._frame import read_results, write_csv, write_parquet
from pyneedle.sweep._store import Store
from pyneedle.sweep._sweep import Sweep, SweepSettings

__all__ = [
    "Cell",
    "DataFile",
    "Estimate",
    "ShapeEstimate",
    "Store",
    "StoreError",
    "Sweep",
    "SweepSettings",
    "read_results",
    "write_csv",
    "write_parquet",
]
