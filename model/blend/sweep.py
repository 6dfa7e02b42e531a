"""Pictures of many exchanges in one pass: what they share is computed once, with the bits of separate passes.

A *state* says what has been drawn after a block, by whom and from what. Pictures whose first blocks agree share states,
whatever kinds of exchange they belong to: hard-swapped weights and handed-over features are the same chain of blocks of
the two parents, so no blended network runs for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.blend.kinds import FeatureExchange, Kind, Side, check_level, other
from model.blend.weights import check_pair
from model.networks.generator import BlockOutput, Generator, Noise
from model.ops.fir import upsample

SHARES: dict[Side, float] = {"source": 0.0, "target": 1.0}


@dataclass(frozen=True)
class Drawn:
    """After a block of ``resolution`` px that ran on the features and RGB of ``below``."""

    resolution: int  # px
    share: float  # of the target in the block's weights
    w: Side  # whose style vectors it reads
    below: State | None  # None at 4 px: the constant


@dataclass(frozen=True)
class Handed:
    """After the features of a state were handed to another generator, which keeps its own RGB from below."""

    features: State
    share: float  # of the target in the ToRGB that reads them
    w: Side
    skip: State | None  # whose RGB it adds to; None at 4 px

    @property
    def resolution(self) -> int:
        """Size of the features, px."""
        return self.features.resolution


State = Drawn | Handed


def whole(side: Side, w: Side, resolutions: Sequence[int]) -> State:
    """Return the picture of one generator from the w of either."""
    return _chain(((r, SHARES[side]) for r in resolutions), w)


def picture(kind: Kind, at: int, resolutions: Sequence[int], w: Side | None = None) -> State:
    """Return the picture of an exchange.

    Args:
        kind: the exchange.
        at: its level, px; 0 for a schedule.
        resolutions: sizes of the generators' blocks, px.
        w: whose style vectors everything reads; None: a blended generator those of the mapping network that it has,
            handed-over features those of the generator that draws.

    Raises: ValueError for a level that does not exist, or a schedule that does not name every block.
    """
    if not isinstance(kind, FeatureExchange):
        blend = kind.blend(at, resolutions)
        return _chain(blend.blocks.items(), w or blend.mapping)
    check_level(at, resolutions)
    low, high = kind.low, other(kind.low)
    if at in (0, resolutions[-1]):
        side = low if at else high
        return whole(side, w or side, resolutions)
    coarse = whole(low, w or low, [r for r in resolutions if r <= at])
    if kind.rgb_skip == high:
        under = whole(high, w or high, [r for r in resolutions if r < at]) if at > resolutions[0] else None
        coarse = Handed(coarse, SHARES[high], w or high, under)
    return _chain(((r, SHARES[high]) for r in resolutions if r > at), w or high, coarse)


def _chain(blocks: Iterable[tuple[int, float]], w: Side, after: State | None = None) -> State:
    for resolution, share in blocks:
        after = Drawn(resolution, share, w, after)
    assert after is not None
    return after


class Sweep:
    """Draws pictures of exchanges between two generators.

    Args:
        source: the generator that was fine-tuned from.
        target: the fine-tuned generator, same architecture.
        mixed: by block (px) and the target's share in it, a generator that has the block; see :func:`mixtures`.

    Raises: ValueError for two architectures.
    """

    def __init__(
        self, source: Generator, target: Generator, mixed: Mapping[tuple[int, float], Generator] | None = None
    ) -> None:
        check_pair(source, target)
        self.source, self.target, self.mixed = source, target, dict(mixed or {})
        self.resolutions = source.config.resolutions
        self._equal = {r for r in self.resolutions if _same_block(source, target, r)}

    def draw(self, wanted: Sequence[State], ws: Mapping[Side, Tensor], noise: Noise) -> Iterator[Tensor]:
        """Draw pictures, each as it is asked for; a state is kept no longer than another one needs it.

        Args:
            wanted: what to draw, from :func:`whole` and :func:`picture`.
            ws: style vectors ``[N, num_ws, w_dim]`` by whose they are.
            noise: one map per convolution, shared by all.

        Yields: images ``[N, 3, R, R]`` in the order of ``wanted``; the same tensor for pictures that are the same.
        """
        names = _Names(self._equal, {r for r in self.resolutions if self._same_rows(ws, r)})
        states = [names.of(state) for state in wanted]
        run = _Run(self, ws, noise, states)
        for state in states:
            yield run.output(state).rgb
            run.release(state)

    def generator(self, resolution: int, share: float) -> Generator:
        """Return a generator whose block of ``resolution`` px has ``share`` of the target."""
        if share in (0.0, 1.0):
            return self.target if share else self.source
        if (resolution, share) not in self.mixed:
            raise ValueError(f"no generator was given whose block of {resolution} px has {share} of the target")
        return self.mixed[resolution, share]

    def _same_rows(self, ws: Mapping[Side, Tensor], resolution: int) -> bool:
        block = self.source.synthesis.block(resolution)
        rows = slice(block.first_row, block.first_row + len(block.convs()) + 1)
        first, *rest = (one[:, rows] for one in ws.values())
        return all(torch.equal(first, one) for one in rest)


class _Names:
    """Gives states that must draw the same the same name: blocks that never trained, style vectors that are equal."""

    def __init__(self, equal_blocks: set[int], equal_rows: set[int]) -> None:
        self.equal_blocks, self.equal_rows = equal_blocks, equal_rows

    def of(self, state: State) -> State:
        share = 0.0 if state.resolution in self.equal_blocks else state.share
        w: Side = "source" if state.resolution in self.equal_rows else state.w
        if isinstance(state, Drawn):
            return replace(state, share=share, w=w, below=state.below and self.of(state.below))
        features, skip = self.of(state.features), state.skip and self.of(state.skip)
        if features == Drawn(state.resolution, share, w, skip):
            return features  # the ToRGB that drew them
        return Handed(features, share, w, skip)


class _Run:
    """The states of one batch that are still needed."""

    def __init__(self, sweep: Sweep, ws: Mapping[Side, Tensor], noise: Noise, wanted: Sequence[State]) -> None:
        self.sweep, self.ws, self.noise = sweep, ws, noise
        self.kept: dict[State, BlockOutput] = {}
        self.uses = Counter(wanted)
        seen: set[State] = set()
        queue = list(wanted)
        while queue:
            state = queue.pop()
            if state not in seen:
                seen.add(state)
                self.uses.update(_inputs(state))
                queue.extend(_inputs(state))

    def output(self, state: State) -> BlockOutput:
        if state not in self.kept:
            inputs = [self.output(one) for one in _inputs(state)]
            made = self._drawn(state, *inputs) if isinstance(state, Drawn) else self._handed(state, *inputs)
            if state.resolution == self.sweep.resolutions[-1]:
                made = BlockOutput(made.resolution, made.rgb, made.rgb)  # nobody reads the largest features
            self.kept[state] = made
            for one in _inputs(state):
                self.release(one)
        return self.kept[state]

    def release(self, state: State) -> None:
        self.uses[state] -= 1
        if not self.uses[state]:
            del self.kept[state]

    def _drawn(self, state: Drawn, below: BlockOutput | None = None) -> BlockOutput:
        generator = self.sweep.generator(state.resolution, state.share)
        return next(generator.synthesis.walk(self.ws[state.w], self.noise, below))

    def _handed(self, state: Handed, features: BlockOutput, skip: BlockOutput | None = None) -> BlockOutput:
        block = self.sweep.generator(state.resolution, state.share).synthesis.block(state.resolution)
        rgb: Tensor = block.to_rgb(features.features, self.ws[state.w][:, block.first_row + len(block.convs())])
        return BlockOutput(state.resolution, features.features, rgb if skip is None else rgb + upsample(skip.rgb))


def inject_features(
    source: Generator,
    target: Generator,
    ws: Mapping[Side, Tensor],
    noise: Noise,
    *,
    at: int,
    low: Side = "source",
    rgb_skip: Side,
) -> Tensor:
    """Draw with one generator up to ``at`` px and let the other go on from its features. No weight changes.

    Args:
        source: the generator that was fine-tuned from.
        target: the fine-tuned generator, same architecture.
        ws: style vectors ``[N, num_ws, w_dim]`` by the generator that reads them; usually of the same z.
        noise: one map per convolution, shared by both.
        at: px; 0 gives the picture of the other generator, the resolution that of ``low``.
        low: who draws the coarse blocks.
        rgb_skip: whose RGB goes on at ``at`` px, see :class:`model.blend.kinds.FeatureExchange`.

    Returns: images ``[N, 3, R, R]``.
    Raises: ValueError for a level that does not exist, another ``low`` or ``rgb_skip``, or two architectures.
    """
    wanted = picture(FeatureExchange("features", low, rgb_skip), at, source.config.resolutions)
    return next(Sweep(source, target).draw([wanted], ws, noise))


def _inputs(state: State) -> list[State]:
    both = (state.below,) if isinstance(state, Drawn) else (state.features, state.skip)
    return [one for one in both if one is not None]


def _same_block(source: Generator, target: Generator, resolution: int) -> bool:
    """Whether a block draws the same in both: its noise maps do not count, they are given to it."""
    pairs = zip(*(one.synthesis.block(resolution).parameters() for one in (source, target)), strict=True)
    constant = resolution != 4 or torch.equal(source.synthesis.const, target.synthesis.const)
    return constant and all(torch.equal(ours, theirs) for ours, theirs in pairs)
