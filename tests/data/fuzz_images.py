"""Feed mutated pictures to the image gate and watch for anything but a picture or its one error.

    python -m tests.data.fuzz_images --count 10000 --seed 0 [--json OUT.json]

Pictures of every format are flipped, cut, spliced and edited in their headers. They are read in child processes with
limited memory; a child that dies, or takes longer than the limit for one picture, is counted and replaced. A picture is
a function of (seed, number), so a finding is repeated by ``--first NUMBER --count 1``.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import random
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.data.images import count_frames, decode_image, image_size
from model.errors import CorruptInputError

MEMORY = 4 << 30  # bytes of address space of a child
LIMIT_S = 20.0  # for one picture; a broken one takes milliseconds, 60 megapixels take seconds


@cache
def zoo() -> dict[str, bytes]:
    """Return a small picture of every kind that a folder may hold."""
    random_numbers = np.random.default_rng(0)
    noise = Image.fromarray(random_numbers.integers(0, 256, (37, 53, 3), np.uint8))
    smooth = Image.linear_gradient("L").resize((61, 47)).convert("RGB")
    deep = Image.fromarray(random_numbers.integers(0, 65_536, (31, 43), np.uint16))
    clear = smooth.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    frames = [noise, smooth.resize(noise.size), noise.rotate(90).resize(noise.size)]
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "jpeg": (noise, "JPEG", {"quality": 90, "exif": exif}), "progressive": (smooth, "JPEG", {"progressive": True}),
        "grey jpeg": (smooth.convert("L"), "JPEG", {}), "cmyk": (smooth.convert("CMYK"), "JPEG", {}),
        "png": (noise, "PNG", {}), "png 16": (deep, "PNG", {}), "png 1": (smooth.convert("1"), "PNG", {}),
        "png palette": (smooth.convert("P"), "PNG", {"transparency": 3}), "png alpha": (clear, "PNG", {}),
        "png la": (clear.convert("LA"), "PNG", {}),
        "apng": (frames[0], "PNG", {"save_all": True, "append_images": frames}),
        "webp": (noise, "WEBP", {"quality": 80}), "webp lossless": (clear, "WEBP", {"lossless": True}),
        "webp moving": (frames[0], "WEBP", {"save_all": True, "append_images": frames[1:]}),
        "gif": (noise, "GIF", {}), "gif moving": (frames[0], "GIF", {"save_all": True, "append_images": frames[1:]}),
    }  # fmt: skip
    found = {}
    for name, (image, kind, options) in kinds.items():
        buffer = io.BytesIO()
        image.save(buffer, format=kind, **options)
        found[name] = buffer.getvalue()
    return found | {"png interlaced": interlaced(), "gif interlaced": gif_interlaced()}


def interlaced() -> bytes:
    """Write an Adam7 PNG, which Pillow does not. Source: PNG specification, section 8.2."""
    pixels = np.random.default_rng(1).integers(0, 256, (23, 29, 3), np.uint8)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(b"\0" + row.tobytes() for y, x, dy, dx in passes for row in pixels[y::dy, x::dx])
    head = struct.pack(">IIBBBBB", 29, 23, 8, 2, 0, 0, 1)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def gif_interlaced() -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((40, 40)).save(buffer, format="GIF", interlace=1)
    return buffer.getvalue()


def flip(content: bytearray, draw: random.Random) -> bytearray:
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return content


def overwrite(content: bytearray, draw: random.Random) -> bytearray:
    at = draw.randrange(len(content))
    content[at : at + draw.randint(1, 16)] = draw.choice([b"\0", b"\xff", draw.randbytes(1)]) * draw.randint(1, 16)
    return content


def cut(content: bytearray, draw: random.Random) -> bytearray:
    return content[: draw.randrange(len(content))]


def drop(content: bytearray, draw: random.Random) -> bytearray:
    at = draw.randrange(len(content))
    del content[at : at + draw.randint(1, 200)]
    return content


def repeat(content: bytearray, draw: random.Random) -> bytearray:
    at = draw.randrange(len(content))
    return content[:at] + content[at : at + draw.randint(1, 300)] * draw.randint(2, 50) + content[at:]


def splice(content: bytearray, draw: random.Random) -> bytearray:
    other = zoo()[draw.choice(sorted(zoo()))]
    return content[: draw.randrange(len(content))] + other[draw.randrange(len(other)) :]


def edit_header(content: bytearray, draw: random.Random) -> bytearray:
    """Change a number near the start, and repair a PNG's checksums so that it is believed."""
    at = draw.randrange(min(len(content), 64))
    width = draw.choice([1, 2, 4])
    value = draw.choice([0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, draw.randrange(2**32)]) % 256**width
    content[at : at + width] = value.to_bytes(width, draw.choice(["big", "little"]))
    return repaired(content)


