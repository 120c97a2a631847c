"""Every kind of problem in the API's responses: the one table, with their texts.

`type` is a URL (RFC 9457, section 3.1.1) that this service serves itself, see api/dashboard/problem_pages.py;
docs/reference/problems.md shows the same texts.
"""

from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True)
class ProblemType:
    """A kind of problem."""

    code: str
    """Stable, unlike the texts. Empty: only the status says what the problem is."""
    status: HTTPStatus
    title: str
    meaning: str
    """What it means."""
    remedy: str
    """What to do about it."""

    @property
    def uri(self) -> str:
        """The member `type` of the problem document."""
        return f"/problems/{self.code}" if self.code else "about:blank"


NOT_JSON = ProblemType(
    "not_json",
    HTTPStatus.BAD_REQUEST,
    "The body is not JSON",
    "The body could not be parsed as a JSON document. `detail` says where parsing stopped.",
    "Send one JSON document in UTF-8. Single quotes, comments and trailing commas are not JSON.",
)
NOT_FOUND = ProblemType(
    "not_found",
    HTTPStatus.NOT_FOUND,
    "Not found",
    "This path is not part of the API, or there is no job, experiment, technique or chart with "
    "that id or name. It may have been deleted, or belong to another owner. A model or a chart is "
    "also not found while its job has no result.",
    "Check the id; `GET /v1/jobs` and `GET /v1/experiments` list those that exist, `/docs` lists every path.",
)
METHOD_NOT_ALLOWED = ProblemType(
    "method_not_allowed",
    HTTPStatus.METHOD_NOT_ALLOWED,
    "Method not allowed",
    "The path exists, but does not support this method.",
    "Use one of the methods that the header `Allow` names.",
)
NOT_ACCEPTABLE = ProblemType(
    "not_acceptable",
    HTTPStatus.NOT_ACCEPTABLE,
    "No such format",
    "The response is not available in any of the formats that the header `Accept` names.",
    "Request one of the formats that `detail` lists, or omit the header.",
)
CONFLICT = ProblemType(
    "conflict",
    HTTPStatus.CONFLICT,
    "Not allowed in the current state",
    "The job or experiment exists, but its state does not allow the request: an ended job cannot "
    "be cancelled, and a running one cannot be deleted.",
    "Read it again. Its `links` are null for actions that its state does not allow.",
)
BODY_TOO_LARGE = ProblemType(
    "body_too_large",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "The body is too large",
    "The body has more bytes than this installation reads. They are counted as they arrive, "
    "regardless of `Content-Length`, and the rest is not read.",
    "Send less; `detail` names the limit, which the settings `REGBENCH_MAX_BODY_BYTES` and "
    "`REGBENCH_MAX_BATCH_BYTES` change.",
)
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    "unsupported_media_type",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "The body's format is not supported",
    "The header `Content-Type` is missing, or names a format that is not "
    "accepted here; or `Content-Encoding` "
    "names a compression.",
    "Send `Content-Type: application/json`, or a format that `detail` lists, uncompressed.",
)
RANGE_NOT_SATISFIABLE = ProblemType(
    "range_not_satisfiable",
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    "Range not satisfiable",
    "The header `Range` requests a part that begins after the end of the file.",
    "The header `Content-Range` has the size of the file. If you have that many bytes, the file is complete.",
)
INVALID_PARAMETER = ProblemType(
    "invalid_parameter",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "A parameter of the request is not valid",
    "A query parameter or header has an invalid value, is missing, or is unknown.",
    "`errors` names each parameter, such as `?limit`, and its valid values.",
)
INVALID_SPEC = ProblemType(
    "invalid_spec",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The request is invalid",
    "A field of the body has an invalid value, is unknown, or contradicts another one. Or a query "
    "parameter, such as `?cursor`, names something that does not exist.",
    "`errors` points to each field (a JSON pointer, RFC 6901), and states its valid values.",
)
DATASET_UNAVAILABLE = ProblemType(
    "dataset_unavailable",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The dataset is not available",
    "The requested images are not on this machine and could not be downloaded.",
    "Use `mnist_5k`, which is always available; or see `detail` for where to put the files.",
)
OVER_BUDGET = ProblemType(
    "over_budget",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "Over the limits of this installation",
    "The request is valid, but costs more than this installation allows: parameters, memory, "
    "floating-point operations, or jobs in an experiment.",
    "Reduce it; `errors` states by how much. `?dry_run=true` estimates the cost without storing.",
)
IDEMPOTENCY_KEY_IN_PROGRESS = ProblemType(
    "idempotency_key_in_progress",
    HTTPStatus.CONFLICT,
    "The first request with this idempotency key is in progress",
    "A request with the same `Idempotency-Key` was sent before and is still being processed.",
    "Send it again after the seconds in the header `Retry-After`: you get the first request's response.",
)
IDEMPOTENCY_KEY_REUSED = ProblemType(
    "idempotency_key_reused",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The idempotency key belongs to another request",
    "The same `Idempotency-Key` was sent within 24 hours with another body, path or query.",
    "Use a new key for a new request; repeat a request unchanged.",
)
MISSING_KEY = ProblemType(
    "missing_key",
    HTTPStatus.UNAUTHORIZED,
    "An API key is needed",
    "The request has no API key, and this installation requires one.",
    "Send the header `Authorization: Bearer rb_...`; `regbench keys create NAME` on the server creates one.",
)
INVALID_KEY = ProblemType(
    "invalid_key",
    HTTPStatus.UNAUTHORIZED,
    "The API key is not valid",
    "This is not a key of this installation, or it was revoked.",
    "Check that the key is complete and from this installation; ask its administrator for another.",
)
EXPIRED_KEY = ProblemType(
    "expired_key",
    HTTPStatus.UNAUTHORIZED,
    "The API key has expired",
    "The expiry time of the key has passed.",
    "Ask the installation's administrator for a new one.",
)
INSUFFICIENT_SCOPE = ProblemType(
    "insufficient_scope",
    HTTPStatus.FORBIDDEN,
    "This API key lacks the required scope",
    "Reading requires the scope `read`, changing `write`, keys and the audit trail `admin`.",
    "Use a key with the scope that `detail` names.",
)
CROSS_ORIGIN = ProblemType(
    "cross_origin",
    HTTPStatus.FORBIDDEN,
    "Cross-site request refused",
    "Without API keys, only this service's own pages may send write requests from a browser.",
    "Use another client, or an installation with API keys.",
)
WRONG_HOST = ProblemType(
    "wrong_host",
    HTTPStatus.MISDIRECTED_REQUEST,
    "Host name not accepted",
    "Without API keys the service accepts only loopback host names, so that no web page can reach "
    "it by DNS rebinding.",
    "Use `127.0.0.1` or `localhost`, or add the name to the setting `REGBENCH_ALLOWED_HOSTS`.",
)
RATE_LIMITED = ProblemType(
    "rate_limited",
    HTTPStatus.TOO_MANY_REQUESTS,
    "Too many requests",
    "The key has used all of its requests per minute.",
    "Wait for the seconds in the header `Retry-After`; the header `RateLimit` of "
    "every response has the remaining number.",
)
OVER_QUOTA = ProblemType(
    "over_quota",
    HTTPStatus.TOO_MANY_REQUESTS,
    "Over the owner's quota",
    "The owner has reached the limit of queued jobs, or of floating-point operations within a day.",
    "Wait for jobs to end, or cancel some; `detail` says how much is left.",
)
TOO_MANY_STREAMS = ProblemType(
    "too_many_streams",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "Too many streams",
    "This process serves its maximum number of streams.",
    "Try again later, or poll with `If-None-Match`.",
)
PREDICTOR_UNAVAILABLE = ProblemType(
    "predictor_unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The predictor is not available",
    "Predictions are computed by a separate process, which is not running, is still starting, or "
    "is overloaded. Everything else works without it.",
    "Send the request again after the seconds in `Retry-After`. `regbench up` and docker-compose.yml "
    "start the process; `detail` has its command.",
)
INTERNAL_ERROR = ProblemType(
    "internal_error",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "Internal error",
    "An internal error. The service's log has the cause under `request_id`.",
    "Report it with the `request_id`. Before sending a POST again, check whether it was executed.",
)
SERVICE_UNAVAILABLE = ProblemType(
    "service_unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "Not available at the moment",
    "The database or a file store cannot be reached at the moment.",
    "Send the same request again after the seconds in the header `Retry-After`.",
)

TYPES = {kind.code: kind for kind in list(globals().values()) if isinstance(kind, ProblemType)}


def render_page(kind: ProblemType) -> str:
    """A type in Markdown: what it means, and what to do."""
    return (
        f"## {kind.code}\n\n"
        f"{kind.title} ({kind.status.value} {kind.status.phrase}).\n\n"
        f"{kind.meaning}\n\n"
        f"What to do: {kind.remedy}\n"
    )
