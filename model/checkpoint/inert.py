"""Reading pickles of foreign networks without running anything that is in them.

A pickle is a program that may import and call whatever it names. Here every name it asks for is answered from a short
list of our own functions, which build tensors, arrays, plain containers and inert records; any other name ends the
reading. Nothing of NVIDIA's code, of numpy's or of torch's own rebuilding functions runs, and source code that such
files carry stays a string.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.errors import CorruptInputError

# What the pickle machine and the functions below raise on files that are truncated or no pickles.
_ERRORS = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    RuntimeError,
)
_NUMBERS = re.compile(r"[<>|=]?(b1|[biu][1248]|f[248])")


class Refused(Exception):  # noqa: N818
    """The pickle asks for something that is not on the list."""


class Record:
    """An object of a class that is not ours: what it was called and what it was made of."""

    origin = ""
    state: dict[str, Any]

    def __new__(cls, *_: object) -> Record:
        """Start without attributes, whatever the arguments were."""
        record = super().__new__(cls)
        record.state = {}
        return record

    def __setstate__(self, state: object) -> None:
        """Keep the attributes."""
        if not isinstance(state, dict):
            raise ValueError(f"the attributes of {self.origin} are a {type(state).__name__}, expected a dict")
        self.state = state


class _Mapping(dict[Any, Any]):
    """Stands for dict classes that give their items as attributes."""


class _DataType:
    """Stands for ``numpy.dtype``: numbers only, never objects."""

    def __init__(self, code: str, *_: object) -> None:
        if not _NUMBERS.fullmatch(code):
            raise Refused(f"arrays of data type {str(code)[:20]!r}")
        self.type = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.type = self.type.newbyteorder(state[1])


class _Array:
    """Stands for ``numpy.ndarray`` until its bytes have come."""

    value: Any

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, data_type, fortran, content = state
        flat = np.frombuffer(content, data_type.type)
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def read_inert(path: Path, what: str) -> Any:
    """Read a pickle into tensors, numpy arrays, plain containers and :class:`Record`.

    Args:
        path: the file.
        what: which kind of file it should be, for messages.

    Raises: CorruptInputError for a file that is truncated, is no pickle, or asks for anything but the names of such
        files; nothing was executed.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about storages with a data type, which is how these files hold tensors
            return _resolved(_Reader(file, encoding="latin1").load(), {})
    except Refused as error:
        raise CorruptInputError(
            f"{path}: refused, it asks for {error}, which no {what} needs; nothing was executed. "
            "Get the weights from a source you trust"
        ) from error
    except RecursionError as error:
        raise CorruptInputError(f"{path}: refused, nested too deeply for a {what}; get it again") from error
    except _ERRORS as error:
        raise CorruptInputError(
            f"{path}: truncated or not a pickle ({type(error).__name__}); expected a {what}, get it again"
        ) from error


class _Reader(pickle.Unpickler):
    """The pickle machine with a list of our own functions as its only library."""

    def find_class(self, module: str, name: str) -> Any:
        """Answer a name from the list, or refuse it."""
        module = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
        if (module, name) in _RECORDS:
            return type(name, (Record,), {"origin": f"{module}.{name}"})
        try:
            return _LIBRARY[module, name]
        except KeyError:
            raise Refused(f"{module}.{name}"[:80]) from None


def _persistent(meta: dict[str, Any]) -> Record:
    """Stand for an object that brings its own source code: the class name and the attributes remain."""
    record = Record()
    record.origin = str(meta["class_name"])
    record.__setstate__(meta["state"])
    return record


def _storage(content: bytes) -> torch.UntypedStorage | torch.TypedStorage:
    """Read a storage that was saved inside; torch's restricted reader, which builds nothing but tensors."""
    storage = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(storage, torch.TypedStorage):
        raise ValueError(f"a {type(storage).__name__} where a storage should be")
    return storage


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    count, stored = math.prod(size), int(storage.size())
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min((offset, *size, *stride)) < 0 or count > stored or (count and last >= stored):
        raise ValueError("a tensor reaches outside its storage")
    view = torch.empty(0, dtype=storage.dtype).set_(storage.untyped(), offset, size, stride)
    return view.clone(memory_format=torch.contiguous_format)


def _parameter(data: Tensor, *_: object) -> Tensor:
    return data


def _array(*_: object) -> _Array:
    return _Array()


def _scalar(data_type: _DataType, content: bytes) -> Any:
    return np.frombuffer(content, data_type.type)[0]


def _no_bytes() -> bytes:
    """Stand for ``bytes``, which old protocols call for empty ones."""
    return b""


def _encoded(text: str, encoding: str) -> bytes:
    """Stand for ``_codecs.encode``, which old protocols use to write bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"the encoding {encoding!r}")
    return text.encode("latin-1")


def _resolved(value: Any, done: dict[int, tuple[Any, Any]]) -> Any:
    """Replace what stands for arrays by the arrays, everywhere."""
    if id(value) in done:
        return done[id(value)][1]
    done[id(value)] = (value, value)  # the value is kept, so that no other object gets its id
    if isinstance(value, _Array):
        done[id(value)] = (value, value.value)
    elif isinstance(value, dict):
        for key in list(value):
            value[key] = _resolved(value[key], done)
    elif isinstance(value, list):
        value[:] = [_resolved(item, done) for item in value]
    elif isinstance(value, tuple):
        done[id(value)] = (value, tuple(_resolved(item, done) for item in value))
    elif isinstance(value, Record):
        value.state = _resolved(value.state, done)
    return done[id(value)][1]


_RECORDS = {("dnnlib.tflib.network", "Network")}
_LIBRARY: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "bytes"): _no_bytes,
    ("_codecs", "encode"): _encoded,
    ("dnnlib", "EasyDict"): _Mapping,
    ("dnnlib.util", "EasyDict"): _Mapping,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DataType,
}
