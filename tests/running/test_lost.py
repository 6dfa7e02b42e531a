"""What a supervisor takes for lost: processes whose parent was killed, never those that were just born."""

import os

import pytest

from pipeline.running import family, supervise

pytestmark = pytest.mark.slow


def test_a_process_born_between_two_looks_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    own, child, later, orphan = os.getpid(), 2, 3, 4
    world = {child: own, orphan: own}

    def look() -> dict[int, int]:
        seen = dict(world)
        world[later] = child  # the command starts something as soon as somebody has looked
        return seen

    monkeypatch.setattr(family, "parents", look)
    monkeypatch.setattr(supervise, "parents", look)
    assert supervise._lost(child) == {orphan: own}
    assert supervise._lost(child) == {orphan: own}
