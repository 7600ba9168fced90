"""What every refusal of the service must look like."""

from __future__ import annotations

import httpx

from sensedict import wire
from sensedict.errors import PROBLEM_TYPE_PREFIX


def expect_problem(answer: httpx.Response, status: int, code: str, says: str = "") -> wire.Problem:
    """The RFC 9457 document of a refusal with this status and code, whose detail holds `says`."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == wire.PROBLEM
    assert answer.headers["cache-control"] == "no-store"
    problem = wire.Problem.model_validate_json(answer.content)
    assert (problem.status, problem.type) == (status, PROBLEM_TYPE_PREFIX + code)
    assert problem.title
    assert problem.request_id == answer.headers["x-request-id"]
    assert says in problem.detail
    return problem
