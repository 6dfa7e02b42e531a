"""The parameters of one synthetic face, drawn independently from counter-based random numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Purposes keep the random streams apart: the same (seed, index) never shares numbers between two uses.
PURPOSE_ATTRIBUTES = 1
PURPOSE_NOISE = 2
PURPOSE_PAGE = 3
PURPOSE_CASTING = 4

DYED_FRACTION = 0.10
GLASSES_FRACTION = 0.25


def stream(seed: int, purpose: int, index: int) -> np.random.Generator:
    """A generator whose numbers depend on (seed, purpose, index) alone, never on what was drawn before.

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox).
    """
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, index, 0, 0]))


@dataclass(frozen=True)
class FaceAttributes:
    """Everything a renderer knows about a face; unless said otherwise a field is uniform on [-1, 1]."""

    seed: int
    index: int
    yaw: float  # 1 = 18 degrees to the right of the picture
    pitch: float  # 1 = 9 degrees up
    roll: float  # 1 = 6 degrees clockwise
    face_width: float
    face_height: float  # length of the lower face
    jaw: float  # -1 pointed chin, 1 square jaw
    skin: float  # 0 deep .. 1 light
    hair_shade: float  # 0 black .. 1 pale blond
    hair_warmth: float  # 0 ash .. 1 red
    hair_dye: float  # 0 = natural, else a hue in (0, 1]
    hair_length: float  # 0 cropped .. 1 over the shoulders
    hair_volume: float
    hair_wave: float  # 0 straight .. 1 wavy
    fringe: float  # 0 combed back .. 1 down to the brows
    parting: float  # where the hair parts, -1 .. 1 across the forehead
    eye_spacing: float
    eye_size: float
    iris: float  # 0 dark brown .. 0.5 hazel, green .. 1 blue
    gaze: float  # -1 left of the picture .. 1 right
    brow_angle: float  # -1 sad (inner ends up) .. 1 stern
    brow_thickness: float
    nose_size: float
    mouth_width: float
    smile: float
    mouth_open: float  # 0 closed .. 1; closed for half of all faces
    glasses: int  # 0 or 1
    glasses_shape: float  # -1 round .. 1 rectangular
    light: float  # -1 key light from the left .. 1 from the right
    background_hue: float  # 0 .. 1, circular
    background_shade: float  # 0 dark .. 1 light
    cloth_hue: float  # 0 .. 1, circular
    cloth_shade: float  # 0 dark .. 1 light

    def vector(self) -> Floats:
        """The attributes that show in every style, each scaled to about [-1, 1], float32 ``[len(VECTOR_NAMES)]``.

        Hues are left out (ink has none) and so are clothes and background, which are not the face's.
        """
        return np.array([_scaled(self, name) for name in VECTOR_NAMES], dtype=np.float32)


VECTOR_NAMES = (
    "yaw",
    "pitch",
    "roll",
    "face_width",
    "face_height",
    "jaw",
    "skin",
    "hair_shade",
    "hair_length",
    "hair_volume",
    "fringe",
    "parting",
    "eye_spacing",
    "eye_size",
    "gaze",
    "brow_angle",
    "brow_thickness",
    "nose_size",
    "mouth_width",
    "smile",
    "mouth_open",
    "glasses",
)
_UNIT_RANGE = frozenset({"skin", "hair_shade", "hair_length", "fringe", "mouth_open", "glasses"})


def _scaled(attrs: FaceAttributes, name: str) -> float:
    value = float(getattr(attrs, name))
    return 2.0 * value - 1.0 if name in _UNIT_RANGE else value


def sample_attributes(seed: int, index: int) -> FaceAttributes:
    """Draw face number ``index`` of the world ``seed``; every field is independent of the others.

    Args:
        seed: which world, at least 0.
        index: which face, at least 0. The same pair gives the same face whatever was drawn before.
    """
    rng = stream(seed, PURPOSE_ATTRIBUTES, index)
    u = rng.random(40).tolist()  # one number per field, in order; spare ones keep later fields from shifting
    s = [2.0 * value - 1.0 for value in u]
    return FaceAttributes(
        seed=seed,
        index=index,
        yaw=s[0],
        pitch=s[1],
        roll=s[2],
        face_width=s[3],
        face_height=s[4],
        jaw=s[5],
        skin=u[6],
        hair_shade=u[7] ** 1.25,
        hair_warmth=u[8],
        hair_dye=u[9] / DYED_FRACTION if u[9] < DYED_FRACTION else 0.0,
        hair_length=u[10],
        hair_volume=s[11],
        hair_wave=u[12],
        fringe=u[13],
        parting=s[14],
        eye_spacing=s[15],
        eye_size=s[16],
        iris=u[17],
        gaze=s[18],
        brow_angle=s[19],
        brow_thickness=s[20],
        nose_size=s[21],
        mouth_width=s[22],
        smile=s[23],
        mouth_open=max(0.0, 2.0 * u[24] - 1.0),
        glasses=int(u[25] < GLASSES_FRACTION),
        glasses_shape=s[26],
        light=s[27],
        background_hue=u[28],
        background_shade=u[29],
        cloth_hue=u[30],
        cloth_shade=u[31],
    )
