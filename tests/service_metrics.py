"""The service's numbers, as Prometheus reads them."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families


def numbers(http: httpx.Client) -> dict[str, float]:
    """Every sample by its name, with its labels as `name{label=value,…}` where it has some."""
    text = http.get("/metrics").raise_for_status().text
    return {
        sample.name
        + ("{" + ",".join(f"{k}={v}" for k, v in sample.labels.items()) + "}" if sample.labels else ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
