"""A network of a few hundred bytes with the inputs and outputs of YuNet, written as ONNX by hand.

It calls every cell of 32 px that is red a face of 112 px around it, with the same five points each time. That is
enough to check colour order, coordinates and repeated looks through OpenCV's own code, without any weights.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

STRIDES = (8, 16, 32)
SIDE = 64  # px that the file declares; OpenCV is told another for every image
FACE = 112.0  # px of its boxes
POINTS = ((-30, -20), (14, -20), (0, 0), (-20, 26), (20, 26))  # px from the cell's corner; one eye too near the nose
OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}  # name: numbers per cell
RED_FROM, STEEP = 0.8 * 255, 0.2  # redness of a cell from which it is a face; how fast the probability rises there
SURE, NEVER = 20.0, -20.0  # of a logit


def tiny_yunet(face: float = FACE) -> bytes:
    """Return the file's content; ``face`` is the size of its boxes, px."""
    nodes, weights = [], []
    for stride in STRIDES:
        for name, numbers in OUTPUTS.items():
            kernel, bias = _branch(name, stride, face)
            weights += [
                _tensor(f"k_{name}_{stride}", (numbers, 3, stride, stride), kernel),
                _tensor(f"b_{name}_{stride}", (numbers,), bias),
            ]
            nodes += _chain(f"{name}_{stride}", numbers, stride, sigmoid=name in ("cls", "obj"))
    graph = _fields([(1, node) for node in nodes] + [(2, b"tiny")] + [(5, weight) for weight in weights])
    graph += _fields([(11, _value("input", (1, 3, SIDE, SIDE)))])
    for name, numbers in OUTPUTS.items():
        sizes = [(f"{name}_{stride}", (1, (SIDE // stride) ** 2, numbers)) for stride in STRIDES]
        graph += _fields([(12, _value(*size)) for size in sizes])
    return _fields([(1, 8), (7, graph), (8, _fields([(1, b""), (2, 11)]))])


def _branch(name: str, stride: int, face: float) -> tuple[list[float], list[float]]:
    """Weights and biases of a convolution that sees one cell; channels come as blue, green, red."""
    cells = stride * stride
    blank = [0.0] * (3 * cells)
    if name == "cls" and stride == STRIDES[-1]:
        # Blue counts against it: red pixels alone are not enough if the order of colours is wrong.
        return [-STEEP / cells] * cells + [0.0] * cells + [STEEP / cells] * cells, [-STEEP * RED_FROM]
    bias = {
        "cls": [NEVER], "obj": [SURE], "bbox": [0.5, 0.5, *[math.log(face / stride)] * 2],
        "kps": [0.5 + number / stride for point in POINTS for number in point],
    }[name]  # fmt: skip
    return blank * len(bias), bias


def _chain(name: str, numbers: int, stride: int, *, sigmoid: bool) -> list[bytes]:
    ints = [("kernel_shape", (stride, stride)), ("strides", (stride, stride))]
    kernel, bias = f"k_{name}", f"b_{name}"
    steps = [("Conv", [kernel, bias], ints), ("Transpose", [], [("perm", (0, 2, 3, 1))])]
    steps += [("Sigmoid", [], [])] if sigmoid else []
    nodes, last = [], "input"
    for index, (kind, more, attributes) in enumerate(steps):
        nodes.append(_node(kind, [last, *more], f"{name}_step{index}", attributes))
        last = f"{name}_step{index}"
    shape = _fields([(1, 3), (2, 7), (8, f"s_{name}".encode()), (9, struct.pack("<3q", 1, -1, numbers))])
    constant = _fields([(1, b"value"), (5, shape), (20, 4)])
    nodes.append(_fields([(2, f"s_{name}".encode()), (3, f"s_{name}".encode()), (4, b"Constant"), (5, constant)]))
    nodes.append(_node("Reshape", [last, f"s_{name}"], name, []))
    return nodes


def _node(kind: str, inputs: Sequence[str], output: str, attributes: Sequence[tuple[str, tuple[int, ...]]]) -> bytes:
    parts: list[tuple[int, bytes | int]] = [(1, name.encode()) for name in inputs]
    parts += [(2, output.encode()), (3, output.encode()), (4, kind.encode())]
    for name, ints in attributes:
        parts.append((5, _fields([(1, name.encode()), *[(8, number) for number in ints], (20, 7)])))
    return _fields(parts)


def _tensor(name: str, dims: tuple[int, ...], values: Sequence[float]) -> bytes:
    raw = struct.pack(f"<{len(values)}f", *values)
    return _fields([*[(1, dim) for dim in dims], (2, 1), (8, name.encode()), (9, raw)])


def _value(name: str, dims: tuple[int, ...]) -> bytes:
    shape = _fields([(1, _fields([(1, dim)])) for dim in dims])
    return _fields([(1, name.encode()), (2, _fields([(1, _fields([(1, 1), (2, shape)]))]))])


def _fields(parts: Sequence[tuple[int, bytes | int]]) -> bytes:
    """Encode numbered fields as protocol buffers do: varints, and bytes with their length before them."""
    out = b""
    for number, value in parts:
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
        else:
            out += _varint(number << 3 | 2) + _varint(len(value)) + value
    return out


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])
