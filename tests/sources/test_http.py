"""What all HTTP clients do alike."""

from __future__ import annotations

import datetime as dt
import email.utils

import pytest

from mlimages_dataset.sources.http import THROTTLING_STATUSES, TRANSIENT_STATUSES, USER_AGENT, retry_after
from mlimages_dataset.version import __version__


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *[
            ("0", 0.0),
            (" 120 ", 120.0),
            ("9" * 12, 1e12 - 1),
            (None, None),
            ("", None),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
        ],
        *[("Mon, 01 Jan 99999 00:00:00 GMT", None), ("Mon, 01 Jan 2024 00:00:00 +99999999999999", None)],
    ],
)
def test_retry_after_as_seconds(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


def test_retry_after_as_a_date() -> None:
    now = dt.datetime.now(dt.UTC)
    later = email.utils.format_datetime(now + dt.timedelta(seconds=90), usegmt=True)
    waited = retry_after(later)
    assert waited is not None
    assert 85 < waited <= 90
    assert retry_after(email.utils.format_datetime(now - dt.timedelta(days=1))) == 0


def test_a_date_without_a_zone_is_in_utc() -> None:
    now = dt.datetime.now(dt.UTC)
    waited = retry_after((now + dt.timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S -0000"))
    assert waited is not None
    assert 85 < waited <= 90


def test_the_program_names_itself_and_its_version() -> None:
    assert f"mlimages-dataset/{__version__}" == USER_AGENT


def test_a_throttling_answer_is_tried_again() -> None:
    assert THROTTLING_STATUSES < TRANSIENT_STATUSES
    assert 404 not in TRANSIENT_STATUSES
