"""Techniques by name: file name = params key = class name in snake case; nothing registers itself."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from model.errors import UsageError
from model.finetune.technique import Technique

_NOT_TECHNIQUES = {"__init__", "technique"}


def technique_names() -> list[str]:
    """Return the names of the techniques that exist."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _NOT_TECHNIQUES)


def load_technique(name: str, settings: Mapping[str, Any] | None) -> Technique:
    """Build the technique ``name`` from its params.yaml settings.

    Raises: UsageError naming an unknown technique, or an unknown, missing or mistyped setting.
    """
    if name not in technique_names():
        close = difflib.get_close_matches(name, technique_names(), 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"methods: unknown technique {name!r}, expected one of {technique_names()}{hint}")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    cls: type[Technique] = getattr(import_module(f"model.finetune.{name}"), class_name)
    return cls(**_checked(name, cls, dict(settings or {})))


def load_method(techniques: Mapping[str, Mapping[str, Any] | None]) -> list[Technique]:
    """Build every technique of a method, in the order of their names."""
    return [load_technique(name, techniques[name]) for name in sorted(techniques)]


class _MisfitError(Exception):
    """A value, or an item of it, is not what its type allows."""

    def __init__(self, found: Any, kind: Any) -> None:
        options = [option for option in _options(kind) if isinstance(option, str)]
        close = difflib.get_close_matches(found, options, 1) if isinstance(found, str) else []
        hint = f"; did you mean {close[0]!r}?" if close else ""
        super().__init__(f"found {found!r}, expected {_words(kind)}{hint}")
        self.found = found


def _checked(name: str, cls: type[Technique], settings: dict[str, Any]) -> dict[str, Any]:
    kinds = get_type_hints(cls)
    wanted = [field.name for field in fields(cls)]
    for key in settings:
        if key not in wanted:
            close = difflib.get_close_matches(str(key), wanted, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UsageError(f"methods: {name}.{key}: unknown setting, expected {wanted}{hint}")
    for key in wanted:
        if key not in settings:
            raise UsageError(f"methods: {name}.{key}: missing, expected {_words(kinds[key])}")
        try:
            settings[key] = _fit(kinds[key], settings[key])
        except _MisfitError as misfit:
            raise UsageError(f"methods: {name}.{key}: {misfit}") from misfit
    return settings


def _fit(kind: Any, value: Any) -> Any:
    """Return ``value`` as ``kind``: a plain type, a Literal, ``tuple[X, ...]`` from a list, or a union."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _fit_union(kind, value)
    if origin is Literal and any(type(option) is type(value) and option == value for option in inner):
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_fit(inner[0], item) for item in value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise _MisfitError(value, kind)
    return value


def _fit_union(kind: Any, value: Any) -> Any:
    for option in get_args(kind):
        try:
            return _fit(option, value)
        except _MisfitError as misfit:
            if misfit.found is not value:  # the option fits but for one item: that item is what to name
                raise
    raise _MisfitError(value, kind)


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _options(kind: Any) -> list[Any]:
    """Return the values that ``kind`` spells out in Literals."""
    return [value for option in _members(kind) if get_origin(option) is Literal for value in get_args(option)]


def _words(kind: Any) -> str:
    """Say what ``kind`` allows."""
    values, others = _options(kind), [option for option in _members(kind) if get_origin(option) is not Literal]
    words = ["null" if o is type(None) else o.__name__ for o in others if get_origin(o) is not tuple]
    if values:
        words.append(("one of " if len(values) > 1 else "") + ", ".join(map(repr, values)))
    return " or ".join(words + [f"a list of {_words(get_args(o)[0])}" for o in others if get_origin(o) is tuple])
