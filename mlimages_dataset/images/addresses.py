"""Which URLs may be requested: http and https URLs whose hosts are in the public Internet.

A list of image URLs is not to be trusted. It must not make this machine send requests to itself or to its own network
(server-side request forgery): not directly, not by a redirect, and not by a name that resolves to another address the
second time. So the connection goes to exactly the addresses that were checked (`images/resolver.py`).
"""

from __future__ import annotations

import ipaddress
import re
from typing import TypeAlias
from urllib.parse import quote

from yarl import URL

from mlimages_dataset.images.statuses import Status

_IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_CHARACTERS = 8000
"""Servers refuse longer request lines (nginx at 8 KiB, RFC 9110 section 4.1 asks for 8,000 bytes at least)."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All assigned IPv6 addresses (https://www.iana.org/assignments/ipv6-unicast-address-assignments). Python takes
unregistered ones, such as `::127.0.0.1` and `fec0::1`, for public."""


class Refused(Exception):  # noqa: N818 - the outcome of a row, not an error of the program
    """A URL gave no body.

    Attributes:
        status: why.
        detail: more on it, in words.
        again: whether another attempt may succeed.
    """

    def __init__(self, status: Status, detail: str = "", *, again: bool = False) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.again = again


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def parsed(text: str) -> URL:
    """Return the URL of a text, whose path and query are asked for as they are written.

    Signed URLs are valid in one spelling only. International names, and characters that no URL may hold, are encoded.

    Raises:
        Refused: it is not an http or https URL with a host, holds a password, or is too long.
    """
    if not text.strip():
        raise Refused(Status.BAD_ADDRESS, "empty")
    if len(text) > MAX_CHARACTERS:
        raise Refused(Status.BAD_ADDRESS, f"{len(text):,} characters")
    if _CONTROL.search(text.strip()):  # yarl would drop line breaks, which makes it another URL
        raise Refused(Status.BAD_ADDRESS, "holds a line break or another control character")
    try:
        url = _as_written(text.strip())
        host, port, length = url.raw_host, url.port, len(str(url))
        login = url.raw_user is not None or url.raw_password is not None
        if ":" in (host or ""):  # yarl accepts anything in brackets
            ipaddress.IPv6Address(str(host).partition("%")[0])
    except (ValueError, IndexError) as error:  # UnicodeError of a host that IDNA cannot encode; yarl's own at "[@]"
        raise Refused(Status.BAD_ADDRESS, without_login(f"not a URL: {error}")[:200]) from error
    if url.scheme not in {"http", "https"}:
        raise Refused(Status.BAD_ADDRESS, f"{url.scheme[:20]}: is not supported" if url.scheme else "no scheme")
    if not host or not port or length > MAX_CHARACTERS:
        raise Refused(Status.BAD_ADDRESS, "no host" if not host else f"{length:,} characters when encoded")
    if login:
        raise Refused(Status.BAD_ADDRESS, "holds a user name or a password")
    return url


def without_login(text: str) -> str:
    """Return what quotes a URL without the user name and password in it: a detail is kept, and shown.

    >>> without_login("to https://me:secret@example.org/a@b.jpg")
    'to https://example.org/a@b.jpg'
    """
    return _LOGIN.sub(r"\1", text)


_LOGIN = re.compile(r"(//)[^/?#\s]*@")
_END_OF_HOST = re.compile(r"[/?#]")
_ILLEGAL = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]")
"""What a path and a query may not hold as it is (RFC 3986, section 2): also a percent sign that begins no escape."""


def _as_written(text: str) -> URL:
    """Return a URL without its fragment; nothing but what is illegal in its path and query is encoded."""
    scheme, mark, rest = text.partition("://")
    end = match.start() if (match := _END_OF_HOST.search(rest)) else len(rest)
    host = URL(f"{scheme}{mark}{rest[:end]}")
    if not (host.scheme and host.raw_authority):
        return URL(text)
    target = _ILLEGAL.sub(_escaped, rest[end:].partition("#")[0])
    if not target.startswith("/"):
        target = f"/{target}"
    if target.partition("?")[1:] == ("?", ""):  # yarl drops an empty query, but leaves a path alone
        return URL.build(scheme=host.scheme, authority=host.raw_authority, path=target, encoded=True)
    return URL(f"{host.scheme}://{host.raw_authority}{target}", encoded=True)


def _escaped(illegal: re.Match[str]) -> str:
    # Bytes of a header in another encoding than UTF-8 come as surrogates: they are asked for as they are.
    return quote(illegal[0], safe="", errors="surrogateescape")


def joined(base: URL, reference: str) -> str:
    """Return the URL that a reference means at a place, such as the target of a redirect (RFC 3986, section 5).

    Raises:
        ValueError, IndexError: it is not a URL.
    """
    place = URL(str(base), encoded=True)
    path, mark, query = reference.partition("#")[0].partition("?")
    if query or not mark:
        return str(place.join(URL(path + mark + query, encoded=True)))
    target = place.join(URL(path, encoded=True)) if path else place
    return f"{str(target).partition('?')[0]}?"  # yarl takes an empty query for none


def is_public(address: str) -> bool:
    """Return whether an IP address is in the public Internet, by RFC 6890's registries as Python has them.

    An IPv6 address that embeds an IPv4 address (mapped, NAT64, 6to4, Teredo) is public if that one is.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_is_global(one) for one in _embedded(ip) or [ip])


def _is_global(ip: _IpAddress) -> bool:
    given_out = isinstance(ip, ipaddress.IPv4Address) or ip in _GLOBAL_UNICAST
    return given_out and ip.is_global and not ip.is_multicast


def _embedded(ip: _IpAddress) -> list[_IpAddress]:
    """Return the IPv4 addresses that traffic to an IPv6 address reaches; none if it embeds none."""
    if isinstance(ip, ipaddress.IPv4Address):
        return []
    if ip.ipv4_mapped is not None:
        return [ip.ipv4_mapped]
    if ip.sixtofour is not None:
        return [ip.sixtofour]
    if ip.teredo is not None:
        return list(ip.teredo)
    return [ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)] if ip in _NAT64 else []


def check_literal(url: URL) -> None:
    """Check a host that is an IP address, which is never resolved.

    Raises:
        Refused: it is not public, or consists of digits and dots only (`127.1`, `2130706433`), which systems read
            differently.
    """
    host = url.raw_host or ""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError as error:
        if host.replace(".", "").isdigit():
            raise Refused(Status.BAD_ADDRESS, f"{host} is not a complete IP address"[:200]) from error
        return
    if not is_public(host):
        raise Refused(Status.PRIVATE_ADDRESS, f"{host} is not in the public Internet")
