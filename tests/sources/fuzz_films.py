"""Feed mutated films to the reader and watch for anything but pictures or errors of ours.

python -m tests.sources.fuzz_films --count 100 --seed 0     # of each of six kinds
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from model.errors import UserError
from stages.sources.child import ChildDiedError, Patience, from_child
from stages.sources.film import Cut, cut_film
from tests.sources.films import HEIGHT, WIDTH, make

KINDS = ("h264_b.mp4", "mpeg4_b.avi", "ffv1.mkv", "mjpeg.avi", "vp8.webm", "h264.ts")
PATIENCE = Patience(stalled_s=20, memory=6 << 30)
HEAD = 600  # bytes, in which containers and codecs introduce themselves


def mutated(whole: bytes, draw: random.Random) -> bytes:
    content = bytearray(whole)
    for _ in range(draw.choice([1, 3, 10])):
        content[draw.randrange(len(content) if draw.random() < 0.6 else HEAD)] = draw.randrange(256)
    return bytes(content[: draw.randrange(len(content))] if draw.random() < 0.2 else content)


def judge(film: Path) -> str:
    """Cut a film as the crawl does; other errors than ours go through."""
    cuts = [Cut(frame, (0, 0, WIDTH, HEIGHT), "clips.csv: row 2") for frame in range(0, 40, 3)]
    try:
        return "read" if len(list(from_child(cut_film, (str(film), cuts), PATIENCE))) == len(cuts) else "too few"
    except ChildDiedError as error:
        return str(error)
    except UserError:
        return "refused"


def fuzz(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Return verdict -> how often; anything but ``read`` and ``refused`` is a crash or hang, kept from the stage."""
    draw, tally = random.Random(seed), Counter[str]()
    for name in KINDS:
        whole = make(folder, name, 40).read_bytes()
        for _ in range(count):
            film = folder / f"fuzzed{Path(name).suffix}"
            film.write_bytes(mutated(whole, draw))
            tally[judge(film)] += 1
    return dict(tally)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, required=True, help="films of each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = fuzz(Path(name), arguments.count, arguments.seed)
    sys.stdout.write(json.dumps(found) + "\n")
    raise SystemExit(0 if set(found) <= {"read", "refused"} else 1)


if __name__ == "__main__":
    main()
