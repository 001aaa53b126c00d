"""The environment of a kernel that runs student code: what it needs, and nothing else of ours."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from autograder.grading.warm.client import ONE_THREAD

_PASSED_ON = (
    "PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONHASHSEED", "VIRTUAL_ENV", "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF",
    "AUTOGRADER_DEVICE", "AUTOGRADER_CAPACITY", "AUTOGRADER_SIMGPU_DEVICES", "NBGRADER_EXECUTION", "NBGRADER_VALIDATING",
)  # fmt: skip


def kernel_environment(host: Mapping[str, str], scratch: Path, confined: bool) -> dict[str, str]:
    """Return the environment. Files of IPython and matplotlib go to the scratch folder; confined, home is ``/tmp``."""
    environment = {name: host[name] for name in _PASSED_ON if name in host}
    fonts = scratch / "matplotlib"
    _copy_font_list(host, fonts)
    environment |= {
        **ONE_THREAD,
        "HOME": "/tmp" if confined else host.get("HOME", str(scratch)),
        "IPYTHONDIR": str(scratch / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(scratch),
        "MPLCONFIGDIR": str(fonts),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if confined:
        environment["TMPDIR"] = "/tmp"
    return environment


def _copy_font_list(host: Mapping[str, str], to: Path) -> None:
    """Spare the kernel the search for fonts: it takes long and says so on stderr, which scores 0."""
    to.mkdir()
    home = Path(host.get("HOME") or os.path.expanduser("~"))
    cache = host.get("MPLCONFIGDIR") or Path(host.get("XDG_CACHE_HOME") or home / ".cache", "matplotlib")
    with contextlib.suppress(OSError):
        for file in Path(cache).glob("fontlist-*.json"):
            shutil.copy(file, to)
