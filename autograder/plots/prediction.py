"""Ask what will happen before showing it, and remember the answer."""

from __future__ import annotations

from typing import NamedTuple

from autograder.errors import AutograderError

from .widgets import can_show_widgets, show_widget

_LONGEST_BUTTON = 26  # characters; longer choices, or more of them, read better below one another
_MOST_BUTTONS = 4


class Prediction(NamedTuple):
    """What the learner was asked, what they chose, and among what."""

    question: str
    choice: str
    choices: tuple[str, ...]


_made: dict[str, Prediction] = {}


def last_prediction(key: str | None = None) -> Prediction | None:
    """Return the prediction made last, or the last one to the question of that key; None before any."""
    if key is not None:
        return _made.get(key)
    return next(reversed(_made.values()), None)


def predict(question: str, choices, answer: str | None = None, key: str | None = None) -> None:
    """Ask a question with buttons and remember the choice, so that ``plot`` can draw it over what happened.

    ``choices`` is a sequence of texts. Without widgets, or in plain Python, say ``answer=`` (a choice or the
    beginning of one); without that the choices are printed. Asking anew forgets the earlier answer. ``key``
    names the question for ``last_prediction(key)``; by default the question itself does.
    Raises AutograderError when ``answer`` is none of the choices.
    """
    choices = tuple(choices)
    key = question if key is None else key
    _made.pop(key, None)
    if answer is not None:
        _remember(key, Prediction(question, _match(answer, choices), choices))
        print(f"You predict: {_made[key].choice}")
    elif can_show_widgets():
        _ask(key, question, choices)
    else:
        listed = ", ".join(repr(choice) for choice in choices)
        print(f'{question} ... Choose one: {listed}\nthen say so: ag.predict(question, choices, answer="...")')


def _remember(key: str, prediction: Prediction) -> None:
    _made.pop(key, None)
    _made[key] = prediction


def _match(answer: str, choices: tuple[str, ...]) -> str:
    exact = [choice for choice in choices if choice.lower() == answer.lower()]
    fitting = exact or [choice for choice in choices if choice.lower().startswith(answer.lower())]
    if len(fitting) != 1:
        raise AutograderError(
            f"{answer!r} is not one of the choices: {', '.join(map(repr, choices))}. Copy one of them."
        )
    return fitting[0]


def _ask(key: str, question: str, choices: tuple[str, ...]) -> None:
    import ipywidgets

    said = ipywidgets.HTML()
    if len(choices) <= _MOST_BUTTONS and max(map(len, choices)) <= _LONGEST_BUTTON:
        buttons = ipywidgets.ToggleButtons(options=choices, value=None)
        buttons.style.button_width = "auto"
    else:
        buttons = ipywidgets.RadioButtons(options=choices, value=None, layout={"width": "max-content"})

    def note(change):
        _remember(key, Prediction(question, change["new"], choices))
        said.value = "Noted. Run on to see what happens."

    buttons.observe(note, names="value")
    box = ipywidgets.VBox([ipywidgets.HTML(f"<b>{question} ...</b>"), buttons, said])
    show_widget(box, f"{question} ... Choose one: {', '.join(choices)} (buttons, in a running notebook)")
