"""How builds are printed: `sensedict jobs` reads them from the database, `sensedict query jobs` asks a service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click

from sensedict import wire
from sensedict.asking import print_table, printable

_BAR = 20  # characters
_IDLE = "no worker is at it: `sensedict worker` starts one"


def print_jobs(jobs: Sequence[wire.JobInfo]) -> None:
    """Builds as a table, in their order."""
    rows = [
        (job.id, f"{job.name}@{job.version}", job.state, job.plan or "", _moment(job.created_at), _took(job))
        for job in jobs
    ]
    print_table(("job", "dictionary", "state", "plan", "started", "took"), rows)


def print_job(job: wire.JobDetail) -> None:
    """One build: its state, its stages as bars, who is at it, and the end of its log."""
    plan = f" (plan {job.plan})" if job.plan else ""
    click.echo(f"job {job.id}: {job.name}@{job.version}{plan}, {job.state}, started {_moment(job.created_at)}")
    if job.error:
        click.echo(f"error: {printable(job.error)}")
    rows = [
        (stage.name, _bar(stage), _counts(stage), f"{stage.shards}/{stage.shards_total}", stage.seconds)
        for stage in job.stages
    ]
    heads = ("stage", "", "done", "shards", "work")
    print_table(heads, [(*row[:4], spelt_seconds(row[4]) if row[4] else "") for row in rows])
    if job.state == "running":
        click.echo(progress_line(job))
    for line in job.log:
        print_log_line(line)


def print_log_line(line: wire.JobLogLine) -> None:
    """One line of a build's log."""
    click.echo(f"{_moment(line.at)}  {line.worker}  {printable(line.message)}")


def progress_line(job: wire.JobDetail) -> str:
    """How far a running build is, who is at it, and how fast it goes, in one line."""
    stage = next(
        (stage for stage in job.stages if stage.shards_total is None or stage.shards < stage.shards_total), None
    )
    parts = [] if job.percent is None else [f"{job.percent:.0f}%"]
    if stage is not None:
        parts.append(f"at {stage.name}, {_counts(stage)}")
    parts.append(f"{job.workers} worker{'' if job.workers == 1 else 's'}" if job.workers else _IDLE)
    if stage is not None and job.rate is not None and job.seconds_left is not None:
        parts.append(f"{job.rate:,.0f} {stage.unit}/s, {spelt_seconds(job.seconds_left)} of {stage.name} left")
    return "; ".join(parts)


def spelt_seconds(seconds: float) -> str:
    """A length of time as people say it, in two units at most.

    >>> [spelt_seconds(n) for n in (0.04, 59.7, 3599, 7250, 190_000)]
    ['0 s', '1 min 00 s', '59 min 59 s', '2 h 00 min', '52 h 46 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _moment(moment: datetime) -> str:
    """In the time zone of the terminal."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def _took(job: wire.JobInfo) -> str:
    return "" if job.finished_at is None else spelt_seconds((job.finished_at - job.created_at).total_seconds())


def _bar(stage: wire.JobStage) -> str:
    share = stage.done / stage.total if stage.total else 0.0
    full = int(_BAR * min(share, 1.0))
    return "█" * full + "░" * (_BAR - full)


def _counts(stage: wire.JobStage) -> str:
    return f"{stage.done:,} of {'?' if stage.total is None else f'{stage.total:,}'} {stage.unit}"
