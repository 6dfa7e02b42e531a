"""A process that runs a job, as a flow does: ``runner ROOT STAGE,STAGE [allowed=A,B] [pool=P] [leases=D] [ttl=S]``."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from pipeline.running import process
from pipeline.running.mend import mend
from pipeline.running.process import GROUPS
from tests.running.toys import Toy


def main() -> None:
    toy, names = Toy(Path(sys.argv[1])), [name for name in sys.argv[2].split(",") if name]
    options = dict(word.split("=", 1) for word in sys.argv[3:])
    signal.signal(signal.SIGTERM, lambda number, frame: GROUPS.terminate())
    if "ttl" in options:
        process._TTL, process._POLL = float(options["ttl"]), 0.1
    mend(toy.root)
    allowed = [name for name in options.get("allowed", "").split(",") if name]
    leases = Path(options["leases"]) if "leases" in options else None
    with (toy.root / "output.jsonl").open("a", buffering=1) as output:
        outcomes = toy.run(
            *names, rules=toy.rules(*allowed, pool=options.get("pool", ""), leases=leases),
            on_line=lambda line: output.write(json.dumps(line) + "\n"),
        )  # fmt: skip
    text = json.dumps({name: asdict(outcome) for name, outcome in outcomes.items()})
    (toy.root / "outcomes.jsonl").write_text(text)


if __name__ == "__main__":
    main()
