"""A table as LaTeX, for a paper: `booktabs` is all that it needs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sensedict_trainer.document import Table

_MARKS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "‖": r"$\|$",
    "²": r"$^2$",
    "⁺": r"$^+$",
    "⁻": r"$^-$",
    "λ": r"$\lambda$",
    "α": r"$\alpha$",
    "–": "--",
    "…": r"\ldots{}",
}


def to_latex(table: Table, label: str) -> str:
    """The table as a `table` environment; its caption stands under it.

    >>> print(to_latex(Table(["run", "KL"], [["λ=1", "2.1 ± 0.1"]]), "tab:x").splitlines()[5])
    $\\lambda$=1 & 2.1 $\\pm$ 0.1 \\\\
    """
    columns = "l" * table.left + "r" * (len(table.header) - table.left)
    lines = [
        r"\begin{table}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _row(table.header),
        r"\midrule",
        *map(_row, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if table.caption:
        lines.append(rf"\caption{{{_escaped(table.caption)}}}")
    return "\n".join([*lines, rf"\label{{{label}}}", r"\end{table}", ""])


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(_escaped, cells)) + r" \\"


def _escaped(text: str) -> str:
    return re.sub("|".join(map(re.escape, _MARKS)), lambda found: _MARKS[found.group()], text)
