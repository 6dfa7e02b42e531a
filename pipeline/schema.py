"""Plain values in, typed settings out: dataclasses, mappings, tuples, literals and unions, strictly.

Written out instead of using a validation library because standard-library dataclasses keep ``model/`` free of
such a library, and because a user reads these messages: each names the key, what was found and what to write.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


class SchemaError(Exception):
    """A value does not fit its type; the message starts with the dotted key."""


def build(kind: Any, value: Any, path: str) -> Any:
    """Turn plain YAML data into an instance of ``kind``.

    Args:
        kind: a dataclass, ``int``, ``float``, ``str``, ``bool``, ``None``, ``Path``, ``object``, ``Literal``, a
            union (dataclasses in it are told apart by a field that is a ``Literal`` in all), ``dict[str, X]``,
            ``list[X]`` or ``tuple[...]``.
        value: mappings, lists, strings, numbers, booleans, None.
        path: dotted key of ``value``, for messages.

    Raises: SchemaError if the value does not fit; TypeError if ``kind`` is none of the above.
    """
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, path)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _build_union(get_args(kind), value, path)
    if origin is Literal:
        return _build_literal(get_args(kind), value, path)
    if origin in (dict, Mapping):
        key_kind, item_kind = get_args(kind)
        if key_kind is not str:
            raise TypeError(f"{path}: mappings in params files have names as keys, not {key_kind}")
        if not isinstance(value, dict):
            raise _wrong(path, "a mapping", value)
        return {key: build(item_kind, item, f"{path}.{key}") for key, item in value.items()}
    if origin in (list, tuple, Sequence):
        return _build_sequence(origin, get_args(kind), value, path)
    return _build_scalar(kind, value, path)


def show(value: Any) -> str:
    """How a found value is printed in a message: the value and its type in words."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = _short(value)
    names = {bool: "a boolean", str: "a string", int: "an integer", float: "a number"}
    name = names.get(type(value))
    if name is None:
        return f"a {type(value).__name__}"
    return f"{text} ({name})"


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) >= 2**63:
        return "an integer of more than 64 bits"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _build_dataclass(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(path, f"a mapping ({kind.__name__})", value)
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for key in value:
        if key not in fields:
            raise SchemaError(f"{path}: unknown key {key!r}; {_suggest(key, fields, value)}")
    missing = [
        name
        for name, field in fields.items()
        if name not in value and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        wanted = ", ".join(f"{name!r} ({_name(hints[name])})" for name in missing)
        raise SchemaError(f"{path}: missing {wanted}; add it, {kind.__name__} in {kind.__module__} says what it means")
    built = {key: build(hints[key], item, f"{path}.{key}") for key, item in value.items()}
    try:
        return kind(**built)
    except ValueError as error:
        raise SchemaError(f"{path}: {error}") from error


def _suggest(key: str, fields: Mapping[str, Any], value: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(key, [name for name in fields if name not in value] or list(fields), n=1)
    allowed = "allowed: " + (", ".join(sorted(fields)) or "none")
    return f"did you mean {near[0]!r}? ({allowed})" if near else f"remove it ({allowed})"


def _build_union(kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    classes = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
    if isinstance(value, dict) and classes:
        return _build_tagged(classes, value, path)
    # An integer written for ``int | float`` stays an integer whatever the order in the union.
    ordered = sorted((kind for kind in kinds if kind not in classes), key=lambda kind: kind is float)
    problems = []
    for kind in ordered:
        try:
            return build(kind, value, path)
        except SchemaError as error:
            problems.append(error)
    if len(problems) == 1 and not classes:
        raise problems[0]
    raise _wrong(path, " or ".join(_name(kind) for kind in kinds), value)


def _build_tagged(classes: list[Any], value: Mapping[str, Any], path: str) -> Any:
    if len(classes) == 1:
        return _build_dataclass(classes[0], value, path)
    tags = [
        {name: get_args(hint) for name, hint in get_type_hints(kind).items() if get_origin(hint) is Literal}
        for kind in classes
    ]
    shared = [name for name in tags[0] if all(name in tag for tag in tags)]
    if not shared:
        names = ", ".join(kind.__name__ for kind in classes)
        raise TypeError(f"{path}: {names} share no Literal field that tells them apart")
    name = shared[0]
    allowed = tuple(option for tag in tags for option in tag[name])
    if name not in value:
        raise SchemaError(f"{path}: missing {name!r}; add one of {_options(allowed)}")
    choice = _build_literal(allowed, value[name], f"{path}.{name}")
    kind = next(kind for kind, tag in zip(classes, tags, strict=True) if choice in tag[name])
    return _build_dataclass(kind, value, path)


def _build_literal(options: tuple[Any, ...], value: Any, path: str) -> Any:
    for option in options:
        if type(option) is type(value) and option == value:
            return option
    message = f"{path}: expected one of {_options(options)}, found {show(value)}"
    near = difflib.get_close_matches(str(value), [str(option) for option in options], n=1)
    raise SchemaError(f"{message}; did you mean {near[0]!r}?" if near else message)


def _build_sequence(origin: Any, kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    if not isinstance(value, list):
        raise _wrong(path, "a list", value)
    if origin is tuple and not (len(kinds) == 2 and kinds[1] is Ellipsis):
        if len(value) != len(kinds):
            raise SchemaError(f"{path}: expected {len(kinds)} values, found {len(value)}")
        pairs = list(zip(kinds, value, strict=True))
    else:
        pairs = [(kinds[0], item) for item in value]
    items = [build(kind, item, f"{path}[{n}]") for n, (kind, item) in enumerate(pairs)]
    return items if origin is list else tuple(items)


def _build_scalar(kind: Any, value: Any, path: str) -> Any:
    if kind in (Any, object):
        return value
    if kind in (None, type(None)):
        if value is not None:
            raise _wrong(path, "null", value)
        return None
    if kind in (str, bool) and type(value) is kind:
        return value
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is int and type(value) is int and abs(value) < 2**63:
        return value
    if kind is float and type(value) in (int, float):
        return _finite(value, path)
    if kind not in _NAMES:
        raise TypeError(f"{path}: settings of type {kind!r} are not supported")
    raise _wrong(path, _NAMES[kind], value, _advice(kind, value))


def _finite(value: float, path: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SchemaError(f"{path}: expected a finite number, found {_short(number)}; write a number")
    return number


def _advice(kind: Any, value: Any) -> str:
    if kind in (int, float) and isinstance(value, str):
        try:
            kind(value)
        except ValueError:
            return ""
        return f"; write {value} without quotes"
    if kind is int and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if kind is bool and isinstance(value, str):
        return "; write true or false"
    if kind in (str, Path) and isinstance(value, (bool, int, float)):
        return f"; write '{_short(value)}' in quotes"
    return ""


_NAMES = {int: "an integer", float: "a number", str: "a string", bool: "true or false", Path: "a path"}


def _name(kind: Any) -> str:
    origin = get_origin(kind)
    if kind in (None, type(None)):
        return "null"
    if kind in _NAMES:
        return _NAMES[kind]
    if dataclasses.is_dataclass(kind) or origin in (dict, Mapping):
        return "a mapping"
    if origin in (list, tuple, Sequence):
        return "a list"
    if origin is Literal:
        return "one of " + _options(get_args(kind))
    if origin in (Union, types.UnionType):
        return " or ".join(_name(option) for option in get_args(kind))
    return "a value"


def _options(options: tuple[Any, ...]) -> str:
    return ", ".join(str(option) for option in options)


def _wrong(path: str, expected: str, value: Any, advice: str = "") -> SchemaError:
    return SchemaError(f"{path}: expected {expected}, found {show(value)}{advice}")
