"""Frames of a film by their exact numbers, and boxes cut out of them. Runs in a process of its own (see ``child``)."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from model.data.images import MAX_PIXELS, MAX_SIDE, UInt8, encode_image
from model.errors import CorruptInputError, UsageError
from stages.sources.child import Item

CONTAINERS = "mov,matroska,avi,mpegts,mpeg,asf,flv,ogg"  # playlists and the like would open other files and addresses
INDEXED = ("mov", "matroska", "avi")  # containers that know the time and place of every frame; others guess on seeking
ALIVE = 50  # frames or so between signs of life
BT709, UNSPECIFIED = 1, 2  # FFmpeg's names of colour matrices
HD = 720  # px of height from which an unnamed matrix is BT.709, for players as well
Frames = Iterator[tuple[int, VideoFrame | None]]  # None: only a sign of life


@dataclass(frozen=True)
class Cut:
    """One box of one frame; plain values, as it travels between processes."""

    frame: int  # from 0, in the order in which frames are shown
    box: tuple[int, int, int, int]  # x, y, width, height in px of the picture as it is shown
    where: str  # that asks for it, for messages


@dataclass(frozen=True)
class Index:
    """When each frame of a film is shown, and at which ones decoding can begin."""

    times: list[int]  # in the stream's time base, ascending
    keys: list[int]  # frame numbers, ascending; the first is 0

    def key_before(self, frame: int) -> int:
        """Return the last frame up to ``frame`` at which decoding can begin."""
        return self.keys[bisect_right(self.keys, frame) - 1]


class TooFewFramesError(Exception):
    """A film ends before a frame that is wanted."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


def cut_film(film: str, cuts: Sequence[Cut]) -> Iterator[Item]:
    """Yield ``cut`` (its number), ``corrupt`` and a PNG for each of ``cuts``, in the order of frames.

    Raises: UsageError naming the row for a box outside the picture or a frame beyond the end; CorruptInputError for a
        film that cannot be decoded.
    """
    wanted: dict[int, list[int]] = {}
    for number, cut in enumerate(cuts):
        wanted.setdefault(cut.frame, []).append(number)
    checked = False
    aspect = pixel_aspect(Path(film))
    try:
        for number, frame in frames(Path(film), sorted(wanted)):
            if frame is None:
                yield None
                continue
            picture = shown(frame, film, aspect)
            for index in range(len(cuts)) if not checked else ():
                _check_box(picture, cuts[index])  # all of them at once, not hours later
            checked = True
            for index in wanted[number]:
                yield {"cut": index, "corrupt": frame.is_corrupt}, encode_image(_cut(picture, cuts[index]), "png")
    except TooFewFramesError as error:
        cut = next(cut for cut in cuts if cut.frame >= error.count)
        raise UsageError(
            f"{cut.where}: end_frame: frame {cut.frame} is asked for, but the film has {error.count} frames, the first "
            "is number 0"
        ) from error


def frames(film: Path, wanted: Sequence[int], seek: bool = True) -> Frames:
    """Yield (number, frame) of the frames in ``wanted`` (ascending), and (number, None) now and then in between.

    Frames are numbered as they are shown. Where the container tells when every frame is shown, numbers are looked up
    and decoding begins at the key frame before; otherwise, or without ``seek``, it begins at the start, and they are
    counted.

    Raises: TooFewFramesError; CorruptInputError if the film cannot be read, or its frames are not those its packets
        announce.
    """
    index = (yield from _index(film)) if seek else None
    with _open(film) as (container, stream):
        if index is None:
            yield from _counted(container, stream, wanted)
        else:
            yield from _looked_up(film, container, stream, index, wanted)


def pixel_aspect(film: Path) -> Fraction | None:
    """Return how many times as wide as high the pixels of a film are; None if it does not say."""
    with _open(film) as (_, stream):
        return stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio


