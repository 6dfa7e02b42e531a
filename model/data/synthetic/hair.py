"""The shapes of the hair: a cap with a hairline, two side locks and a back part, all from a few numbers."""

from __future__ import annotations

import math

import numpy as np

from model.data.synthetic.curves import Points, open_curve
from model.data.synthetic.geometry import Face


class Hair:
    """Outlines of the hair of one face in picture coordinates."""

    def __init__(self, face: Face, locks: float) -> None:
        """Measure the hair of ``face``; ``locks`` scales how deep the fringe is cut into tips (photo 1, drawn more)."""
        attrs = face.attrs
        self.face = face
        self.locks = locks
        self.long = min(1.0, max(0.0, (attrs.hair_length - 0.22) * 4.0))  # 0 cropped, 1 falls beside the face
        self.end = 0.025 + max(0.0, attrs.hair_length - 0.22) * 0.66
        self.volume = 0.046 + 0.018 * attrs.hair_volume
        self.side = 0.012 + 0.034 * self.long + 0.010 * (attrs.hair_volume + 1.0)
        self.wave = 0.016 * attrs.hair_wave * self.long

    def _dome(self, grow: float) -> Points:
        """The top from the right temple over the crown to the left temple, ``[N, 3]``."""
        t = np.linspace(0.0, math.pi, 36)
        c, s = np.cos(t), np.sin(t)
        x = (self.face.half_width + self.side + grow) * np.sign(c) * np.abs(c) ** 0.88
        crest = 0.008 * np.exp(-(((c - 0.8 * self.face.attrs.parting) / 0.5) ** 2))
        y = -0.06 - (0.30 + self.volume + grow + crest) * s**0.92
        return np.stack([x, y, np.full_like(x, -0.03)], axis=1)

    def _fall(self, side: int, grow: float) -> Points:
        """The outer edge beside the face on ``side``, from the temple down to the tip, ``[N, 3]``."""
        a = self.face.half_width
        n = 14
        t = np.linspace(0.0, 1.0, n)
        y = -0.06 + (self.end + 0.06) * t
        cropped = a + (self.side + grow) * (1.0 - t) - 0.012 * t
        flow = a + self.side + grow + 0.030 * np.sin(math.pi * t * 0.8) - 0.030 * t**3 - 0.030 * t**8
        x = cropped * (1 - self.long) + flow * self.long + self.wave * np.sin(t * 9.0 + 1.5 * side) * t
        return np.stack([side * x, y, -0.03 + 0.07 * self.long * t**0.5], axis=1)

    def _inner(self, side: int) -> Points:
        """The inner edge of a side lock from its tip up to the temple, in picture coordinates."""
        a = self.face.half_width
        n = 12
        t = np.linspace(0.0, 1.0, n)
        start = -0.045
        y = self.end - 0.012 - (self.end - 0.012 - start) * t
        x = 0.915 * a + 0.035 * self.long * np.sin(math.pi * t) * (y > 0.1) - 0.02 * self.long * (1 - t)
        x = x + self.wave * 0.8 * np.sin(t * 8.0 + side) * (1 - t) - 0.030 * self.long * t
        return self.face.rim(np.stack([side * x, y, np.full(n, 0.085)], axis=1))

    def hairline(self) -> Points:
        """The edge over the forehead from the right to the left temple, in picture coordinates."""
        attrs = self.face.attrs
        s = np.linspace(0.86 - 0.09 * self.long, -0.86 + 0.09 * self.long, 81)
        fringe = attrs.fringe
        top = -0.262 + 0.137 * fringe
        edge = top + (-0.055 - top) * np.abs(s) ** (3.2 - 0.8 * fringe)
        part = 0.65 * attrs.parting
        edge = edge - (0.022 + 0.055 * fringe * (1 - 0.5 * fringe)) * np.exp(-(((s - part) / 0.22) ** 2))
        saw = np.abs(((s - part) * 2.6) % 1.0 - 0.5) * 2.0  # tips hang at the saw's low points
        edge = edge + self.locks * (0.006 + 0.022 * fringe) * (1.0 - saw**0.8) * (1.0 - np.abs(s) ** 4)
        edge = edge - (self.locks - 1.0) * 0.020 * fringe  # deep tips start higher, so that large eyes stay free
        return self.face.on(np.stack([s * self.face.half_width, edge], axis=1), 0.015)

    def _tips(self, side: int) -> list[Points]:
        """The cut of a side lock from its outer to its inner edge: straight in photographs, a point in drawings."""
        if self.locks <= 1.0:
            return []
        outer, inner = self.face.rim(self._fall(side, 0.0)[-1:])[0], self._inner(side)[0]
        depth = 0.045 * self.long
        steps = [(0.25, 0.45), (0.50, 1.0), (0.72, 0.30)]
        return [np.array([outer + (inner - outer) * part + np.array([0.0, depth * dip]) for part, dip in steps])]

    def front(self, grow: float = 0.0) -> Points:
        """The closed outline of everything in front of the face: cap, fringe and side locks."""
        rim = self.face.rim
        parts = [
            rim(self._dome(grow)),
            rim(self._fall(-1, grow)),
            *self._tips(-1),
            self._inner(-1),
            self.hairline()[::-1],
            self._inner(1)[::-1],
            *[tips[::-1] for tips in self._tips(1)],
            rim(self._fall(1, grow)[::-1]),
        ]
        return np.concatenate(parts)

    def back(self, grow: float = 0.0) -> Points:
        """The closed outline of the hair behind the neck."""
        left, right = self._fall(-1, grow), self._fall(1, grow)
        if self.long == 0.0:  # the nape
            a = self.face.half_width
            nape = [(-a * 0.96, 0.0, -0.04), (-0.72 * a, 0.20, -0.04), (0.72 * a, 0.20, -0.04), (a * 0.96, 0.0, -0.04)]
            return self.face.rim(np.array(nape))
        sag = 0.03 * math.sin(3.0 * self.face.attrs.parting)
        bottom = open_curve([left[-1], (0.0, self.end - 0.02 + sag, -0.04), right[-1]])
        return self.face.rim(np.concatenate([self._dome(grow), left, bottom[1:-1], right[::-1]]))

    def lock_edge(self, side: int) -> Points:
        """The inner edge of a side lock from the temple down, ten points (drawn styles place strands by it)."""
        inner = self._inner(side)[::-1]
        return np.asarray(inner[np.linspace(2, len(inner) - 2, 10).astype(int)])

    def outer_edge(self, side: int) -> Points:
        """The outer edge of a side lock from the temple down, ten points that pair with `lock_edge`."""
        outer = self.face.rim(self._fall(side, 0.0))
        return np.asarray(outer[np.linspace(2, len(outer) - 2, 10).astype(int)])
