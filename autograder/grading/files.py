"""A submission's files, put into a folder that nothing can lead out of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath


def unpack(files: Mapping[str, bytes], folder: Path) -> list[str]:
    """Write files below an empty folder; return a remark for each whose name is not a plain relative path.

    Names use ``/``. Nothing here is ever a link, so a name without ``..`` cannot lead out.
    """
    remarks = []
    for name, content in files.items():
        path = PurePosixPath(name)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
            remarks.append(f"the file {name!r} was left out: its name is not a path inside the submission")
            continue
        try:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            remarks.append(f"the file {name!r} was left out: {error.strerror}")
    return remarks
