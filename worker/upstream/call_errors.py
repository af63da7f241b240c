"""What the errors and refusals of an upstream mean, without the key and the prompt in them."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import httpx2
import openai

from tickertape.worker.upstream.connection_errors import unreachable
from tickertape.worker.upstream.error_reports import error_from, read_report
from tickertape.worker.upstream.error_responses import ErrorResponse, report_in
from tickertape.worker.upstream.errors import (
    Rejected,
    UpstreamError,
    UpstreamFault,
    UpstreamGarbage,
)
from tickertape.worker.upstream.inner_names import without_inner_names
from tickertape.worker.upstream.redaction import redacted
from tickertape.worker.upstream.request_adapter import RequestAdapter
from tickertape.worker.upstream.retry_after import retry_after_s

FAULT_OF_FIELDS = frozenset({400, 422})


class FieldRefused(Rejected):
    """The upstream refused a field, which later requests avoid."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.cause = field


class CallErrors:
    """The errors of the calls of one upstream. `adapter` learns from them which fields to avoid.

    No message quotes any of the `secrets` at the time of the error.
    """

    def __init__(self, adapter: RequestAdapter, secrets: Callable[[], tuple[str, ...]]) -> None:
        self._adapter = adapter
        self._secrets = secrets

    @contextlib.contextmanager
    def mapped(self, body: dict[str, Any]) -> Iterator[None]:
        """Replace the SDK's exceptions by UpstreamErrors, because they contain the key."""
        try:
            yield
        except ErrorResponse as error:
            raise self._status_error(error, body) from None
        except (openai.APIConnectionError, httpx2.ConnectError) as error:
            raise unreachable(error) from None
        except UnicodeEncodeError:
            raise Rejected("The request contains text that cannot be encoded as UTF-8.") from None
        except (openai.OpenAIError, aiohttp.ClientError, ValueError):
            raise UpstreamGarbage("The upstream's answer is not HTTP, or not JSON.") from None

    def in_stream(self, report: object, body: dict[str, Any]) -> UpstreamError:
        """The error for a refusal of `body` that came inside a stream."""
        error = self._refusal(report, body)
        # A retryable error. The queue tries again, and the next try avoids the refused field.
        return UpstreamFault(error.message) if isinstance(error, FieldRefused) else error

    def _status_error(self, error: ErrorResponse, body: dict[str, Any]) -> UpstreamError:
        wait_s = retry_after_s(error.headers, datetime.now(UTC))
        refusal = self._refusal(report_in(error.body), body, error.status, wait_s)
        refusal.status = error.status
        return refusal

    def _refusal(
        self,
        answer: object,
        body: dict[str, Any],
        status: int | None = None,
        wait_s: float | None = None,
    ) -> UpstreamError:
        """The error for a refusal of `body`, with an HTTP status or inside a stream."""
        report = read_report(answer)
        message = redacted(report.message, secrets=self._secrets(), payload=body)
        shown = without_inner_names(message)
        is_about_fields = (status or report.status or report.word_status) in FAULT_OF_FIELDS
        if is_about_fields and (field := self._adapter.learn(body, answer, report.message)):
            return FieldRefused(shown, field)
        error = error_from(report, status=status, message=message, retry_after_s=wait_s)
        error.detail = message
        return error
