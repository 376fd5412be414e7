"""Options: frozen dataclasses built from a mapping, so that a misspelt key is an error and not a default."""

import collections.abc
import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

_Options = TypeVar("_Options")


class OptionsError(ValueError):
    """A configuration holds an unknown key or a value of the wrong kind."""


def from_mapping(options_class: type[_Options], mapping: Mapping[str, Any], *, where: str = "") -> _Options:
    """Build an options dataclass from a mapping; nested dataclasses and tuples of them are built too.

    Args:
        options_class: A dataclass whose fields are all annotated.
        mapping: Values by field name; absent fields keep their default.
        where: Name of the section, for messages.

    Raises:
        OptionsError: On an unknown key (with the nearest known one), a missing key, a value of another kind.
    """
    section = where or options_class.__name__
    if not isinstance(mapping, collections.abc.Mapping):
        raise OptionsError(f"{section}: expected a section with keys, got {mapping!r}")
    hints = typing.get_type_hints(options_class)
    fields = {field.name: field for field in dataclasses.fields(options_class)}  # pyright: ignore[reportArgumentType]
    values = {}
    for key, value in mapping.items():
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(fields)}"
            raise OptionsError(f"{section}: unknown key {key!r}; {hint}")
        values[key] = _convert(hints[key], value, f"{section}.{key}")
    required = (dataclasses.MISSING, dataclasses.MISSING)
    missing = [n for n, f in fields.items() if n not in values and (f.default, f.default_factory) == required]
    if missing:
        raise OptionsError(f"{section}: missing key {missing[0]!r}")
    try:
        return options_class(**values)
    except ValueError as error:
        raise OptionsError(f"{section}: {error}") from error


def to_mapping(options: Any) -> dict[str, Any]:
    """The inverse of `from_mapping`: plain values, fit for JSON."""
    return dataclasses.asdict(options)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type, without ever guessing between kinds."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        choices = typing.get_args(hint)
        if value is None and type(None) in choices:
            return None
        last: OptionsError | None = None
        for choice in choices:
            if choice is type(None):
                continue
            try:
                return _convert(choice, value, where)
            except OptionsError as error:
                last = error
        raise last or OptionsError(f"{where}: {value!r} does not fit {hint}")
    if origin is typing.Literal:
        # By type as well: True equals 1.
        if not any(type(value) is type(choice) and value == choice for choice in typing.get_args(hint)):
            raise OptionsError(f"{where}: {value!r} is not one of {', '.join(map(repr, typing.get_args(hint)))}")
        return value
    if origin is tuple:
        inner = typing.get_args(hint)
        if isinstance(value, str) or not isinstance(value, collections.abc.Sequence):
            raise OptionsError(f"{where}: expected a list, got {value!r}")
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(_convert(inner[0], item, f"{where}[{i}]") for i, item in enumerate(value))
        if len(inner) != len(value):
            raise OptionsError(f"{where}: expected {len(inner)} values, got {len(value)}")
        return tuple(_convert(h, v, f"{where}[{i}]") for i, (h, v) in enumerate(zip(inner, value, strict=True)))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else from_mapping(hint, value, where=where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    kind = typing.cast(type, hint)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise OptionsError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value
