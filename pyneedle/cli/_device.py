"""The option --device."""

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyneedle._device import Device


class DeviceChoice(str, Enum):
    """Where runs are trained."""

    cpu = "cpu"
    cuda = "cuda"

    @property
    def device(self) -> "Device":
        """As the library calls it."""
        return "cuda" if self is DeviceChoice.cuda else "cpu"
