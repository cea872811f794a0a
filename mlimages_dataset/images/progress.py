"""How far a download is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class HostTrouble:
    """A host that throttled or failed, how often, and how many requests it is sent at once now."""

    name: str
    troubles: int
    allowed: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a download is.

    Attributes:
        asked: rows of the list.
        standing: rows of them that an earlier run ended.
        ended: rows of them that this run ended, by status.
        received: bytes of bodies.
        seconds: since the first request.
        hosts: those in the worst trouble.
    """

    asked: int
    standing: int
    ended: Mapping[str, int]
    received: int
    seconds: float
    hosts: tuple[HostTrouble, ...]

    @property
    def done(self) -> int:
        """Return the rows that have ended."""
        return self.standing + sum(self.ended.values())

    @property
    def rate(self) -> float:
        """Return the rows that ended a second."""
        return sum(self.ended.values()) / max(self.seconds, 1e-9)

    @property
    def remaining_seconds(self) -> float:
        """Return how long the other rows take at this rate, infinity where none has ended."""
        return (self.asked - self.done) / self.rate if self.rate else float("inf")

    @property
    def remaining(self) -> str:
        """Return `remaining_seconds` in words."""
        if not self.rate:
            return "unknown time"
        minutes, seconds = divmod(round(self.remaining_seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return (
            f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
        )

    @property
    def megabytes_per_second(self) -> float:
        """Return the rate at which bodies come."""
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
    """Is told how far a download is."""

    def __call__(self, snapshot: Snapshot, /) -> None:
        """Show it."""
