"""Grouped options of the commands about pictures: a decorator adds options and passes one value made of them."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import click

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.path_options import LocalPath

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mlimages_dataset.images.decode_pool import ImageRules
    from mlimages_dataset.images.fetcher import FetchPolicy
    from mlimages_dataset.images.resize import ResizeOptions

_RESIZE = (
    click.option(
        "--short-edge",
        type=click.IntRange(min=1),
        help="Re-encode larger pictures as JPEGs with so many pixels on the shorter edge.",
    ),
    click.option(
        "--quality",
        type=click.IntRange(1, 100),
        help="JPEG quality of re-encoded pictures, with --short-edge or --upright.  [default: 90]",
    ),
    click.option(
        "--upright",
        is_flag=True,
        help="Also re-encode, upright, pictures of any size that are not stored upright by EXIF or a list's Rotation. "
        "What --short-edge re-encodes is upright in any case.",
    ),
)


def resize_options(command: Callable[..., None]) -> Callable[..., None]:
    """Pass `resize`, a `ResizeOptions` or None, made of --short-edge, --quality and --upright."""

    @functools.wraps(command)
    def with_value(*, short_edge: int | None, quality: int | None, upright: bool, **others: Any) -> None:
        command(resize=_resize(short_edge, quality, upright=upright), **others)

    return _with_options(with_value, _RESIZE)


def _resize(short_edge: int | None, quality: int | None, *, upright: bool) -> ResizeOptions | None:
    from mlimages_dataset.images.resize import ResizeOptions  # noqa: PLC0415 - Pillow would cost --help

    if short_edge is not None or upright:
        return ResizeOptions(short_edge=short_edge or 0, quality=quality or 90, upright=upright)
    if quality is not None:
        raise UsageError(
            "--quality goes with --short-edge or --upright",
            remedy="give one of them, or none to keep the original bytes",
        )
    return None


_RULES = (
    click.option("--check/--no-check", default=True, show_default=True, help="Decode every picture to its end."),
    *_RESIZE,
    click.option("--shard-images", type=click.IntRange(min=1), default=1000, show_default=True, help="Rows per shard."),
    click.option(
        "--max-bytes", type=click.IntRange(min=1), default=64 << 20, show_default=True, help="Refuse larger pictures."
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(1, 178_956_970),
        default=100_000_000,
        show_default=True,
        help="Refuse larger pictures.",
    ),
    click.option(
        "--placeholder",
        "placeholders",
        multiple=True,
        type=LocalPath(dir_okay=False, exists=True),
        help="A file whose bytes hosts send for pictures that were removed; repeatable.",
    ),
)


def rules_options(command: Callable[..., None]) -> Callable[..., None]:
    """Pass `rules`, an `ImageRules`, and `shard_images`."""

    @functools.wraps(command)
    def with_value(
        *,
        check: bool,
        short_edge: int | None,
        quality: int | None,
        upright: bool,
        max_bytes: int,
        max_pixels: int,
        placeholders: Sequence[Path],
        **others: Any,
    ) -> None:
        from mlimages_dataset.images.check import Limits  # noqa: PLC0415 - Pillow would cost --help
        from mlimages_dataset.images.decode_pool import ImageRules, Placeholder  # noqa: PLC0415 - likewise

        rules = ImageRules(
            limits=Limits(bytes=max_bytes, pixels=max_pixels),
            decode=check,
            placeholders=frozenset(Placeholder.of(path.read_bytes()) for path in placeholders),
            resize=_resize(short_edge, quality, upright=upright),
        )
        command(rules=rules, **others)

    return _with_options(with_value, _RULES)


_SECONDS = click.FloatRange(0, min_open=True)
_POLICY = (
    click.option(
        "--connections",
        type=click.IntRange(min=1),
        default=256,
        show_default=True,
        help="Connections at once, to all hosts.",
    ),
    click.option(
        "--per-host", type=click.IntRange(min=1), default=32, show_default=True, help="Requests at once to a host."
    ),
    click.option("--per-host-rate", type=click.FloatRange(min=0), default=0.0, help="Requests per second to a host."),
    click.option(
        "--retries", type=click.IntRange(min=0), default=3, show_default=True, help="Attempts after the first."
    ),
    click.option("--connect-timeout", type=_SECONDS, default=10.0, show_default=True, help="Seconds to connect."),
    click.option("--read-timeout", type=_SECONDS, default=20.0, show_default=True, help="Seconds without a byte."),
    click.option("--total-timeout", type=_SECONDS, default=120.0, show_default=True, help="Seconds of one attempt."),
    click.option("--allow-private", is_flag=True, help="Also ask hosts outside the public Internet."),
    click.option("--ignore-opt-out", is_flag=True, help="Keep pictures whose hosts say noai or noimageai."),
    click.option("--user-agent", help="The User-Agent header; best with an address for complaints."),
)


def policy_options(command: Callable[..., None]) -> Callable[..., None]:
    """Pass `policy`, a `FetchPolicy`; the command sets its `max_bytes`."""

    @functools.wraps(command)
    def with_value(
        *,
        connections: int,
        per_host: int,
        per_host_rate: float,
        retries: int,
        connect_timeout: float,
        read_timeout: float,
        total_timeout: float,
        allow_private: bool,
        ignore_opt_out: bool,
        user_agent: str | None,
        **others: Any,
    ) -> None:
        from mlimages_dataset.images.fetcher import FetchPolicy, Timeouts  # noqa: PLC0415 - aiohttp would cost --help
        from mlimages_dataset.images.politeness import HostPolicy  # noqa: PLC0415 - likewise
        from mlimages_dataset.sources.http import USER_AGENT  # noqa: PLC0415 - likewise

        if user_agent is not None and not user_agent.isprintable():
            raise UsageError("--user-agent holds a control character", remedy="give it as one line of text")
        policy = FetchPolicy(
            per_host=HostPolicy(requests=per_host, requests_per_second=per_host_rate),
            connections=connections,
            timeouts=Timeouts(connect=connect_timeout, read=read_timeout, total=total_timeout),
            retries=retries,
            allow_private=allow_private,
            ignore_opt_out=ignore_opt_out,
            user_agent=user_agent or USER_AGENT,
        )
        command(policy=policy, **others)

    return _with_options(with_value, _POLICY)


def limited(policy: FetchPolicy, rules: ImageRules) -> FetchPolicy:
    """Return a policy that downloads no more bytes than the rules allow."""
    return dataclasses.replace(policy, max_bytes=rules.limits.bytes)


def _with_options(
    command: Callable[..., None], options: Sequence[Callable[[Callable[..., None]], Callable[..., None]]]
) -> Callable[..., None]:
    """Return a command with some options, which --help lists in their order."""
    for option in reversed(options):
        command = option(command)
    return command
