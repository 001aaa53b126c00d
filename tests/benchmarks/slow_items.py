"""Items for ``test_on_gpu.py`` of which each takes its time."""

import time


def items(device):
    return [f"slow {number}" for number in range(100)]


def run(item, device):
    time.sleep(0.2)
    yield item, "x" * 1000
