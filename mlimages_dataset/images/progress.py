"""The progress of a download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class HostTrouble:
    """A host that throttled or failed.

    Attributes:
        name: host and port.
        troubles: how often it throttled or failed.
        allowed: requests that may run at once now.
    """

    name: str
    troubles: int
    allowed: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a download is.

    Attributes:
        asked: rows of the list.
        standing: rows that an earlier run finished.
        ended: rows that this run finished, by status.
        received: bytes of bodies.
        seconds: since the start.
        hosts: those with the most failures.
    """

    asked: int
    standing: int
    ended: Mapping[str, int]
    received: int
    seconds: float
    hosts: tuple[HostTrouble, ...]

    @property
    def done(self) -> int:
        """The number of finished rows."""
        return self.standing + sum(self.ended.values())

    @property
    def rate(self) -> float:
        """Rows that this run finished per second."""
        return sum(self.ended.values()) / max(self.seconds, 1e-9)

    @property
    def remaining_seconds(self) -> float:
        """The time that the other rows take at this rate, in seconds; infinity if none has finished."""
        return (self.asked - self.done) / self.rate if self.rate else float("inf")

    @property
    def remaining(self) -> str:
        """`remaining_seconds` in words."""
        if not self.rate:
            return "unknown time"
        minutes, seconds = divmod(round(self.remaining_seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return (
            f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
        )

    @property
    def megabytes_per_second(self) -> float:
        """Megabytes of bodies per second."""
        return self.received / max(self.seconds, 1e-9) / 1e6

    def __str__(self) -> str:
        statuses = sorted(self.ended.items(), key=lambda one: -one[1])
        parts = [
            f"{self.done:,} of {self.asked:,} rows",
            f"{self.rate:,.0f} rows/s",
            f"{self.megabytes_per_second:,.1f} MB/s",
            f"{self.remaining} left",
            *(f"{status.replace('_', ' ')} {n:,}" for status, n in statuses),
            *(f"{host.name}: {host.troubles:,} troubles" for host in self.hosts[:1]),
        ]
        return ", ".join(parts)


class Report(Protocol):
    """Receives the progress of a download."""

    def __call__(self, snapshot: Snapshot, /) -> None:
        """Show the progress."""
