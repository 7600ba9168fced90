"""Somebody who reads the explorer in a tab of a real browser."""

from __future__ import annotations

from urllib.parse import urlencode

from playwright.sync_api import Page

from running_service import Service

PATIENCE = 10_000  # ms that a test waits for what should be there


class Reader:
    """Somebody who reads the pages of one service, and keeps what the browser complains of.

    Attributes:
        page: the tab.
        faults: errors of scripts, and what the policy kept from running or loading.
        asked: addresses that the browser asked for.
    """

    def __init__(self, page: Page, service: Service) -> None:
        self.page = page
        self.faults: list[str] = []
        self.asked: list[str] = []
        self._url = service.url
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: self.asked.append(request.url))

    def go(self, **place: str) -> Page:
        """Open a place: w, d, v, b of the address."""
        self.page.goto(f"{self._url}/explorer#{urlencode(place)}")
        return self.page
