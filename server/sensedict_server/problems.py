"""Every error of the service as an RFC 9457 problem document, and how OpenAPI tells of them."""

from __future__ import annotations

import http
import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from sensedict.errors import (
    PROBLEM_TYPE_PREFIX,
    InvalidInput,
    MalformedBody,
    NotFound,
    SenseDictError,
    Unauthorized,
    Unavailable,
)
from sensedict.wire import PROBLEM, Problem, ProblemError
from sensedict_server.database import NotReached
from sensedict_server.methods import methods_of

_log = logging.getLogger("sensedict.service")


class InvalidRequest(Exception):
    """A request whose faults are known one by one; not of the error tree, its code is `InvalidInput`'s."""

    def __init__(self, faults: list[ProblemError]) -> None:
        super().__init__()
        self.faults = faults


def install(app: FastAPI) -> None:
    """Make `app` answer every error with a problem document."""
    app.add_exception_handler(SenseDictError, _on_ours)
    app.add_exception_handler(InvalidRequest, _on_invalid_request)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(PoolTimeout, _on_pool_timeout)


def problem(error: SenseDictError, request_id: str, faults: Sequence[ProblemError] = ()) -> Response:
    """The answer for an error of ours; what is only our own fault is logged, not told."""
    status, detail = error.status, error.detail
    if status == http.HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error(detail, extra={"request_id": request_id}, exc_info=error)
        detail = f"the service cannot answer; its log tells why under the request id {request_id}"
    if isinstance(error, NotReached):
        detail = error.told
    headers = {"Retry-After": str(max(1, round(error.retry_after)))} if isinstance(error, Unavailable) else {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="sensedict"'
    title = (type(error).__doc__ or "").partition("\n")[0]
    return _answer(status, error.code, title, detail, request_id, faults, headers)


def validate_json(model: type[Any], body: bytes) -> Any:
    """The request of type `model` in a JSON body; numbers are not taken from texts.

    Raises:
        MalformedBody: not JSON.
        InvalidRequest: JSON of another shape, with a pointer to each fault.
    """
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        if faults[0]["type"] == "json_invalid":
            raise MalformedBody(f"the body is not JSON: {faults[0]['msg']}") from error
        raise InvalidRequest(
            [ProblemError(pointer=_pointer(fault["loc"]), detail=fault["msg"]) for fault in faults[:20]]
        ) from error


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for problems with these statuses."""
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": http.HTTPStatus(status).phrase, "content": content} for status in statuses}


def _on_ours(request: Request, error: Exception) -> Response:
    if not isinstance(error, SenseDictError):
        raise error
    return problem(error, _request_id(request))


def _on_invalid_request(request: Request, error: Exception) -> Response:
    if not isinstance(error, InvalidRequest):
        raise error
    told = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in error.faults[:3])
    return problem(InvalidInput(told), _request_id(request), error.faults)


def _on_validation(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    faults = [ProblemError(pointer=_pointer(fault["loc"][1:]), detail=fault["msg"]) for fault in error.errors()]
    return _on_invalid_request(request, InvalidRequest(faults))


def _on_http(request: Request, error: Exception) -> Response:
    """404 of an unknown path, 405 of a method that a path does not know."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == http.HTTPStatus.NOT_FOUND:
        detail = f"there is nothing at {request.url.path!r}; /openapi.json lists the routes"
        return problem(NotFound(detail), _request_id(request))
    phrase = http.HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "-")
    detail = f"{request.method} {request.url.path}: {error.detail}"
    headers = dict(error.headers or {})
    if error.status_code == http.HTTPStatus.METHOD_NOT_ALLOWED:
        # The framework names the methods of one route; a path may have several.
        headers["Allow"] = ", ".join(methods_of(request.app, request.scope["path"])) or headers.get("Allow", "")
        detail += f"; it takes {headers['Allow']}"
    return _answer(error.status_code, code, phrase, detail, _request_id(request), [], headers)


def _on_pool_timeout(request: Request, error: Exception) -> Response:
    return problem(Unavailable("every connection to the database is in use"), _request_id(request))


def _answer(
    status: int,
    code: str,
    title: str,
    detail: str,
    request_id: str,
    faults: Sequence[ProblemError],
    headers: dict[str, str],
) -> Response:
    document = Problem(
        type=PROBLEM_TYPE_PREFIX + code,
        title=title,
        status=status,
        detail=detail,
        request_id=request_id,
        errors=list(faults),
    )
    return Response(document.model_dump_json(), status, {**headers, "Cache-Control": "no-store"}, PROBLEM)


def _pointer(place: tuple[int | str, ...]) -> str:
    return "/" + "/".join(str(step).replace("~", "~0").replace("/", "~1") for step in place)


def _request_id(request: Request) -> str:
    return str(request.state.request_id)