def edit_chunks(content: bytearray, draw: random.Random) -> bytearray:
    """Change bytes anywhere and repair a PNG's checksums."""
    return repaired(flip(content, draw))


def repaired(content: bytearray) -> bytearray:
    at = 8
    while content.startswith(b"\x89PNG") and at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        if at + 12 + length > len(content):
            break
        struct.pack_into(">I", content, at + 8 + length, zlib.crc32(content[at + 4 : at + 8 + length]))
        at += 12 + length
    return content


MUTATIONS: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    flip, overwrite, cut, drop, repeat, splice, edit_header, edit_chunks,
)  # fmt: skip


def mutated(seed: int, number: int) -> tuple[str, bytes]:
    """Return picture ``number`` and what it was made from."""
    draw = random.Random(f"{seed}:{number}")
    name = draw.choice(sorted(zoo()))
    content = bytearray(zoo()[name])
    done = []
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        if not content:
            break
        mutation = draw.choice(MUTATIONS)
        content = mutation(content, draw)
        done.append(mutation.__name__)
    return f"{name}: {', '.join(done)}", bytes(content)


def judge(content: bytes) -> str:
    """Read a picture as the crawl does."""
    try:
        image = decode_image(io.BytesIO(content), "fuzzed")
        count_frames(io.BytesIO(content), "fuzzed")
        image_size(io.BytesIO(content), "fuzzed")
    except CorruptInputError:
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return "read" if image.ndim == 3 and image.dtype == np.uint8 else f"shape {image.shape}"


def work(connection: Any, seed: int) -> None:
    """Judge the numbers that come, one message each, until there are none."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (number := connection.recv()) is not None:
        connection.send(judge(mutated(seed, number)[1]))


def fuzz(
    count: int, seed: int, first: int = 0, limit_s: float = LIMIT_S, judged: Callable[..., None] = work
) -> dict[str, Any]:
    """Judge ``count`` pictures; ``bad`` names every one that was neither read nor refused."""
    context = multiprocessing.get_context("fork")
    verdicts: Counter[str] = Counter()
    bad: list[dict[str, Any]] = []
    slowest, begun, child = 0.0, time.monotonic(), None
    for number in range(first, first + count):
        if child is None:
            ours, theirs = context.Pipe()
            child = context.Process(target=judged, args=(theirs, seed), daemon=True)
            child.start()
            theirs.close()
        asked = time.monotonic()
        ours.send(number)
        try:
            verdict = ours.recv() if ours.poll(limit_s) else "hang"
        except EOFError:
            child.join()
            verdict = f"crash, exit code {child.exitcode}"
        slowest = max(slowest, time.monotonic() - asked)
        verdicts[verdict if verdict in ("read", "refused") else "bad"] += 1
        if verdict not in ("read", "refused"):
            bad.append({"number": number, "made": mutated(seed, number)[0], "verdict": verdict})
        if verdict == "hang" or verdict.startswith("crash"):
            child.kill()
            child.join()
            child = None
    if child is not None:
        ours.send(None)
        child.join()
    seconds = round(time.monotonic() - begun, 1)
    return {"count": count, "seed": seed, **verdicts, "bad": bad, "slowest_s": round(slowest, 3), "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, required=True, help="pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first picture")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    text = json.dumps(fuzz(arguments.count, arguments.seed, arguments.first), indent=1)
    sys.stdout.write(text + "\n")
    if arguments.json:
        arguments.json.write_text(text + "\n")
    raise SystemExit(0 if '"bad": []' in text else 1)


if __name__ == "__main__":
    main()
