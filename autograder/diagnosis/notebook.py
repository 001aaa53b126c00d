"""What IPython keeps: ``Out[n]``, ``_``, ``__``, ``___`` and ``_n``."""

from __future__ import annotations

import re
import sys

from .chains import Anchor

_LAST_RESULTS = re.compile(r"_{1,3}|_\d+")


class NotebookNames:
    """Knows the namespaces of the running IPython, if there is one."""

    def __init__(self):
        self._out = self._names = None
        self._copies = []
        shell = _shell()
        if shell is not None:
            self._names = shell.user_ns
            self._out = shell.user_ns.get("_oh")
            self._copies = [shell.user_ns_hidden, vars(shell.displayhook)]

    def owns(self, mapping: dict) -> bool:
        return self._names is not None and any(mapping is own for own in (self._names, self._out, *self._copies))

    def anchors(self, mapping: dict, keys: list) -> list[Anchor]:
        """Name an entry of ``Out`` once, as ``Out[n]``; a variable of the notebook as a global.

        IPython's own copies of ``_`` get the same name.
        """
        if mapping is self._out:
            return [Anchor("out", "IPython's", f"Out[{key}]", "(a cell's last expression)") for key in keys]
        anchors = [Anchor("global", "global", key) for key in keys if not _LAST_RESULTS.fullmatch(key)]
        kept = [key for key in keys if re.fullmatch(r"_{1,3}", key)]
        if kept:
            anchors.append(Anchor("out", "IPython's", kept[0], "(the result of an earlier cell)"))
        return anchors


def _shell():
    """Return the running InteractiveShell without importing IPython for those who do not use it."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None
