"""The section ``crop`` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from model.data.faces.crops import FilterSettings
from model.data.faces.detector import DetectorSettings, finds_landmarks
from model.data.faces.frames import FfhqFrame, FrameSettings


@dataclass(frozen=True)
class GivenFaces:
    """Nothing is searched: the dataset's records say where faces are (``landmarks``, or boxes in ``faces``)."""

    kind: Literal["given"]


@dataclass(frozen=True)
class FaceSettings:
    """How one kind of face (``photo``, ``anime``) is found, framed and filtered."""

    detector: DetectorSettings | GivenFaces
    frame: FrameSettings
    filters: FilterSettings

    def __post_init__(self) -> None:
        """Refuse to align by landmarks that the detector does not find."""
        if isinstance(self.detector, GivenFaces) or finds_landmarks(self.detector):
            return
        if isinstance(self.frame, FfhqFrame):
            raise ValueError(
                f"frame ffhq is made from eyes and mouth, which a detector of kind {self.detector.kind} does not find; "
                f"use the detector kind yunet, or frame kind square"
            )


@dataclass(frozen=True)
class CropParams:
    """Settings of the stage."""

    resolution: int  # px, of the square crops written
    workers: int | Literal["auto"]  # processes; the result is the same for any number; auto = processors
    max_bad_fraction: float  # share of unreadable pictures that is tolerated
    faces: dict[str, FaceSettings]  # by kind of face
