"""The one error tree. Server and client share its codes: a problem document's `type` names the class raised here."""

from __future__ import annotations

from typing import ClassVar

PROBLEM_TYPE_PREFIX = "urn:sensedict:problem:"


class SenseDictError(Exception):
    """Something went wrong in sensedict.

    Attributes:
        code: stable name of the kind of error, the tail of the problem document's `type`.
        status: HTTP status the service answers with when it meets this error.
        detail: what is wrong, with the name of the thing and the fix.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def reason(error: Exception) -> str:
    """What an error says, without the number and the path that the operating system's own have around it.

    >>> reason(FileNotFoundError(2, "No such file or directory", "x.toml")), reason(ValueError("not TOML"))
    ('No such file or directory', 'not TOML')
    """
    return getattr(error, "strerror", None) or str(error)


class InvalidInput(SenseDictError):
    """A value that was given cannot be used as it is."""

    code = "invalid-input"
    status = 422


class MalformedBody(InvalidInput):
    """A request could not be read, or its body not in the format that its Content-Type names."""

    code = "malformed-body"
    status = 400


class InvalidSnapshot(InvalidInput):
    """An archive or file set that is to be imported is damaged, or not of the form that export writes."""

    code = "invalid-snapshot"


class WrongDimension(InvalidInput):
    """Vectors of another width than the dictionary's."""

    code = "wrong-dimension"


class NotFinite(InvalidInput):
    """Vectors that hold NaN, infinity, or numbers too large for a distance."""

    code = "not-finite"


class RequestTooLarge(SenseDictError):
    """More items or bytes in one request than `/v1/limits` allows."""

    code = "request-too-large"
    status = 413


class UrlTooLong(RequestTooLarge):
    """A longer address than `/v1/limits` allows."""

    code = "url-too-long"
    status = 414


class SlowRequest(SenseDictError):
    """The body of a request came too slowly."""

    code = "request-timeout"
    status = 408


class WrongHost(SenseDictError):
    """The request was sent to a name that the service does not answer under."""

    code = "wrong-host"
    status = 421


class Unauthorized(SenseDictError):
    """The request has no key that the service knows."""

    code = "unauthorized"
    status = 401


class Forbidden(SenseDictError):
    """The key does not let its holder do this."""

    code = "forbidden"
    status = 403


class NotAcceptable(SenseDictError):
    """The Accept header names no format that this route can answer in."""

    code = "not-acceptable"
    status = 406


class UnsupportedMediaType(SenseDictError):
    """The Content-Type header names a format that this route cannot read."""

    code = "unsupported-media-type"
    status = 415


class NotFound(SenseDictError):
    """The thing that was asked for does not exist."""

    code = "not-found"
    status = 404


class DictionaryNotFound(NotFound):
    """No dictionary has this name, version or alias."""

    code = "dictionary-not-found"


class DictionaryGone(DictionaryNotFound):
    """The dictionary was published, and is deleted for good."""

    code = "dictionary-gone"
    status = 410


class LexiconNotFound(NotFound):
    """No lexicon has this name and version."""

    code = "lexicon-not-found"


class TokenNotFound(NotFound):
    """The token id is not in the dictionary's vocabulary."""

    code = "token-not-found"


class WordNotFound(NotFound):
    """The word is neither in a relation nor a single token of the dictionary."""

    code = "word-not-found"


class SenseNotFound(NotFound):
    """The sense id is not in the dictionary."""

    code = "sense-not-found"


class RelationNotFound(NotFound):
    """The relation id is not in the dictionary's lexicon."""

    code = "relation-not-found"


class JobNotFound(NotFound):
    """No build has this number."""

    code = "job-not-found"


class PlanNotFound(NotFound):
    """The service's configuration names no such plan."""

    code = "plan-not-found"


class IdMapNotFound(NotFound):
    """No map of sense ids from the one dictionary to the other is published."""

    code = "id-map-not-found"


class SearchIndexNotFound(NotFound):
    """The dictionary has no index for approximate search."""

    code = "search-index-not-found"


class NotInSnapshot(NotFound):
    """A file set does not hold what was asked for; a service may."""

    code = "not-in-snapshot"


class Conflict(SenseDictError):
    """The change contradicts what is already stored, and nothing was written."""

    code = "conflict"
    status = 409


class Mismatch(SenseDictError):
    """A teacher, tokenizer or file does not belong to the dictionary it is used with."""

    code = "mismatch"
    status = 409


class Corrupt(SenseDictError):
    """A file's content does not have the hash or shape that its manifest states."""

    code = "corrupt"
    status = 500


class Unavailable(SenseDictError):
    """The service, or the database behind it, cannot answer now; try again later."""

    code = "unavailable"
    status = 503

    def __init__(self, detail: str, retry_after: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class TooManyRequests(Unavailable):
    """The caller asks more than its share; try again later."""

    code = "too-many-requests"
    status = 429


class ConfigurationError(SenseDictError):
    """A setting, folder or environment is unusable as it is."""

    code = "configuration"


class MissingExtra(ConfigurationError):
    """A command needs packages that the bare install leaves out."""

    code = "missing-extra"


def _tree(root: type[SenseDictError]) -> dict[str, type[SenseDictError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


def by_code() -> dict[str, type[SenseDictError]]:
    """Every error class by its code: how the client turns a problem document back into an exception."""
    return _tree(SenseDictError)