@contextmanager
def _open(film: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        with av.open(str(film), options={"format_whitelist": CONTAINERS}, metadata_errors="replace") as container:
            if not container.streams.video:
                raise CorruptInputError(f"{film}: has no pictures, only sound or data; name a film")
            stream = container.streams.video[0]
            if stream.codec_context is None:  # whatever the library's types say
                raise CorruptInputError(f"{film}: is coded in a way that FFmpeg cannot decode; encode it again")
            stream.thread_type = "AUTO"
            yield container, stream
    except (av.FFmpegError, ValueError, IndexError) as error:  # the last: a stream appears midway, says PyAV
        raise CorruptInputError(f"{film}: cannot be decoded ({error}); encode it again, or remove its rows") from error


def _index(film: Path) -> Generator[tuple[int, None], None, Index | None]:
    """Read the times of all packets, decoding nothing; None if they do not tell every frame's."""
    times: list[int] = []
    keys: list[int] = []
    with _open(film) as (container, stream):
        if container.format.name.partition(",")[0] not in INDEXED:
            return None
        for count, packet in enumerate(container.demux(stream)):
            if packet.size == 0 or packet.is_discard:  # the end; or cut away by the container's edit list
                continue
            if packet.pts is None:
                return None
            times.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
            if count % (20 * ALIVE) == 0:
                yield 0, None
    places = {time: number for number, time in enumerate(sorted(times))}
    if len(places) != len(times) or not keys or min(keys) != min(times):
        return None
    return Index(sorted(times), sorted(places[time] for time in keys))


def _counted(container: InputContainer, stream: VideoStream, wanted: Sequence[int]) -> Frames:
    """Decode from the start."""
    left = deque(wanted)
    count = 0
    for number, frame in enumerate(container.decode(stream)):
        count = number + 1
        if number == left[0]:
            yield number, frame
            left.popleft()
            if not left:
                return
        elif number % ALIVE == 0:
            yield number, None
    raise TooFewFramesError(count)


def _looked_up(
    film: Path, container: InputContainer, stream: VideoStream, index: Index, wanted: Sequence[int]
) -> Frames:
    """Decode from the key frame before each wanted frame, unless that is behind us."""
    if wanted[-1] >= len(index.times):
        raise TooFewFramesError(len(index.times))
    places = {time: number for number, time in enumerate(index.times)}
    here = -1
    decoded: Iterator[VideoFrame] = iter(())
    for number in wanted:
        key = index.key_before(number)
        if key > here:
            container.seek(index.times[key], stream=stream)
            here, decoded = key - 1, container.decode(stream)
            while (first := _next(film, decoded, places))[0] < key:
                pass  # what is shown before a key frame may need frames that were skipped
            decoded = chain([first[1]], decoded)
        while here < number:
            found, frame = _next(film, decoded, places)
            if found != here + 1:
                raise _disagreement(film, f"frame {found} comes after frame {here}")
            here = found
            if here % ALIVE == 0 and here != number:
                yield here, None
        yield here, frame


def _next(film: Path, decoded: Iterator[VideoFrame], places: Mapping[int, int]) -> tuple[int, VideoFrame]:
    frame = next(decoded, None)
    if frame is None:
        raise _disagreement(film, "it ends early")
    if frame.pts is None or frame.pts not in places:
        raise _disagreement(film, f"a frame is shown at {frame.pts}")
    return places[frame.pts], frame


def _disagreement(film: Path, what: str) -> CorruptInputError:
    return CorruptInputError(
        f"{film}: its packets announce other frames than it has ({what}), so their numbers cannot be trusted; encode "
        "it again (ffmpeg -i OLD -c:v ffv1 NEW.mkv)"
    )


def shown(frame: VideoFrame, film: str, aspect: Fraction | None) -> UInt8:
    """Return a frame as players show it: uint8 ``[H, W, 3]``, turned as its metadata says, with square pixels."""
    if frame.width * frame.height > MAX_PIXELS or max(frame.width, frame.height) > MAX_SIDE:
        raise CorruptInputError(f"{film}: pictures of {frame.width} x {frame.height} px are over the limit")
    unnamed = frame.colorspace == UNSPECIFIED and frame.height >= HD
    rgb = frame.reformat(format="rgb24", src_colorspace=BT709 if unnamed else None)
    pixels = np.asarray(rgb.to_ndarray(), dtype=np.uint8)
    if aspect and aspect != 1:
        pixels = _stretch(pixels, aspect, film)
    if frame.rotation % 90:
        raise CorruptInputError(
            f"{film}: is turned by {frame.rotation} degrees, expected quarter turns; encode it again"
        )
    return np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))


def _stretch(pixels: UInt8, aspect: Fraction, film: str) -> UInt8:
    """Make pixels square by enlarging."""
    if not Fraction(1, 4) <= aspect <= 4:
        raise CorruptInputError(f"{film}: pixels {aspect} times as wide as high; correct its metadata")
    height, width = pixels.shape[:2]
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS), dtype=np.uint8)


def _check_box(picture: UInt8, cut: Cut) -> None:
    x, y, width, height = cut.box
    if x + width > picture.shape[1] or y + height > picture.shape[0]:
        raise UsageError(
            f"{cut.where}: the box {width}x{height}+{x}+{y} leaves the picture of {picture.shape[1]} x "
            f"{picture.shape[0]} px; correct x, y, w, h"
        )


def _cut(picture: UInt8, cut: Cut) -> UInt8:
    _check_box(picture, cut)  # pictures of a film may change their size
    x, y, width, height = cut.box
    return picture[y : y + height, x : x + width]
