"""No tool of the pipeline reports home: switched off for this process and everything it starts."""

from __future__ import annotations

import os

QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}


def silence() -> None:
    """Set the switches, leaving alone what the user has set."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
