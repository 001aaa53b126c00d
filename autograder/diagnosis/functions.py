"""Name functions, and the variables that live on them."""

from __future__ import annotations

from collections import OrderedDict

import torch

_HOOK_TABLES = {
    "_forward_hooks": "a forward hook",
    "_forward_pre_hooks": "a forward pre-hook",
    "_backward_hooks": "a backward hook",
    "_backward_pre_hooks": "a backward pre-hook",
    "_state_dict_hooks": "a state-dict hook",
    "_state_dict_pre_hooks": "a state-dict pre-hook",
    "_load_state_dict_pre_hooks": "a load-state-dict hook",
    "_load_state_dict_post_hooks": "a load-state-dict hook",
    "_optimizer_step_pre_hooks": "an optimizer step hook",
    "_optimizer_step_post_hooks": "an optimizer step hook",
    "_post_accumulate_grad_hooks": "a gradient hook",
}


def variable_of_cell(function, cell) -> str:
    """Return the name of the closed-over variable that ``cell`` is."""
    names = function.__code__.co_freevars
    return next((name for name, own in zip(names, function.__closure__) if own is cell), "?")


def variable_of_default(function, value) -> str:
    """Return the name of the positional argument whose default is ``value``."""
    code, defaults = function.__code__, function.__defaults__
    arguments = code.co_varnames[: code.co_argcount][-len(defaults) :]
    return next((name for name, default in zip(arguments, defaults) if default is value), "?")


def describe_function(function, climber, otherwise: str = "closure") -> tuple[str, str]:
    """Return ``(kind, words)``: kind "hook" when the function is registered as one, else ``otherwise``."""
    words = f"function `{function.__name__}`"
    for table in climber.referrers.of(function):
        if isinstance(table, dict):
            hook = _hook_words(table, climber)
            if hook:
                return "hook", f"{words}, {hook}"
    return otherwise, words


def _hook_words(table: dict, climber) -> str | None:
    """Say which hook table this is: of a module (an attribute), or of a tensor (held by C++)."""
    for owner in climber.referrers.of(table):
        if issubclass(type(owner), torch.Tensor):
            return "a hook of a tensor"
        attributes = owner if isinstance(owner, dict) else getattr(owner, "__dict__", {})
        for name, words in _HOOK_TABLES.items():
            if attributes.get(name) is table:
                return f"{words} of {_owner_name(owner, climber)}"
    if isinstance(table, OrderedDict) and table and all(isinstance(key, int) for key in table):
        return "a hook of a tensor or graph node"
    return None


def _owner_name(owner, climber) -> str:
    if not isinstance(owner, dict):
        return type(owner).__name__
    holders = climber.referrers.of(owner)
    return next((type(o).__name__ for o in holders if getattr(o, "__dict__", None) is owner), "a module")
