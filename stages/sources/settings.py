"""The entries of ``datasets`` in params.yaml: one dataclass per kind of source.

``where`` is in every entry and names what on this machine the dataset comes from; DVC watches it, so a changed file
makes the stage ``crawl`` stale.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pipeline.params import read_section

WEBTOON_LANGUAGES = ("en", "zh-hant", "th", "id", "es", "fr", "de")
GroupBy = Literal["file", "folder"]  # what is never divided between training and held-out images: folder = episode


@dataclass(frozen=True)
class Pick:
    """A random part of what there is."""

    count: int  # pictures; all of them if there are fewer
    seed: int

    def __post_init__(self) -> None:
        """Refuse an empty choice."""
        if self.count < 1:
            raise ValueError(f"count must be at least 1, found {self.count}")


@dataclass(frozen=True)
class SyntheticSource:
    """Comic pages drawn by ``model.data.synthetic``."""

    source: Literal["synthetic"]
    where: str  # the code that draws them: model/data/synthetic
    style: str  # of the faces: photo, flat, ink
    pages: int
    seed: int
    face: str  # a key of crop.faces, or `none`
    exclude: str  # a file that lists crops not to be used; exclusions/none.txt lists none
    license: str


@dataclass(frozen=True)
class Pictures:
    """What every kind of source says that gathers pictures, from this machine or from others."""

    where: str  # relative to the project's root
    pick: Pick | None  # null = all
    max_bad_fraction: float  # share of unreadable items that is tolerated
    face: str  # a key of crop.faces, or `none` when every image is a face crop already
    exclude: str  # a file that lists crops not to be used; exclusions/none.txt lists none
    license: str

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        check_share(self.max_bad_fraction)


@dataclass(frozen=True)
class FolderSource(Pictures):
    """Image files of the user: ``where`` is a folder, searched recursively."""

    source: Literal["folder"]
    group_by: GroupBy


@dataclass(frozen=True)
class ZipSource(Pictures):
    """A zip archive of image files: ``where`` is the archive."""

    source: Literal["zip"]
    group_by: GroupBy
    max_gb: float  # of all pictures in it, unpacked; a bomb has more

    def __post_init__(self) -> None:
        """Refuse a limit that lets nothing through."""
        super().__post_init__()
        if self.max_gb <= 0:
            raise ValueError(f"max_gb must be more than 0, found {self.max_gb}")


@dataclass(frozen=True)
class VideoSource(Pictures):
    """Boxes of film frames: ``where`` is a folder with ``clips.csv`` (see ``stages.sources.clips``) and the films."""

    source: Literal["video"]


@dataclass(frozen=True)
class LmdbSource(Pictures):
    """An LMDB of rosinality's StyleGAN2 code or of ours: ``where`` is the folder of ``data.mdb``."""

    source: Literal["lmdb"]
    size: int  # px, of the images to take; such a file may hold several sizes

    def __post_init__(self) -> None:
        """Refuse an impossible size."""
        super().__post_init__()
        if self.size < 1:
            raise ValueError(f"size must be at least 1 px, found {self.size}")


@dataclass(frozen=True)
class MetfacesSource(Pictures):
    """NVIDIA's MetFaces: ``where`` is the folder of ``images/`` and, if it is there, ``metfaces.json``."""

    source: Literal["metfaces"]


@dataclass(frozen=True)
class DanbooruSource(Pictures):
    """Danbooru2018 to 2021: ``where`` is the folder of ``512px/`` or ``original/`` and of ``metadata/``."""

    source: Literal["danbooru"]
    images: Literal["512px", "original"]
    ratings: list[str]  # of posts to take: s in older sets, g and s in newer ones; empty = all
    require_tags: list[str]  # every one of them
    exclude_tags: list[str]  # none of them


@dataclass(frozen=True)
class WebtoonSource(Pictures):
    """Episodes of titles on webtoons.com, for whoever has the permission to use them.

    ``where`` is a folder kept in git: permission.yaml (yours) and episodes.json (what is taken, written by the
    program); ``pick`` chooses whole episodes.
    """

    source: Literal["webtoon"]
    titles: list[str]  # language/number, as in en/95
    max_episodes: int | None  # per title, the oldest ones; null = all

    def __post_init__(self) -> None:
        """Refuse titles that cannot be."""
        super().__post_init__()
        if not self.titles or len(set(self.titles)) != len(self.titles):
            raise ValueError(f"titles: expected different titles, at least one, found {self.titles}")
        for title in self.titles:
            language, _, number = title.partition("/")
            if language not in WEBTOON_LANGUAGES or not (number.isascii() and number.isdigit() and len(number) <= 9):
                raise ValueError(
                    f"titles: expected language/number like en/95 (languages: {', '.join(WEBTOON_LANGUAGES)}; the "
                    f"number is title_no of the title's address), found {title!r}"
                )
        if self.max_episodes is not None and self.max_episodes < 1:
            raise ValueError(f"max_episodes must be at least 1 or null, found {self.max_episodes}")


@dataclass(frozen=True)
class UrlsSource(Pictures):
    """Pictures from addresses: ``where`` is a CSV file ``url,sha256`` and, if pictures belong together, ``group``."""

    source: Literal["urls"]


Source = (
    SyntheticSource
    | FolderSource
    | ZipSource
    | UrlsSource
    | VideoSource
    | LmdbSource
    | MetfacesSource
    | DanbooruSource
    | WebtoonSource
)


@dataclass(frozen=True)
class Web:
    """How other people's servers are asked: the section ``crawl`` of params.yaml."""

    contact: str  # a mail or web address of yours, part of the user agent; may stay empty while nothing is crawled
    download_delay: float  # s between two requests to one host, at least
    max_delay: float  # s; slow answers stretch the delay up to this
    timeout_s: float  # s without a byte after which an answer has broken off
    deadline_s: float  # s for one whole answer
    retries: int  # of a request that is refused for now (429, 5xx) or breaks off
    max_image_mb: float
    robots: Literal["obey", "ignore"]  # ignore is noted in the dataset's record

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be."""
        for name in ("timeout_s", "deadline_s", "max_image_mb"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, found {getattr(self, name):g}")
        if not 0 <= self.download_delay <= self.max_delay:
            raise ValueError(
                f"expected 0 <= download_delay <= max_delay, found {self.download_delay:g} and {self.max_delay:g}"
            )
        if not 0 <= self.retries <= 10:
            raise ValueError(f"retries must be in [0, 10], found {self.retries}")


def check_share(max_bad_fraction: float) -> None:
    """Refuse a share of bad items that is none; ValueError."""
    if not 0 <= max_bad_fraction < 1:
        raise ValueError(f"max_bad_fraction must be in [0, 1), found {max_bad_fraction}")


def read_source(params: Path, dataset: str) -> Source:
    """Read ``datasets.<dataset>``: the settings of whichever kind of source its key ``source`` names."""
    kinds: Any = Source  # a union of dataclasses, told apart by their field `source`
    return cast(Source, read_section(params, f"datasets.{dataset}", kinds))


def read_web(params: Path) -> Web:
    """Read the section ``crawl``."""
    return read_section(params, "crawl", Web)
