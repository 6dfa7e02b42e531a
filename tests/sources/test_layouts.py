"""Sources metfaces and danbooru: published layouts, made small here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.images import encode_image
from model.errors import BudgetError, CorruptInputError, MissingInputError, UsageError
from stages.sources.danbooru import read_post
from tests.stages.world import Bench, tree


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def picture(path: Path, value: int, codec: str = "png") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(np.full((24, 24, 3), value, np.uint8), codec))
    return path


def record(bench: Bench, kind: str, **changes: object) -> dict[str, Any]:
    use(bench, kind, **changes)
    return json.loads((bench.crawl("set") / "crawl.json").read_text())  # type: ignore[no-any-return]


def use(bench: Bench, kind: str, **changes: object) -> None:
    filters: dict[str, object] = {"images": "512px", "ratings": [], "require_tags": [], "exclude_tags": []}
    bench.dataset("set", kind, bench.home / "in", **{**(filters if kind == "danbooru" else {}), **changes})


# -- MetFaces --------------------------------------------------------------------------------------------------------


def face(number: int, index: int, **more: object) -> dict[str, object]:
    """An entry as published: one face of an object of the museum."""
    return {
        "obj_id": str(number), "face_idx": index, "image_path": f"images/{number}-{index:02d}.png",
        "source_path": f"unprocessed/image-{number}.png", "source_url": f"https://images.example/{number}.jpg",
        "meta_url": f"https://collection.example/{number}", "title": f"Portrait {number}", "artist": "A. Painter",
        "face_spec": {"rect": [1, 2, 3, 4], "shrink": 2, "landmarks": [[0.0, 1.0]] * 68}, **more,
    }  # fmt: skip


def metfaces(bench: Bench, faces: object | None) -> Path:
    for value, name in enumerate(["10-00", "10-01", "11-00", "12-00"]):
        picture(bench.home / "in" / "images" / f"{name}.png", value)
    if faces is not None:
        (bench.home / "in" / "metfaces.json").write_text(json.dumps(faces))
    return bench.home / "in" / "metfaces.json"


FACES = [face(10, 0), face(10, 1), face(11, 0), face(12, 0)]


@pytest.mark.parametrize("faces", [FACES, {str(n): f for n, f in enumerate(FACES)}, None], ids=["list", "dict", "none"])
def test_faces_of_one_painting_are_one_group(bench: Bench, faces: object) -> None:
    metfaces(bench, faces)
    files = record(bench, "metfaces")["files"]
    assert [entry["group"] for _, entry in sorted(files.items())] == [
        "object 10", "object 10", "object 11", "object 12",
    ]  # fmt: skip


def test_who_painted_it_is_on_record_and_landmarks_of_another_picture_are_not(bench: Bench) -> None:
    metfaces(bench, FACES)
    found = record(bench, "metfaces")
    entry = found["files"]["00002-11-00.png"]
    assert entry["origin"] == "images/11-00.png"
    assert entry["work"] == {
        "title": "Portrait 11", "artist": "A. Painter", "source_url": "https://images.example/11.jpg",
        "meta_url": "https://collection.example/11",
    }  # fmt: skip
    assert not any("landmarks" in entry for entry in found["files"].values())
    assert set(found["inputs"]) == {"metfaces.json"}


def test_numbers_may_be_numbers_and_paths_may_be_missing(bench: Bench) -> None:
    entry = {"obj_id": 10, "face_idx": 1, "title": None}
    metfaces(bench, [entry])
    files = record(bench, "metfaces")["files"]
    assert files["00001-10-01.png"]["group"] == files["00000-10-00.png"]["group"] == "object 10"
    assert "work" not in files["00001-10-01.png"]


def test_a_part_of_the_set_is_enough_and_what_is_absent_is_counted(bench: Bench) -> None:
    metfaces(bench, [*FACES, face(13, 0), face(14, 0)])
    (bench.home / "in" / "images" / "12-00.png").unlink()
    found = record(bench, "metfaces")
    assert (found["count"], found["listed"], found["listed_but_absent"]) == (3, 6, 3)


@pytest.mark.parametrize(("faces", "message"), [
    ("text", r"metfaces\.json: expected a list of faces, found str"), ([3], r"entry 0: expected a mapping, found int"),
    ([FACES[0], {"face_idx": 1}], r"entry 1: obj_id: expected text or a whole number, found nothing"),
    ([face(1, 0, obj_id=[1])], r"entry 0: obj_id: expected text or a whole number, found list"),
    ([face(1, 0, obj_id=True)], r"entry 0: obj_id: .*found bool"),
    ([face(1, 0, image_path=7)], r"entry 0: image_path: expected text, found int"),
    ([{"obj_id": "1", "face_idx": "0"}], r"entry 0: face_idx: expected a whole number, found str"),
    ([face(1, 0, title={"en": "x"})], r"entry 0: title: expected text or a whole number, found dict"),
])  # fmt: skip
def test_a_list_that_is_not_as_published_is_named_by_entry_and_key(bench: Bench, faces: object, message: str) -> None:
    metfaces(bench, faces)
    use(bench, "metfaces")
    with pytest.raises(CorruptInputError, match=message):
        bench.crawl("set")


def test_a_list_that_is_no_json_is_named(bench: Bench) -> None:
    metfaces(bench, FACES).write_text("[" * 200_000)
    use(bench, "metfaces")
    with pytest.raises(CorruptInputError, match=r"metfaces\.json: not JSON"):
        bench.crawl("set")


def test_a_name_in_the_list_is_never_a_path(bench: Bench) -> None:
    secret = picture(bench.home / "secret.png", 99)
    metfaces(bench, [face(10, 0, image_path="../secret.png"), face(11, 0, image_path=str(secret))])
    assert all(entry["origin"].startswith("images/") for entry in record(bench, "metfaces")["files"].values())


def test_another_folder_is_told_what_is_expected(bench: Bench) -> None:
    (bench.home / "in").mkdir()
    use(bench, "metfaces")
    with pytest.raises(MissingInputError, match=r"datasets\.set\.where: .*no folder images/ .*source: folder"):
        bench.crawl("set")


# -- Danbooru --------------------------------------------------------------------------------------------------------


def post(number: int, tags: str = "1girl smile", rating: str = "s", **more: object) -> dict[str, object]:
    """A line as Danbooru2018 to 2020 have it: numbers are text, tags are mappings."""
    named = [{"id": str(n), "name": tag, "category": "0"} for n, tag in enumerate(tags.split())]
    return {"id": str(number), "rating": rating, "file_ext": "png", "md5": "0" * 32, "tags": named,
            "is_deleted": False, "is_banned": False, "pixiv_id": "0", **more}  # fmt: skip


def danbooru(bench: Bench, posts: list[dict[str, object]], files: list[int], folder: str = "512px") -> Path:
    place = bench.home / "in"
    for number in files:
        suffix = ".jpg" if folder == "512px" else ".png"
        codec = "jpeg" if folder == "512px" else "png"
        picture(place / folder / f"{number % 1000:04d}" / f"{number}{suffix}", number % 256, codec)
    if posts:
        (place / "metadata").mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(line) + "\n" for line in posts)
        (place / "metadata" / "2020000000000000.json").write_text(lines)
    return place


def numbers(found: dict[str, Any]) -> list[int]:
    return sorted(int(Path(entry["origin"]).stem) for entry in found["files"].values())


def test_posts_are_found_in_the_folder_of_their_last_three_digits(bench: Bench) -> None:
    danbooru(bench, [post(1), post(1000), post(4711), post(263168)], [1, 1000, 4711, 263168])
    found = record(bench, "danbooru")
    assert sorted(entry["origin"] for entry in found["files"].values()) == [
        "512px/0000/1000.jpg", "512px/0001/1.jpg", "512px/0168/263168.jpg", "512px/0711/4711.jpg",
    ]  # fmt: skip
    assert found["metadata"] == {"lines": 4, "bad_lines": 0, "passed_over": {}}


def test_originals_have_the_suffix_that_their_post_says(bench: Bench) -> None:
    danbooru(bench, [post(7), post(8, file_ext="swf"), post(9, file_ext="../x")], [7, 8, 9], "original")
    found = record(bench, "danbooru", images="original")
    assert numbers(found) == [7]
    assert found["metadata"]["passed_over"] == {"no picture": 2}


def test_filters_take_ratings_and_tags_and_never_what_is_deleted_or_banned(bench: Bench) -> None:
    posts = [post(1), post(2, rating="e"), post(3, "1girl"), post(4, "1girl smile comic"), post(5, is_deleted=True),
             post(6, is_banned="true"), post(7), post(8, is_deleted="0", is_banned=None)]  # fmt: skip
    danbooru(bench, posts, [1, 2, 3, 4, 5, 6, 8])
    found = record(bench, "danbooru", ratings=["s", "g"], require_tags=["1girl", "smile"], exclude_tags=["comic"])
    assert numbers(found) == [1, 8]
    assert found["metadata"]["passed_over"] == {
        "rating": 1, "lacks a required tag": 1, "has an excluded tag": 1, "deleted or banned": 2, "file not here": 1,
    }  # fmt: skip


def test_newer_sets_have_numbers_and_one_text_of_tags(bench: Bench) -> None:
    newer = {"id": 12, "rating": "g", "tag_string": "1girl solo", "file_ext": "jpg", "is_deleted": False}
    danbooru(bench, [newer], [12])
    assert numbers(record(bench, "danbooru", ratings=["g"], require_tags=["solo"])) == [12]


def test_a_random_part_is_drawn_from_posts_that_pass_and_are_here(bench: Bench) -> None:
    posts = [post(n, rating="s" if n % 2 else "e") for n in range(1, 200)]
    danbooru(bench, posts, list(range(1, 200, 3)))
    found = record(bench, "danbooru", ratings=["s"], pick={"count": 10, "seed": 5})
    chosen = numbers(found)
    assert len(chosen) == 10
    assert all(n % 2 and n % 3 == 1 for n in chosen)
    first = tree(bench.home / "raw" / "set")
    assert numbers(record(bench, "danbooru", ratings=["s"], pick={"count": 10, "seed": 5})) == chosen
    assert tree(bench.home / "raw" / "set") == first
    assert numbers(record(bench, "danbooru", ratings=["s"], pick={"count": 10, "seed": 6})) != chosen


def test_without_metadata_every_picture_is_taken_and_a_filter_is_an_error(bench: Bench) -> None:
    danbooru(bench, [], [1, 2, 1001])
    assert numbers(record(bench, "danbooru")) == [1, 2, 1001]
    for name in ("ratings", "require_tags", "exclude_tags"):
        use(bench, "danbooru", **{name: ["s"]})
        with pytest.raises(UsageError, match=r"datasets\.set: .*need .*metadata, which is not there"):
            bench.crawl("set")


def test_bad_lines_are_counted_named_and_bounded_by_the_budget(bench: Bench) -> None:
    place = danbooru(bench, [post(n) for n in range(1, 31)], list(range(1, 31)))
    file = place / "metadata" / "2020000000000000.json"
    good = file.read_text()
    file.write_text(good + "{broken\n" + "x" * 3_000_000 + "\n" + json.dumps(post(1001)) + "\n")
    danbooru(bench, [], [1001])
    found = record(bench, "danbooru", max_bad_fraction=0.1)
    assert 1001 in numbers(found)  # what follows a bad line is read
    assert found["metadata"]["bad_lines"] == 2
    assert [item["origin"] for item in found["dropped"]] == [f"metadata/{file.name}:{n}" for n in (31, 32)]
    use(bench, "danbooru", max_bad_fraction=0.0)
    with pytest.raises(BudgetError, match=r"2 of 33 .*2020000000000000\.json:31"):
        bench.crawl("set")


@pytest.mark.parametrize("line", [
    "[1]", "3", '{"id": "x"}', '{"id": -1}', '{"id": "1/../2"}', '{"id": 1, "tags": 3}', '{"id": 1, "tags": [3]}',
    '{"id": 1, "rating": 3}', '{"id": 1, "file_ext": null}', '{"id": "' + "9" * 13 + '"}', '{"id": 1.5}', "",
])  # fmt: skip
def test_a_line_that_is_not_as_published_is_a_value_error(line: str) -> None:
    with pytest.raises(ValueError):
        read_post(line.encode())


def test_a_set_without_its_folder_or_without_a_post_that_passes_is_named(bench: Bench) -> None:
    use(bench, "danbooru")
    with pytest.raises(MissingInputError, match=r"datasets\.set\.where: .*no folder 512px/"):
        bench.crawl("set")
    danbooru(bench, [post(1)], [1])
    use(bench, "danbooru", ratings=["g"])
    with pytest.raises(MissingInputError, match=r"no post passes \(1 lines of metadata: 1 rating\); relax its filters"):
        bench.crawl("set")
