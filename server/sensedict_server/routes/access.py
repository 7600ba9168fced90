"""Who may call a route: dependencies that let a request pass or refuse it."""

from __future__ import annotations

from fastapi import Request


def reader(_request: Request) -> None:
    """Let pass a caller who may read."""


def administrator(_request: Request) -> None:
    """Let pass a caller who may change what others read."""
