"""The student API is a promise: a name is added or removed here on purpose, or not at all."""

import importlib
import pkgutil

import autograder as ag
from autograder import errors


def test_public_names_are_pinned():
    assert ag.__all__ == [
        "Trace", "block_map", "check", "device_module", "diagnose", "explore",
        "hint", "human", "plot", "predict", "progress", "record", "setup", "storage_map", "traffic",
    ]  # fmt: skip


def test_every_public_name_loads():
    for name in ag.__all__:
        assert getattr(ag, name) is not None


def test_a_wrong_name_lists_the_right_ones():
    try:
        ag.recrod
    except AttributeError as error:
        assert "record" in str(error)
    else:
        raise AssertionError("a name that does not exist was found")


def _descendants(kind):
    return {kind, *(low for sub in kind.__subclasses__() for low in _descendants(sub))}


def test_the_tree_of_errors_is_whole():
    """Is every error of the package defined in errors.py, and drawn in its tree?"""
    for module in pkgutil.walk_packages(ag.__path__, "autograder."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = [kind for kind in _descendants(errors.AutograderError) if kind.__module__.startswith("autograder")]
    assert [kind.__name__ for kind in ours if kind.__module__ != "autograder.errors"] == []
    assert [kind.__name__ for kind in ours if f" {kind.__name__}" not in errors.__doc__ + " AutograderError"] == []
