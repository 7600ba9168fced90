"""Objectives: sums of terms, by name."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from sensedict.errors import InvalidInput
from sensedict_trainer.distil import terms
from sensedict_trainer.distil.terms.term import Term

# Sums that have a name of their own.
NAMED = {
    "kd": ("ce", "kl"),
    "dskd": ("ce", "kl", "sense"),
    "kd+mse": ("ce", "kl", "mse"),  # the control: DSKD's positions, no senses
}


@cache
def kinds() -> dict[str, type[Term]]:
    """Every term there is, by the name of its file in `distil/terms`."""
    modules = {found.name: import_module(f"{terms.__name__}.{found.name}") for found in iter_modules(terms.__path__)}
    return {name: module.TERM for name, module in modules.items() if hasattr(module, "TERM")}


def term_names(objective: str) -> tuple[str, ...]:
    """The terms of an objective: `dskd`, or a sum as `ce + kl + sense`.

    >>> term_names("dskd")
    ('ce', 'kl', 'sense')
    >>> term_names("ce + rkl")
    ('ce', 'rkl')

    Raises:
        InvalidInput: an unknown name, or one twice.
    """
    if objective in NAMED:
        return NAMED[objective]
    names = tuple(name.strip() for name in objective.split("+"))
    for name in names:
        if name not in kinds():
            near = difflib.get_close_matches(name, [*kinds(), *NAMED], 1)
            raise InvalidInput(
                f"the objective {objective!r} has no term {name!r}"
                + (f", is {near[0]!r} meant?" if near else ":")
                + f" write one of {', '.join(NAMED)}, or a sum of {', '.join(sorted(kinds()))}"
            )
    if len(set(names)) < len(names):
        raise InvalidInput(f"the objective {objective!r} has a term twice: give it a weight instead")
    return names
