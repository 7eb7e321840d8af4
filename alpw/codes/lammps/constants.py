"""Variables of a LAMMPS input that are plain numbers."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

_KEEPS_FIRST = frozenset({"index", "loop"})
"""Kinds of variable that LAMMPS does not define again."""

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


class Constants:
    """The variables that are numbers, in the order of the file."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}

    def get(self, name: str) -> float | None:
        """The number that a variable is, None if it is none."""
        return self._values.get(name)

    def define(self, name: str, style: str, words: Sequence[str]) -> bool:
        """Take in ``variable name style words``.

        Returns:
            Whether it means the same at any time of the trajectory.
        """
        if style in _KEEPS_FIRST and name in self._values:
            return True
        self._values.pop(name, None)
        if style not in {"equal", "string", "index"} or not words:
            return style in {"delete", "getenv"}
        value = self.value("".join(words) if style == "equal" else words[0])
        if value is not None:
            self._values[name] = value
        return value is not None or style != "equal"

    def value(self, text: str) -> float | None:
        """The number that an expression of numbers and known variables is, None if it is none."""
        plain = re.sub(r"\$\{(\w+)\}|\$(\w)|\bv_(\w+)", self._insert, text.strip("\"'"))
        try:
            return _evaluate(ast.parse(plain.replace("^", "**"), mode="eval").body)
        except (SyntaxError, ValueError, TypeError, ArithmeticError):
            return None

    def _insert(self, found: re.Match[str]) -> str:
        value = self._values.get(found[1] or found[2] or found[3])
        return "unknown" if value is None else f"({value!r})"


def _evaluate(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.UnaryOp(op, operand) if type(op) in _OPERATORS:
            return float(_OPERATORS[type(op)](_evaluate(operand)))
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            return float(_OPERATORS[type(op)](_evaluate(left), _evaluate(right)))
    raise ValueError("not a number")
