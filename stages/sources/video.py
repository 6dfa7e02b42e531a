"""Boxes of film frames, listed by a person: a film, a run of frames, a box."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from model.errors import CorruptInputError, MissingInputError
from model.files import sha256_file
from model.progress import Progress
from stages.sources.child import Patience, from_child
from stages.sources.clips import CLIPS, Clip, film_of, read_clips, shots
from stages.sources.film import Cut, cut_film
from stages.sources.pick import choose
from stages.sources.settings import Pick, VideoSource
from stages.sources.shelf import Shelf

PATIENCE = Patience(stalled_s=120, memory=16 << 30)  # a first look at a film of 100 GB takes minutes without a sign


def cut_clips(source: VideoSource, out: Path, key: str) -> dict[str, Any]:
    """Cut the boxes that ``clips.csv`` lists out of films, losslessly; see ``stages.sources.gather``.

    A group is a shot: clips whose frames overlap or follow each other. A random part is drawn before anything is
    decoded and not made up for bad frames, as films are read from front to back. A film that cannot be decoded is
    one bad item per frame wanted of it.

    Raises: what ``stages.sources.clips.read_clips`` raises; UsageError naming the row for a box outside the picture or
        a frame beyond the end of its film.
    """
    place = Path(source.where)
    if not place.is_dir():
        raise MissingInputError(
            f"{key}.where: {place}: no such folder (from {Path.cwd()}); put {CLIPS} and films there"
        )
    clips = read_clips(place / CLIPS)
    groups = shots(clips)
    chosen = _choose([(clip, frame) for clip in clips for frame in clip.frames], source.pick)
    shelf = Shelf(out)
    inputs = {CLIPS: sha256_file(place / CLIPS)}
    with Progress("cut frames", len(chosen), "frames") as progress:
        for video in sorted({clip.video for clip, _ in chosen}):
            mine = sorted(((c, f) for c, f in chosen if c.video == video), key=lambda pair: (pair[1], pair[0].row))
            film = film_of(place / CLIPS, mine[0][0])
            inputs[video] = sha256_file(film)
            _cut_film(shelf, film, mine, groups, progress)
    shelf.check_budget(len(chosen), source.max_bad_fraction, f"{key}.max_bad_fraction")
    found = sum(len(clip.frames) for clip in clips)
    return {**shelf.record(), "found": found, "inputs": inputs}


def _choose(wanted: list[tuple[Clip, int]], pick: Pick | None) -> list[tuple[Clip, int]]:
    chosen = list(choose(wanted, pick, lambda pair: _origin(*pair)))
    return chosen if pick is None else chosen[: pick.count]


def _origin(clip: Clip, frame: int) -> str:
    return f"{clip.video} frame {frame} box {clip.box}"


def _cut_film(
    shelf: Shelf, film: Path, wanted: list[tuple[Clip, int]], groups: dict[int, str], progress: Progress
) -> None:
    """Put the boxes of one film on the shelf; the process that decodes it may die without harm."""
    where = f"{film.parent / CLIPS}: row"
    cuts = [Cut(f, (c.x, c.y, c.width, c.height), f"{where} {c.row}") for c, f in wanted]
    left = set(range(len(cuts)))
    try:
        with closing(from_child(cut_film, (str(film), cuts), PATIENCE)) as items:
            for head, content in items:
                clip, frame = wanted[head["cut"]]
                left.remove(head["cut"])
                progress.update()
                if head["corrupt"]:
                    shelf.refuse(_origin(clip, frame), f"{where} {clip.row}: frame {frame} is damaged", "damaged frame")
                    continue
                stem = f"{Path(clip.video).stem}-{frame:06d}-{clip.label}"
                noted = {"frame": frame, "label": clip.label}
                shelf.put(content, _origin(clip, frame), groups[clip.row], stem, **noted)
    except CorruptInputError as error:  # of the child that died too
        for index in sorted(left):
            clip, frame = wanted[index]
            shelf.refuse(_origin(clip, frame), f"{where} {clip.row}: {film}: {error}", "undecodable film")
