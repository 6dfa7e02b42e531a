"""Source zip: good archives of every make, and hostile ones. Every archive is made here."""

from __future__ import annotations

import io
import json
import os
import random
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.images import encode_image
from model.errors import BudgetError, CorruptInputError, MissingInputError, UsageError, UserError
from model.files import sha256_file
from tests.stages.world import Bench, tree


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def png(value: int) -> bytes:
    return encode_image(np.full((20, 20, 3), value, np.uint8), "png")


def pack(bench: Bench, members: dict[str, bytes], **options: Any) -> Path:
    place = bench.home / "in.zip"
    with zipfile.ZipFile(place, "w", **options) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return place


def use(bench: Bench, **changes: object) -> None:
    bench.dataset("zip", "zip", bench.home / "in.zip", **{"group_by": "file", "max_gb": 1.0, **changes})


def record(bench: Bench, **changes: object) -> dict[str, Any]:
    use(bench, **changes)
    return json.loads((bench.crawl("zip") / "crawl.json").read_text())  # type: ignore[no-any-return]


def origins(found: dict[str, Any]) -> list[str]:
    return [entry["origin"] for _, entry in sorted(found["files"].items())]


GOOD = {"ep1/b.png": png(1), "ep1/a.png": png(2), "ep2/a.png": png(3)}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_pictures_keep_their_bytes_and_the_record_names_the_archive(bench: Bench, method: int) -> None:
    place = pack(bench, GOOD, compression=method)
    found = record(bench)
    assert origins(found) == ["ep1/a.png", "ep1/b.png", "ep2/a.png"]
    assert (bench.home / "raw" / "zip" / "00000-a.png").read_bytes() == GOOD["ep1/a.png"]
    assert found["inputs"] == {"in.zip": sha256_file(place)}
    assert found["found"] == 3


def test_an_archives_folders_are_groups_if_they_shall_be(bench: Bench) -> None:
    pack(bench, GOOD)
    assert sorted(entry["group"] for entry in record(bench)["files"].values()) == sorted(GOOD)
    found = record(bench, group_by="folder")
    assert sorted(entry["group"] for entry in found["files"].values()) == ["ep1", "ep1", "ep2"]


def test_unpacking_twice_gives_the_same_bytes(bench: Bench) -> None:
    pack(bench, GOOD)
    record(bench)
    first = tree(bench.home / "raw" / "zip")
    record(bench)
    assert tree(bench.home / "raw" / "zip") == first


def test_what_is_no_picture_is_left_aside(bench: Bench) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as nested:
        nested.writestr("hidden.png", png(9))
    others = {"__MACOSX/ep1/._a.png": b"x", "ep1/.hidden.png": png(8), ".git/a.png": png(7), "ep1/": b"",
              "nested.zip": inner.getvalue(), "readme.txt": b"x"}  # fmt: skip
    pack(bench, GOOD | others)
    found = record(bench)
    assert (found["count"], found["ignored"], found["dropped"]) == (3, 2, [])


def test_two_entries_of_one_name_are_both_read_and_told_apart(bench: Bench) -> None:
    with zipfile.ZipFile(bench.home / "in.zip", "w") as packed:
        packed.writestr("a.png", png(1))
        with pytest.warns(UserWarning, match="Duplicate name"):
            packed.writestr("a.png", png(2))
    assert origins(record(bench)) == ["a.png", "a.png (2)"]


