"""One strict, typed door from params.yaml into code: numbers are checked by name before anything runs.

The file is read with the same YAML 1.2 parser as DVC uses, so a stage sees exactly the values DVC tracks
(``1e-3`` is a number and ``no`` is a word for both).
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.schema import SchemaError, build, show

T = TypeVar("T")

_MAX_BYTES = 1_000_000  # a params file of more is not a params file
_MAX_NODES = 100_000  # after expanding aliases: a few lines of anchors can otherwise stand for 1e9 values
_MAX_DEPTH = 50

_used: dict[str, Any] = {}  # section -> plain values, of this process: what a run was made with


class ParamsError(Exception):
    """params.yaml cannot be used; the message names file, key, what was found and what to do."""

    exit_code: ClassVar[int] = 2


def read_section(params: Path, section: str, cls: type[T]) -> T:
    """Read one section of a params file into the type that describes it.

    Args:
        params: the params file.
        section: name of a top-level key, dotted for a nested one (``datasets.flat``).
        cls: a dataclass without defaults, or a ``dict[str, ...]`` of them.

    Returns: an instance of ``cls``.
    Raises: ParamsError for an unreadable file, a missing section, an unknown, missing or mistyped key.
    """
    value: Any = read_params(params)
    path = ""
    for key in section.split("."):
        if not isinstance(value, dict):
            raise ParamsError(f"{params}: {path}: expected a mapping with the key {key!r}, found {show(value)}")
        if key not in value:
            where = f"{path}: " if path else ""
            raise ParamsError(f"{params}: {where}missing section {key!r}; {_near(key, list(value))}")
        value = value[key]
        path = f"{path}.{key}" if path else key
    try:
        built: T = build(cls, value, path)
    except SchemaError as error:
        raise ParamsError(f"{params}: {error}") from error
    _used[section] = value
    return built


def sections_read() -> dict[str, Any]:
    """Every section this process has read since ``forget_sections``, as plain values: a run records them."""
    return dict(_used)


def forget_sections() -> None:
    """Start recording anew, because a run begins here."""
    _used.clear()


def read_params(path: Path) -> dict[str, Any]:
    """Read a whole params file into plain mappings, lists, strings, numbers, booleans and None.

    Raises: ParamsError if the file is missing, is no UTF-8 or no YAML, repeats a key, or holds other types.
    """
    text = _read_text(path)
    try:
        data = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise ParamsError(_yaml_message(path, text, error)) from error
    except (ValueError, RecursionError, OverflowError, TypeError, AttributeError) as error:
        raise ParamsError(f"{path}: not usable YAML: {_first_line(error)}") from error
    if not isinstance(data, dict):
        raise ParamsError(f"{path}: expected a mapping of sections at the top level, found {show(data)}")
    _check_plain(path, data)
    return data


def _read_text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ParamsError(
                f"{path}: {size} bytes, but a params file has at most {_MAX_BYTES}; is it the right file?"
            )
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise ParamsError(f"{path}: no such file; run from the project's root or give --params FILE") from error
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ParamsError(
            f"{path}: line {line}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from error


def _yaml_message(path: Path, text: str, error: YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or _first_line(error)
    if mark is None:
        return f"{path}: not YAML: {problem}"
    where = f"{path}: line {mark.line + 1}, column {mark.column + 1}"
    if "duplicate key" in problem:
        return f"{where}: {problem.split(' with value')[0]}; a key may stand only once, remove one of the two"
    lines = text.splitlines()
    if mark.line < len(lines) and "\t" in lines[mark.line][: mark.column + 1]:
        return f"{where}: a tab is used for indentation; YAML allows only spaces there"
    return f"{where}: not YAML: {problem}"


def _check_plain(path: Path, data: Any) -> None:
    """Refuse what JSON could not hold, and alias bombs, before anything walks the values."""
    count = 0
    stack: list[tuple[str, Any, int]] = [("", data, 0)]
    while stack:
        where, value, depth = stack.pop()
        count += 1
        if count > _MAX_NODES or depth > _MAX_DEPTH:
            raise ParamsError(f"{path}: more than {_MAX_NODES} values or {_MAX_DEPTH} levels; are anchors nested?")
        if isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, str):
                    at = f"{where}: " if where else ""
                    raise ParamsError(f"{path}: {at}expected names as keys, found {show(key)}; put it in quotes")
                stack.append((f"{where}.{key}" if where else key, item, depth + 1))
        elif isinstance(value, list):
            stack.extend((f"{where}[{n}]", item, depth + 1) for n, item in enumerate(value))
        elif value is not None and not isinstance(value, (str, int, float, bool)):
            raise ParamsError(f"{path}: {where}: expected text, a number, true, false or null, found {show(value)}")


def _near(key: str, known: list[str]) -> str:
    match = difflib.get_close_matches(key, known, n=1)
    if match:
        return f"did you mean {match[0]!r}?"
    return "the file has: " + (", ".join(sorted(known)) or "nothing")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
