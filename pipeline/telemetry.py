"""Switches of the tools, for this process and all it starts: none reports home, advertises, or unpickles its finds."""

from __future__ import annotations

import os

QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # of pages for chat bots; `sights` knows ours
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}


def silence() -> None:
    """Set the switches, leaving alone what the user has set."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
