"""Whether widgets can be shown here, and how to show one that still reads well where it cannot live."""

from __future__ import annotations

import importlib.util
import sys


def can_show_widgets() -> bool:
    """True in a notebook kernel with ipywidgets installed."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None and importlib.util.find_spec("ipywidgets") is not None


def show_widget(widget, instead: str) -> None:
    """Display a widget; a page without widget state (nbconvert, a feedback file) shows the text ``instead``."""
    from IPython.display import display

    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    display({"application/vnd.jupyter.widget-view+json": view, "text/plain": instead}, raw=True)
