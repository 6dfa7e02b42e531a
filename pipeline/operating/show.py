"""``cartoon-pipeline status`` as one screen for people."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pipeline.operating.look import Picture, Stale
from pipeline.operating.look_server import Job, Pool, Run, ServerView

_MOST = 12  # entries of a list before "and N more"
_WAITING = ("scheduled", "pending")
_MIN, _HOUR, _DAY = 60.0, 3600.0, 86400.0


def screen(picture: Picture, now: float) -> str:
    """Write down a picture.

    Args:
        picture: what is known.
        now: the time, s since 1970.
    """
    lines = [f"warning: {warning}" for warning in picture.warnings]
    lines += [f"{picture.profile}{f' at {picture.commit[:12]}' if picture.commit else ''}"]
    lines += _under_way(picture, now)
    if picture.server is not None:
        lines += _server(picture.server, now)
        if picture.server.newest is not None:
            lines += _newest(picture.server.newest, now)
    if picture.finished is not None:
        when = span(now - picture.finished.when)
        lines += ["", f"Last finished: {when} ago, commit {picture.finished.commit[:12]}"]
    return "\n".join([*lines, "", *_stale(picture)]) + "\n"


def span(seconds: float) -> str:
    """Say a duration as people do: ``40 s``, ``12 min``, ``3 h 5 min``, ``2 days``."""
    seconds = max(seconds, 0.0)
    if seconds < _MIN:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds // _MIN:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MIN:.0f} min"
    return f"{seconds // _DAY:.0f} days"


def _under_way(picture: Picture, now: float) -> Iterator[str]:
    if not picture.running and not picture.runs:
        return
    yield ""
    yield "Runs now"
    width = max((len(one.name) for one in picture.running), default=0)
    for one in picture.runs:
        yield f"  {one.name}: {one.host}, process {one.pid}, for {span(now - one.since)}"
    for one in picture.running:
        agent = f", agent {one.what}" if one.what else ""
        yield f"  {one.name:{width}}  {one.host}{agent}, process {one.pid}, for {span(now - one.since)}"


def _server(view: ServerView, now: float) -> Iterator[str]:
    yield ""
    yield f"Agents ({view.url})"
    known = {pool.name for pool in view.pools}
    pools = [*view.pools, *(Pool(name, []) for name in sorted({job.pool for job in view.jobs} - known) if name)]
    if not pools:
        yield "  the server knows no pools; run `cartoon-pipeline deploy`"
    for pool in pools:
        jobs = [job for job in view.jobs if job.pool == pool.name]
        waiting = [job for job in jobs if job.state in _WAITING]
        others = [job for job in jobs if job not in waiting]
        online = f"{len(pool.workers)} online" if pool.workers else "nobody online"
        help_ = "" if pool.workers or not jobs else f"; start `cartoon-pipeline agent --pool {pool.name}`"
        yield f"  {pool.name}: {online}, {len(others)} running, {len(waiting)} waiting{help_}"
        yield from _shortened([_job(job, now) for job in [*others, *waiting]])


def _job(job: Job, now: float) -> str:
    where = f" on {job.worker}" if job.worker else ""
    words = {"scheduled": "waiting", "pending": "starting", "cancelling": "ending"}
    return f"    {words.get(job.state, job.state):8}  {job.title}{where}, for {span(now - job.since)}"


def _newest(run: Run, now: float) -> Iterator[str]:
    yield ""
    if run.ended is None or run.began is None:
        yield f"Newest run: {run.state}" + ("" if run.began is None else f" for {span(now - run.began)}")
    else:
        yield f"Newest run: {run.state} {span(now - run.ended)} ago, after {span(run.ended - run.began)}"
    if run.state in ("failed", "crashed") and run.message:
        yield f"  {run.message}"
    for one in run.failed[:_MOST]:
        yield f"  {one.stage}: exit code {one.exit_code}{f' on {one.where}' if one.where else ''}"
        if one.line:
            yield f"    {one.line}"
        yield f"    {one.url}"
    if len(run.failed) > _MOST:
        yield f"  and {len(run.failed) - _MOST} more"
    yield f"  {run.url}"


def _stale(picture: Picture) -> list[str]:
    if picture.stale is None:
        return [f"{picture.stages} stages; which of them are out of date is not known."]
    done = set(picture.server.done) if picture.server else set()
    lines = [_reason(one, done) for one in picture.stale]
    ready = len([one for one in picture.stale if one.stage in done])
    more = f", {ready} more are done and not committed" if ready else ""
    return [*lines, f"{picture.stages - len(lines)} of {picture.stages} stages are up to date{more}."]


def _reason(one: Stale, done: Collection[str]) -> str:
    if one.stage in done:
        return f"{one.stage}: done by an agent; the run that ends well commits it"
    if not one.why:
        return f"{one.stage}: depends on one above"
    more = f" and {len(one.why) - 3} more" if len(one.why) > 3 else ""
    return f"{one.stage}: {', '.join(one.why[:3])}{more}"


def _shortened(lines: list[str]) -> list[str]:
    return lines if len(lines) <= _MOST else [*lines[:_MOST], f"    and {len(lines) - _MOST} more"]