class Pipe(io.BytesIO):
    """A file that cannot seek: what is written to it has its sizes behind the data."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def test_archives_written_to_a_pipe_and_with_64_bit_sizes_are_read(bench: Bench) -> None:
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in GOOD.items():
            with packed.open(name, "w", force_zip64=True) as member:
                member.write(content)
    (bench.home / "in.zip").write_bytes(pipe.getvalue())
    assert record(bench)["count"] == 3


def test_a_program_in_front_of_an_archive_does_not_matter(bench: Bench) -> None:
    place = pack(bench, GOOD)
    place.write_bytes(b"#!/bin/sh\n" * 50 + place.read_bytes())
    assert record(bench)["count"] == 3


def test_a_pick_takes_that_many_good_ones_and_makes_up_for_bad_ones(bench: Bench) -> None:
    members = {f"{n:02d}.png": png(n) if n % 2 else b"broken" for n in range(40)}
    pack(bench, members)
    found = record(bench, pick={"count": 9, "seed": 1}, max_bad_fraction=0.8)
    assert found["count"] == 9
    assert all(int(origin[:2]) % 2 for origin in origins(found))


# -- hostile ones ----------------------------------------------------------------------------------------------------


def named(name: str) -> Callable[[Bench], None]:
    def make(bench: Bench) -> None:
        pack(bench, GOOD | {name: png(66)})

    return make


def raw_name(bench: Bench) -> None:
    """A NUL, at which ``zipfile`` cuts: the bytes are patched in."""
    place = pack(bench, GOOD | {"evil_png.png": png(66)})
    place.write_bytes(place.read_bytes().replace(b"evil_png.png", b"evil\0png.png"))


def special(mode: int) -> Callable[[Bench], None]:
    def make(bench: Bench) -> None:
        with zipfile.ZipFile(bench.home / "in.zip", "w") as packed:
            for name, content in GOOD.items():
                packed.writestr(name, content)
            info = zipfile.ZipInfo("evil.png")
            info.external_attr = (mode | 0o777) << 16
            packed.writestr(info, "/etc/passwd")

    return make


def compressed(method: int) -> Callable[[Bench], None]:
    def make(bench: Bench) -> None:
        with zipfile.ZipFile(bench.home / "in.zip", "w") as packed:
            for name, content in GOOD.items():
                packed.writestr(name, content)
            packed.writestr("evil.png", png(66), compress_type=method)

    return make


def flipped(bench: Bench) -> None:
    """A bit of a stored picture differs from its CRC."""
    place = pack(bench, GOOD | {"evil.png": png(66)})
    content = bytearray(place.read_bytes())
    content[content.index(png(66)) + 40] ^= 1
    place.write_bytes(content)


def bomb(bench: Bench) -> None:
    """300 MB of zeros in 300 kB."""
    pack(bench, GOOD | {"evil.png": bytes(300_000_000)}, compression=zipfile.ZIP_DEFLATED)


def understated(bench: Bench) -> None:
    """An entry that says it has 20 bytes unpacked, and has many."""
    place = pack(bench, GOOD | {"evil.png": bytes(5_000_000)}, compression=zipfile.ZIP_DEFLATED)
    content = bytearray(place.read_bytes())
    for at in (content.rindex(b"evil.png") - 46 + 24, content.index(b"evil.png") - 30 + 22):
        struct.pack_into("<I", content, at, 20)
    place.write_bytes(content)


def other_header(bench: Bench) -> None:
    """The entry itself has another name than the directory says."""
    place = pack(bench, GOOD | {"evil.png": png(66)})
    content = place.read_bytes()
    place.write_bytes(content.replace(b"evil.png", b"good.png", 1))


DROPPED: dict[str, tuple[Callable[[Bench], None], str]] = {
    "traversal": (named("../../evil.png"), "unsafe name"),
    "traversal inside": (named("a/../../evil.png"), "unsafe name"),
    "absolute": (named("/tmp/evil.png"), "unsafe name"),
    "drive": (named("C:/evil.png"), "unsafe name"),
    "backslash": (named("..\\evil.png"), "unsafe name"),
    "NUL": (raw_name, "unsafe name"),
    "symbolic link": (special(stat.S_IFLNK), "no regular file"),
    "pipe": (special(stat.S_IFIFO), "no regular file"),
    "device": (special(stat.S_IFCHR), "no regular file"),
    "lzma": (compressed(zipfile.ZIP_LZMA), "other compression"),
    "bzip2": (compressed(zipfile.ZIP_BZIP2), "other compression"),
    "flipped bit": (flipped, "damaged"),
    "bomb": (bomb, "too large"),
    "understated size": (understated, "damaged"),
    "other local header": (other_header, "damaged"),
}


@pytest.mark.parametrize("case", DROPPED)
def test_a_hostile_entry_is_dropped_with_its_reason_and_nothing_leaves_the_folder(bench: Bench, case: str) -> None:
    make, kind = DROPPED[case]
    make(bench)
    found = record(bench)
    assert (found["count"], found["reasons"]) == (3, {kind: 1})
    assert len(found["dropped"]) == 1
    written = {path for path in bench.home.rglob("*") if path.is_file() or path.is_symlink()}
    outside = {p.relative_to(bench.home).parts[0] for p in written} - {"raw", "record"}
    assert outside == {"in.zip", "params.yaml", "none.txt"}
    assert not any(path.is_symlink() for path in written)


def encrypted(bench: Bench) -> None:
    place = pack(bench, GOOD)
    content = bytearray(place.read_bytes())
    at = content.index(b"PK\1\2")
    content[at + 8] |= 1
    place.write_bytes(content)


def shared(bench: Bench) -> None:
    """Fifield's bomb in small: many directory entries, one kernel."""
    place = pack(bench, {"a.png": png(1)})
    content = place.read_bytes()
    start, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    entry = content[start:end]
    many = b"".join(entry.replace(b"a.png", f"{n:05d}".encode()) for n in range(100))
    names = many.replace(b"00000", b"a.png", 1)
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 100, 100, len(names), start, 0)
    place.write_bytes(content[:start] + names + tail)


