"""One setting: an attrs field that carries the name of its environment variable, its parser and its documentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from attrs import frozen


@frozen
class Variable:
    """The environment variable behind a field.

    :ivar name: the variable's name.
    :ivar parse: converts its text; raises :exc:`ValueError` with what the variable must be.
    :ivar doc: what it sets, in Markdown, for ``docs/configuration.md`` and ``.env.example``.
    :ivar aliases: other names that count when the variable itself is not set.
    :ivar is_secret: whether the value must not be shown, and can be in a file that ``NAME_FILE`` names.
    :ivar may_be_empty: whether the empty string is a value; otherwise it counts as not set.
    """

    name: str
    parse: Callable[[str], object]
    doc: str
    aliases: tuple[str, ...] = ()
    is_secret: bool = False
    may_be_empty: bool = False

    @property
    def file_name(self) -> str:
        """The variable that names a file with the value, for a secret."""
        return f"{self.name}_FILE"


def setting(
    name: str,
    default: object,
    parse: Callable[[str], object],
    doc: str,
    *aliases: str,
    is_secret: bool = False,
    may_be_empty: bool = False,
) -> Any:
    """A field of a settings group, with the :class:`Variable` that it is read from."""
    variable = Variable(name, parse, doc, aliases, is_secret, may_be_empty)
    return attrs.field(default=default, kw_only=True, repr=not is_secret, metadata={"variable": variable})


def variable_of(field: attrs.Attribute[Any]) -> Variable:
    """The environment variable behind a field of a settings group."""
    variable: Variable = field.metadata["variable"]
    return variable


def as_text(value: object) -> str:
    """A setting's value as the text of its variable; parsing that text gives the value again."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return ",".join(value) if isinstance(value, tuple) else str(value)
