"""Knobs around a recording: move one, and it runs and draws again."""

from __future__ import annotations

import inspect
from html import escape

from autograder.errors import AutograderError
from autograder.trace.unsolved import unsolved

from .drawing import plot
from .figure import MemoryFigure
from .widgets import can_show_widgets, show_widget


def explore(fn, **knobs) -> MemoryFigure | None:
    """Run ``fn(**knobs)`` and draw the Trace, or the pair (before, after), that it returns; again at each change.

    ``fn`` may also return a figure made by ``plot``, which is shown as it is.

    A knob is ``(lowest, highest)`` or ``(lowest, highest, step)``, a slider of whole numbers unless one of them
    is a float; True or False, a checkbox; or a list of choices. It starts at the default of ``fn``'s own argument
    where that fits. An error in ``fn`` is shown as one message in place of the plot.

    In a notebook this shows the knobs and below them the plot, an ordinary output that stays when the notebook is
    exported, and returns None. Where widgets cannot run it runs ``fn`` once and returns the figure.
    Raises AutograderError for a knob that is none of these, or that ``fn`` has no argument for.
    """
    chosen = {name: Knob(name, spec, _default_of(fn, name)) for name, spec in knobs.items()}
    _check_names(fn, chosen)
    start = {name: knob.value for name, knob in chosen.items()}
    if not can_show_widgets():
        return _picture(fn, start)
    _show(fn, chosen, start)
    return None


class Knob:
    """One argument of ``fn``: what it may be, and what it is at first."""

    def __init__(self, name: str, spec, default):
        self.name = name
        if isinstance(spec, bool):
            self.kind, self.options = "checkbox", (False, True)
            self.value = spec
        elif isinstance(spec, list) and spec:
            self.kind, self.options = "choice", tuple(spec)
            self.value = default if default in spec else spec[0]
        elif _is_range(spec):
            self.kind = "float" if any(isinstance(number, float) for number in spec) else "int"
            self.options = spec if len(spec) == 3 else (*spec, 1 if self.kind == "int" else (spec[1] - spec[0]) / 20)
            self.value = default if _is_number(default) and spec[0] <= default <= spec[1] else spec[0]
        else:
            raise AutograderError(
                f"the knob {name}={spec!r} is no range (lowest, highest[, step]), no True or False, and no list of choices"
            )

    def widget(self, label_width: str):
        """Return its control; sliders answer when released, not while they move."""
        import ipywidgets

        common = {"value": self.value, "description": self.name, "style": {"description_width": label_width}}
        if self.kind == "checkbox":
            return ipywidgets.Checkbox(**common)
        if self.kind == "choice":
            return ipywidgets.Dropdown(options=self.options, **common)
        slider = ipywidgets.IntSlider if self.kind == "int" else ipywidgets.FloatSlider
        low, high, step = self.options
        return slider(min=low, max=high, step=step, continuous_update=False, layout={"width": "420px"}, **common)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_range(spec) -> bool:
    return isinstance(spec, tuple) and len(spec) in (2, 3) and all(map(_is_number, spec)) and spec[0] < spec[1]


def _default_of(fn, name: str):
    parameter = inspect.signature(fn).parameters.get(name)
    return None if parameter is None or parameter.default is inspect.Parameter.empty else parameter.default


def _check_names(fn, knobs) -> None:
    try:
        inspect.signature(fn).bind(**knobs)
    except TypeError as error:
        name = getattr(fn, "__name__", "the function")
        raise AutograderError(f"explore() cannot call {name}({', '.join(knobs)}): {error}") from None


def _picture(fn, values: dict) -> MemoryFigure:
    result = fn(**values)
    if isinstance(result, MemoryFigure):
        return result
    if isinstance(result, tuple) and len(result) == 2:
        return plot(before=result[0], after=result[1])
    return plot(result, prediction=False)


def _show(fn, knobs: dict[str, Knob], start: dict) -> None:
    """Show the knobs, then the plot as an output of its own, so that an exported notebook has it."""
    import ipywidgets
    from IPython.display import display

    label_width = f"{max(map(len, knobs), default=0)}ch"
    controls = {name: knob.widget(label_width) for name, knob in knobs.items()}
    state = ipywidgets.HTML()
    listed = ", ".join(f"{name} = {value}" for name, value in start.items())
    show_widget(ipywidgets.VBox([*controls.values(), state]), f"Drawn with {listed} (knobs, in a running notebook)")
    slot = display(_outcome(fn, start), raw=True, display_id=True)

    def again(_change):
        state.value = "<i>Recording ...</i>"
        slot.update(_outcome(fn, {name: control.value for name, control in controls.items()}), raw=True)
        state.value = ""

    for control in controls.values():
        control.observe(again, names="value")


def _outcome(fn, values: dict) -> dict:
    """Return what to show, as one bundle: the picture, or the error in one line."""
    try:
        return _picture(fn, values)._repr_mimebundle_()[0]
    except Exception as error:  # noqa: BLE001 - whatever the learner's function raises is shown, not raised
        message = unsolved(error)
        if message:
            return {"text/html": f'<p role="alert">{escape(message)}</p>', "text/plain": message}
        called = ", ".join(f"{name}={value!r}" for name, value in values.items())
        message = f"{type(error).__name__} with {called}: {error}"
        return {"text/html": f'<p role="alert"><b>This run failed.</b> {escape(message)}</p>', "text/plain": message}