def quoted(bench: Bench) -> None:
    """An entry whose data contain the next entry."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("b.png", png(2))
    local = inner.getvalue()[: inner.getvalue().index(b"PK\1\2")]
    place = pack(bench, {"a.png": local + b"x"})
    content = bytearray(place.read_bytes())
    start, end = content.index(b"PK\1\2"), content.rindex(b"PK\5\6")
    inside = bytearray(inner.getvalue()[inner.getvalue().index(b"PK\1\2") : inner.getvalue().rindex(b"PK\5\6")])
    struct.pack_into("<I", inside, 42, content.index(local))
    directory = bytes(content[start:end]) + bytes(inside)
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2, 2, len(directory), start, 0)
    place.write_bytes(bytes(content[:start]) + directory + tail)


def cut(share: float) -> Callable[[Bench], None]:
    def make(bench: Bench) -> None:
        place = pack(bench, {f"{n}.png": png(n) for n in range(30)})
        place.write_bytes(place.read_bytes()[: int(place.stat().st_size * share)])

    return make


def cut_directory(bench: Bench) -> None:
    """The end record is there, the directory before it is not whole."""
    place = pack(bench, GOOD)
    content = place.read_bytes()
    end = content.rindex(b"PK\5\6")
    place.write_bytes(content[: end - 60] + content[end:])


def claims(bench: Bench) -> None:
    """An end record that claims 4 billion entries."""
    place = pack(bench, GOOD)
    content = bytearray(place.read_bytes())
    end = content.rindex(b"PK\5\6")
    size, start = struct.unpack_from("<II", content, end + 12)
    wide = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 4_000_000_000, 4_000_000_000, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    struct.pack_into("<2H2I", content, end + 8, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    place.write_bytes(bytes(content[:end]) + wide + locator + bytes(content[end:]))


def text(bench: Bench) -> None:
    (bench.home / "in.zip").write_text("<html>not found</html>")


REFUSED: dict[str, tuple[Callable[[Bench], None], type[UserError], str]] = {
    "encrypted": (encrypted, UsageError, r"in\.zip: is encrypted; unpack it with its password"),
    "shared kernel": (shared, CorruptInputError, r"in\.zip: .*: overlaps what follows it"),
    "quoted entries": (quoted, CorruptInputError, r"in\.zip: a\.png: overlaps what follows it"),
    "cut in half": (cut(0.5), CorruptInputError, r"in\.zip: not a zip archive, or cut off"),
    "cut at the end": (cut(0.99), CorruptInputError, r"in\.zip: not a"),
    "cut directory": (cut_directory, CorruptInputError, r"in\.zip: not a whole zip archive"),
    "claims 4 billion entries": (claims, CorruptInputError, r"in\.zip: has 4000000000 entries"),
    "a web page": (text, CorruptInputError, r"in\.zip: not a zip archive"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_hostile_archive_is_refused_by_name_and_leaves_nothing(bench: Bench, case: str) -> None:
    make, kind, message = REFUSED[case]
    make(bench)
    use(bench)
    with pytest.raises(kind, match=message):
        bench.crawl("zip")
    assert {path.suffix for path in (bench.home / "raw").iterdir()} <= {".lock"}


def test_an_archive_may_not_unpack_to_more_than_its_entry_allows(bench: Bench) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    pack(bench, {f"{n}.png": encode_image(noise + np.uint8(n), "png") for n in range(3)})
    assert record(bench, max_gb=0.002)["count"] == 3
    use(bench, max_gb=0.001)
    with pytest.raises(CorruptInputError, match=r"unpacks to more than datasets\.zip\.max_gb \(0\.001\)"):
        bench.crawl("zip")


def test_a_missing_or_empty_archive_names_the_params_key(bench: Bench) -> None:
    use(bench)
    with pytest.raises(MissingInputError, match=r"datasets\.zip\.where: .*in\.zip: no such file"):
        bench.crawl("zip")
    pack(bench, {"readme.txt": b"x"})
    with pytest.raises(MissingInputError, match=r"datasets\.zip\.where: .*no images .* among 1 entries"):
        bench.crawl("zip")


def test_too_many_bad_entries_stop_it(bench: Bench) -> None:
    pack(bench, GOOD | {f"x{n}.png": b"no picture" for n in range(5)})
    use(bench)
    with pytest.raises(BudgetError, match=r"5 of 8 .*datasets\.zip\.max_bad_fraction"):
        bench.crawl("zip")


def test_names_with_control_characters_are_shown_escaped(bench: Bench) -> None:
    pack(bench, {"a\x1b[31m.png": png(1), "b\u202e.png": png(2)})
    assert origins(record(bench)) == ["a\\x1b[31m.png", "b\\x202e.png"]


def test_mutated_archives_never_raise_anything_but_our_errors(bench: Bench) -> None:
    whole = pack(bench, GOOD, compression=zipfile.ZIP_DEFLATED).read_bytes()
    use(bench, max_bad_fraction=0.9)
    draw = random.Random(0)
    fine = 0
    for _ in range(int(os.environ.get("CARTOON_FUZZ", "300"))):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        (bench.home / "in.zip").write_bytes(content[: draw.choice([len(content), draw.randrange(len(content))])])
        try:
            bench.crawl("zip")
            fine += 1
        except UserError as error:
            assert "zip" in str(error)
    assert fine > 10
