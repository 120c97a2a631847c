"""One service's HTTP: which address and key, retries, and what becomes of every failure."""

import json
import os
import secrets
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
from dotenv import dotenv_values

from regbench.errors import ClientError, FieldError, ProblemError, Unreachable
from regbench.retries import make_retrying

DEFAULT_URL = "http://127.0.0.1:8000"

_KEY_HINT = (
    "Set REGBENCH_API_KEY to a key; `regbench keys create NAME` on the machine of the service creates one."
)
# What fails before anything is sent.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_TRANSIENT = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)


def find_address_and_key(base_url: str | None, api_key: str | None) -> tuple[str, str]:
    """The arguments, else what the environment says, else the file `.env` of the current folder.

    A key goes only where it was meant for: a source that names an address and a key has that key for that
    address alone, and a key of the environment is not sent to an address of a folder's `.env`.
    """
    try:
        dotenv = dotenv_values(".env", encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ClientError(f"{Path('.env').absolute()} is not text in UTF-8.") from None
    for source in (os.environ, dotenv):
        url, key = (source.get("REGBENCH_URL") or "").rstrip("/"), source.get("REGBENCH_API_KEY")
        base_url = base_url or url or (DEFAULT_URL if key else None)
        if api_key is None and key and url in ("", (base_url or "").rstrip("/")):
            api_key = key
    return (base_url or DEFAULT_URL).rstrip("/"), (api_key or "").strip()


class Connection:
    """Sends requests to one service, and raises what goes wrong as ProblemError or Unreachable."""

    def __init__(
        self,
        base_url: str | None,
        api_key: str | None,
        *,
        timeout: float,
        retries: int,
        transport: httpx.BaseTransport | None,
    ) -> None:
        self.timeout, self._retries = timeout, retries
        self.base_url, key = find_address_and_key(base_url, api_key)
        try:
            self._http = httpx.Client(
                base_url=self.base_url,
                timeout=timeout,
                transport=transport,
                headers={"Authorization": f"Bearer {key}"} if key else {},
                # A proxy that the environment names cannot reach this machine's own loopback.
                trust_env=not is_loopback(httpx.URL(self.base_url).host),
                # SSL_CERT_FILE and SSL_CERT_DIR hold for loopback, too.
                verify=httpx.create_ssl_context() if self.base_url.startswith("https") else True,
            )
        except OSError as error:
            raise Unreachable(f"The certificates of SSL_CERT_FILE cannot be read: {error}.") from None
        except UnicodeEncodeError:
            raise Unreachable("The API key is invalid: a key consists of letters, digits, - and _.") from None
        except httpx.InvalidURL as error:
            raise Unreachable(f"{self.base_url} is not an address: {error}.") from None

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        idempotent: bool | None = None,
        timeout: float | None = None,
        headers: dict[str, str] | None = None,
        **request: Any,
    ) -> httpx.Response:
        """The response after retries; a refusal raises.

        `idempotent`: whether the request may be executed twice; None: if it is a GET.
        """
        # One id for all attempts, so that the service's log shows that they belong together.
        headers = {"X-Request-Id": secrets.token_hex(8)} | (headers or {})

        def send() -> httpx.Response:
            response = self.request_once(method, path, timeout=timeout, headers=headers, **request)
            if not (response.is_success or response.status_code == httpx.codes.NOT_MODIFIED):
                raise _parse_problem(response)
            return response

        return make_retrying(self._retries, idempotent=method == "GET" if idempotent is None else idempotent)(
            send
        )

    def request_once(
        self, method: str, path: str, *, timeout: float | None = None, **request: Any
    ) -> httpx.Response:
        """The response, whatever its status, without retries."""
        request_id = (request.get("headers") or {}).get("X-Request-Id")
        try:
            return self._http.request(
                method, path, timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else timeout, **request
            )
        except httpx.TransportError as error:
            hint, transient = "", isinstance(error, _TRANSIENT)
            if isinstance(error, httpx.TimeoutException):
                message = f"The service at {self.base_url} did not respond in time."
            elif "[SSL" in str(error):
                message, transient = f"There is no secure connection to {self.base_url} ({error}).", False
                hint = "Does the service use TLS? If not, its address begins with http://."
                if "CERTIFICATE_VERIFY_FAILED" in str(error):
                    hint = "Set SSL_CERT_FILE to the certificate of the authority that signed the service's."
            else:
                message = f"No service responds at {self.base_url} ({error})."
                hint = "Start one with `regbench up`, or set its address with --url or REGBENCH_URL."
            sent = not isinstance(error, _NOT_SENT)
            raise Unreachable(message, hint, sent=sent, transient=transient, request_id=request_id) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse_retry_after(response: httpx.Response) -> float | None:
    """Seconds; a date, which HTTP allows too and this service never sends, counts as none."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdecimal() else None


def _parse_problem(response: httpx.Response) -> ProblemError:
    """The problem document, or what a response without one tells (a proxy's, for example)."""
    try:
        document = json.loads(response.content)
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    hint = _KEY_HINT if response.status_code == httpx.codes.UNAUTHORIZED else ""
    return ProblemError(
        status=response.status_code,
        title=str(document.get("title") or f"HTTP {response.status_code} {response.reason_phrase}"),
        detail=" ".join(filter(None, (str(document.get("detail") or ""), hint))),
        errors=[
            FieldError(
                str(error.get("pointer") or error.get("parameter") or ""), str(error.get("detail", ""))
            )
            for error in document.get("errors") or []
            if isinstance(error, dict)
        ],
        request_id=document.get("request_id") or response.headers.get("X-Request-Id"),
        code=str(document.get("type") or "").rpartition("/")[2],
        retry_after=parse_retry_after(response),
    )
