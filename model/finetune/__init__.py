"""Techniques by name: file name = params key = class name in snake case; nothing registers itself."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

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


def _checked(name: str, cls: type[Technique], settings: dict[str, Any]) -> dict[str, Any]:
    types = get_type_hints(cls)
    wanted = [field.name for field in fields(cls)]
    for key in settings:
        if key not in wanted:
            raise UsageError(f"methods: {name}.{key}: unknown setting, expected {wanted}")
    for key in wanted:
        if key not in settings:
            raise UsageError(f"methods: {name}.{key}: missing")
        value, kind = settings[key], types[key]
        if kind is float and type(value) is int:
            settings[key] = float(value)
        elif type(value) is not kind:
            raise UsageError(f"methods: {name}.{key}: found {value!r}, expected {kind.__name__}")
    return settings
