"""What PyTorch's own table, native_functions.yaml, says of each operator: who has a kernel, who checks devices."""

from __future__ import annotations

import re
from functools import lru_cache

from autograder.simgpu import compat

_KEYS = re.compile(r"    ([A-Za-z0-9, ]+):")


@lru_cache(None)
def with_kernel_for(key: str) -> frozenset[str]:
    """Operators that list a kernel for a dispatch key such as "CUDA", themselves or through their structured twin."""
    keys, delegates, _ = _table()
    own = {name for name, found in keys.items() if key in found}
    return frozenset(own | {name for name, twin in delegates.items() if key in keys.get(twin, ())})


@lru_cache(None)
def device_checked() -> frozenset[str]:
    """Operators whose CUDA wrapper refuses tensors of several devices, those of no dimensions included.

    torchgen writes that check (RegisterDispatchKey.gen_device_check) into each CUDA kernel unless the table says
    ``device_check: NoCheck``, as it does where TensorIterator checks, which lets pass a CPU tensor of no dimensions.
    """
    return with_kernel_for("CUDA") - _table()[2]


@lru_cache(None)
def cpu_only() -> frozenset[str]:
    """Operators with a kernel for the CPU, none for CUDA, and none made of other operators."""
    keys = _table()[0]
    composite = {name for name, found in keys.items() if any(key.startswith("Composite") for key in found)}
    return with_kernel_for("CPU") - with_kernel_for("CUDA") - composite


@lru_cache(None)
def _table() -> tuple[dict[str, set[str]], dict[str, str], frozenset[str]]:
    """Dispatch keys by operator, structured twins by operator, and the operators without a device check."""
    keys: dict[str, set[str]] = {}
    delegates: dict[str, str] = {}
    unchecked = set()
    current = None
    with open(compat.operator_table(), encoding="utf-8") as table:
        for line in table:
            if line.startswith("- func:"):
                current = line[len("- func:") :].split("(")[0].strip()
            elif line.startswith("  structured_delegate:"):
                delegates[current] = line.split(":")[1].strip()
            elif line.startswith("  device_check: NoCheck"):
                unchecked.add(current)
            elif line.startswith("  ufunc_inner_loop:"):  # torchgen writes its kernels, for the CPU and for CUDA
                keys.setdefault(current, set()).update(("CPU", "CUDA"))
            elif current and (found := _KEYS.match(line)):
                keys.setdefault(current, set()).update(key.strip() for key in found[1].split(","))
    return keys, delegates, frozenset(unchecked)
