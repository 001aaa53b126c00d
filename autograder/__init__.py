"""Why GPU memory grows, and how to make it flat: the package the notebooks import as ``ag``.

Everything a learner needs is in ``__all__``; names load on first use, so that
``import autograder`` is cheap and never touches torch's device registry.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "setup": ("autograder.session", "setup"),
    "device_module": ("autograder.session", "device_module"),
    "record": ("autograder.trace", "record"),
    "Trace": ("autograder.trace", "Trace"),
    "diagnose": ("autograder.diagnosis", "diagnose"),
    "traffic": ("autograder.diagnosis", "traffic"),
    "plot": ("autograder.plots", "plot"),
    "block_map": ("autograder.plots", "block_map"),
    "storage_map": ("autograder.plots", "storage_map"),
    "predict": ("autograder.plots", "predict"),
    "explore": ("autograder.plots", "explore"),
    "check": ("autograder.checks", None),
    "hint": ("autograder.hints", "hint"),
    "human": ("autograder.units", "human"),
    "progress": ("autograder.journal.standing", "progress"),
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'autograder' has no attribute {name!r}; it offers: {', '.join(__all__)}")
    module_name, attribute = _HOME[name]
    module = import_module(module_name)
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
