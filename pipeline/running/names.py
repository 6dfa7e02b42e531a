"""Where the leases of a project are, and what the leases of whole runs are called; those of stages have their names."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.graph import cache_folder


def lease_folder(root: Path) -> Path:
    """Folder that everybody who shares results with this project finds leases in: CARTOON_LEASES, or in the cache."""
    return Path(os.environ.get("CARTOON_LEASES") or cache_folder(root) / "leases")


def coordinator_lease(profile: str) -> str:
    """Name of what a profile's coordinator holds, wherever it is."""
    return f"coordinator of {profile}"


def folder_lease(profile: str, folder: Path) -> str:
    """Name of what a run without agents holds; other folders may run the same profile meanwhile."""
    return f"run of {profile} in {folder}"
