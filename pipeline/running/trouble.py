"""What DVC says when results cannot be exchanged, and what it means."""

from __future__ import annotations

import re
from collections.abc import Sequence

BAD_SETTING, INCOMPLETE, NO_SPACE, NETWORK, DISOWNED = 2, 4, 5, 6, 9  # exit codes
_CREDENTIALS = re.compile(
    r"credential|AccessDenied|Access Denied|Forbidden|InvalidAccessKeyId|SignatureDoesNotMatch|Expired ?Token|"
    r"InvalidToken|Unauthorized|authenticat|Permission denied",
    re.IGNORECASE,
)
_SPACE = re.compile(r"No space left on device|Disk quota exceeded")
_SETTINGS = re.compile(r"NoSuchBucket|bucket does not exist|config(uration)? (file )?error|is supported, but requires")
ABSENT = re.compile(r"do(es)? not exist neither locally nor on remote|[Mm]issing cache files")
_TROUBLE = re.compile(
    r"failed to (transfer|push data)|connect|timed? ?out|name resolution|getaddrinfo|unexpected error", re.IGNORECASE
)
_STAGE_TROUBLE = re.compile(r"failed to run: |missing data ")  # may quote anything


class ExchangeError(Exception):
    """Results cannot be exchanged; nothing is lost, they are in this machine's cache."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


REMEDIES = {
    1: "`dvc push --verbose` by hand says more",
    BAD_SETTING: "check the remote's settings and its keys: `dvc remote modify --local`, or AWS_ACCESS_KEY_ID, "
    "AWS_SECRET_ACCESS_KEY or AWS_PROFILE for S3",
    NO_SPACE: "free some space there or here and start again",
    NETWORK: "nothing is lost, results are in this machine's cache; the same again goes on from here",
}


def trouble(printed: Sequence[str], tolerant: bool) -> tuple[str, int] | None:
    """Return the line that matters of what DVC printed and an exit code; None if it reached all it wanted.

    Args:
        printed: by DVC, line by line.
        tolerant: an error of another kind is none of the exchange.
    """
    lines = [line for line in printed if line.startswith("ERROR") and not _STAGE_TROUBLE.search(line)]
    kinds = ((_SPACE, NO_SPACE), (_CREDENTIALS, BAD_SETTING), (_SETTINGS, BAD_SETTING), (_TROUBLE, NETWORK))
    for pattern, code in kinds:
        for line in lines:
            if pattern.search(line):
                return line.removeprefix("ERROR:").strip()[:400], code
    return None if tolerant else ((lines or [*printed] or ["no message"])[-1][:400], 1)
