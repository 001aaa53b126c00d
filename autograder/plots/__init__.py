"""Pictures of memory, and the widgets around them.

Names load on first use: a notebook that draws nothing never imports matplotlib, and one that asks nothing
never imports ipywidgets.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from importlib import import_module

_HOME = {
    "plot": "drawing",
    "block_map": "blocks",
    "storage_map": "storages",
    "predict": "prediction",
    "last_prediction": "prediction",
    "explore": "explorer",
}

__all__ = ["block_map", "explore", "last_prediction", "plot", "predict", "storage_map"]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers: {', '.join(__all__)}")
    with _no_word_from("matplotlib"):
        module = import_module(f"{__name__}.{_HOME[name]}")
    return getattr(module, name)


@contextmanager
def _no_word_from(library: str):
    """Keep a library's first import silent: matplotlib logs to stderr while it builds its font cache."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
