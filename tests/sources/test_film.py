"""Films: frames by their exact numbers, shown as players show them, and nothing else opened on the way."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from model.data.images import UInt8
from model.errors import CorruptInputError
from stages.sources.film import TooFewFramesError, frames, pixel_aspect, shown
from tests.sources.films import HEIGHT, KINDS, WIDTH, make, number_of, numbered, write_film
from tests.sources.fuzz_films import fuzz

COUNT = 60
SOME = (0, 1, 5, 11, 12, 13, 35, 36, 47, 58, 59)  # at both sides of key frames, which stand at multiples of 12


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


def film(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).exists() else make(folder, name, COUNT)


def read(path: Path, wanted: Sequence[int], seek: bool = True) -> list[tuple[int, int]]:
    """Return (number asked for, number drawn on the frame that came)."""
    return [(n, number_of(shown(frame, "", None))) for n, frame in frames(path, wanted, seek) if frame is not None]


@pytest.mark.parametrize("name", KINDS)
def test_counting_from_the_start_gives_every_frame(films: Path, name: str) -> None:
    assert read(film(films, name), range(COUNT), seek=False) == [(n, n) for n in range(COUNT)]


@pytest.mark.parametrize("name", KINDS)
def test_frames_looked_up_are_those_that_counting_gives(films: Path, name: str) -> None:
    assert read(film(films, name), SOME) == [(n, n) for n in SOME]
    for number in SOME:  # each with a seek of its own
        assert read(film(films, name), [number]) == [(number, number)]


@pytest.mark.parametrize("name", ["h264_b.mp4", "mpeg4_b.avi", "variable.mkv", "h264.ts"])
@pytest.mark.parametrize("seek", [True, False])
def test_a_frame_beyond_the_end_is_missed_with_the_number_of_frames_there_are(
    films: Path, name: str, seek: bool
) -> None:
    with pytest.raises(TooFewFramesError) as caught:
        list(frames(film(films, name), [3, COUNT], seek))
    assert caught.value.count == COUNT


def test_looking_up_decodes_from_the_key_frame_before_and_not_the_whole_film(films: Path) -> None:
    """The start of a film is destroyed: a late frame needs nothing of it."""
    whole = film(films, "h264_b.mkv").read_bytes()
    broken = films / "start.mkv"
    start, end = int(len(whole) * 0.1), int(len(whole) * 0.3)
    broken.write_bytes(whole[:start] + bytes(end - start) + whole[end:])
    try:
        found = read(broken, [COUNT - 1])
    except CorruptInputError:
        return  # the index itself was hit: refused, not guessed
    assert found == [(COUNT - 1, COUNT - 1)]


def turned(path: Path, matrix: Sequence[int]) -> Path:
    """Write a quarter turn into an mp4 file's track header, as phones do. Source: ISO/IEC 14496-12, 8.3.2."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    struct.pack_into(">9i", content, at, *matrix)
    path.write_bytes(content)
    return path


ONE, Z = 1 << 16, 1 << 30


@pytest.mark.parametrize(("matrix", "turns"), [
    ((ONE, 0, 0, 0, ONE, 0, 0, 0, Z), 0), ((0, ONE, 0, -ONE, 0, 0, 0, 0, Z), -1),
    ((-ONE, 0, 0, 0, -ONE, 0, 0, 0, Z), 2), ((0, -ONE, 0, ONE, 0, 0, 0, 0, Z), 1),
])  # fmt: skip
def test_a_film_is_turned_as_its_metadata_says(tmp_path: Path, matrix: Sequence[int], turns: int) -> None:
    path = turned(write_film(tmp_path / "a.mp4", 3, "libx264", {"crf": "1"}), matrix)
    picture = show(path, 2)
    assert picture.shape == np.rot90(numbered(2), turns).shape
    assert number_of(np.rot90(picture, -turns)) == 2


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", 3, "mpeg4", {"qscale": "2"}, sample_aspect_ratio=Fraction(2, 1))
    assert pixel_aspect(path) == 2
    picture = show(path, 2)
    assert picture.shape == (HEIGHT, 2 * WIDTH, 3)
    assert number_of(picture[:, ::2]) == 2


def show(path: Path, number: int) -> UInt8:
    return next(shown(f, str(path), pixel_aspect(path)) for _, f in frames(path, [number]) if f is not None)


def test_lossless_films_give_their_pixels_unchanged(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mkv", 3, "ffv1")
    assert np.abs(show(path, 1).astype(int) - numbered(1)).max() <= 2  # of the conversion to YUV and back


@pytest.mark.parametrize(
    "text", ["ffconcat version 1.0\nfile good.mkv\n", "#EXTM3U\n#EXTINF:1,\ngood.mkv\n", "no film"]
)
def test_lists_of_other_files_and_addresses_are_no_films(tmp_path: Path, text: str) -> None:
    write_film(tmp_path / "good.mkv", 3, "ffv1")
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(CorruptInputError, match=r"list\.mp4: cannot be decoded"):
        list(frames(tmp_path / "list.mp4", [0]))


def test_an_unknown_way_of_coding_is_named(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mkv", 3, "ffv1")
    path.write_bytes(path.read_bytes().replace(b"V_FFV1", b"V_NEW1"))
    with pytest.raises(CorruptInputError, match=r"a\.mkv: is coded in a way that FFmpeg cannot decode"):
        pixel_aspect(path)


@pytest.mark.parametrize("name", ["h264_b.mp4", "mpeg4_b.avi", "ffv1.mkv"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_a_cut_film_gives_right_frames_or_an_error_that_names_it(films: Path, name: str, share: float) -> None:
    whole = film(films, name).read_bytes()
    path = films / f"cut-{share}-{name}"
    path.write_bytes(whole[: int(len(whole) * share)])
    wanted = list(range(COUNT))
    try:
        for number, frame in frames(path, wanted):
            assert frame is None or frame.is_corrupt or number_of(shown(frame, "", None)) == number
    except CorruptInputError as error:
        assert path.name in str(error)
    except TooFewFramesError as error:
        assert error.count < COUNT
    else:
        pytest.fail("a cut film has all its frames")


@pytest.mark.slow
def test_mutated_films_end_in_pictures_or_our_errors(tmp_path: Path) -> None:
    found = fuzz(tmp_path, count=2, seed=2)
    assert set(found) == {"read", "refused"}
    assert sum(found.values()) == 12
