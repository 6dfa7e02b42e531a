"""Pages of the synthetic face world."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from model.data.images import encode_image
from model.progress import track
from stages.sources.settings import SyntheticSource


def draw_pages(source: SyntheticSource, out: Path) -> dict[str, Any]:
    """Draw comic pages; their records also have the true ``faces`` (x, y, width, height)."""
    from model.data.synthetic.pages import comic_page

    files = {}
    for index in track(range(source.pages), "draw pages", unit="pages"):
        page = comic_page(source.seed, index, source.style)
        content = encode_image(page.image, "png", compress_level=1)
        name = f"{index:05d}-{source.style}.png"
        (out / name).write_bytes(content)
        files[name] = {
            "origin": f"seed {source.seed}, page {index}",
            "group": f"seed {source.seed}, page {index}",
            "sha256": hashlib.sha256(content).hexdigest(),
            "faces": [[int(v) for v in face.box] for face in page.faces],
        }
    return {"files": files, "dropped": [], "reasons": {}, "ignored": 0}
