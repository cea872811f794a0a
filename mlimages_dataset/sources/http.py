"""Common rules of this package's HTTP clients: their name, when to retry, and how long to wait."""

from __future__ import annotations

import datetime as dt
import email.utils
import re
from typing import Final

from mlimages_dataset.version import __version__

USER_AGENT: Final = f"mlimages-dataset/{__version__}"

THROTTLING_STATUSES: Final = frozenset({429, 503})
"""Statuses by which a server asks for fewer requests, often with Retry-After."""

TRANSIENT_STATUSES: Final = frozenset({408, 425, 500, 502, 504}) | THROTTLING_STATUSES
"""Statuses after which another attempt may succeed."""


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks to wait; None if there is none or it cannot be understood.

    The header gives whole seconds or an HTTP date; a date in the past means 0.
    https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    text = (value or "").strip()
    if re.fullmatch(r"\d+", text, re.ASCII):
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # OverflowError for a time zone with many digits
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=dt.UTC)
    return max(0.0, (until - dt.datetime.now(dt.UTC)).total_seconds())
