"""What the kernels rest on: threads of a block that form sums, scans and the like together."""

from pyneedle import _device


def test_thread_blocks_work_together(cuda):
    for _ in range(5):
        assert cuda.team_faults(_device.INDEX) == []
