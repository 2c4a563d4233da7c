"""Which addresses an outbound connection may reach, and which URLs a client accepts.

Every answer of the resolver is checked, and the caller connects to a checked address: a name that
resolves differently a moment later (DNS rebinding) gains nothing.
"""

import ipaddress
import socket
from typing import Literal, TypeAlias

import httpx

from healthcloud.http.errors import AddressRefused, UrlRefused

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Reach: TypeAlias = Literal["public", "loopback", "public_or_loopback"]

_TUNNELS = tuple(
    ipaddress.ip_network(network)
    # IPv4 in disguise: NAT64, 6to4, Teredo, IPv4-compatible. `is_global` calls most of them public.
    for network in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
)


def address_allowed(address: IPAddress, reach: Reach) -> bool:
    """Say whether a client of this reach may connect to the address."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback:
        return reach != "public"
    if reach == "loopback" or not address.is_global or address.is_multicast:
        return False
    return not any(address in tunnel for tunnel in _TUNNELS if tunnel.version == address.version)


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host in the resolver's order, without doubles."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def pinned_addresses(host: str, port: int, reach: Reach) -> list[str]:
    """Resolve once; return the addresses if all are allowed, else raise AddressRefused."""
    addresses = resolve(host, port)
    for text in addresses:
        if not address_allowed(ipaddress.ip_address(text.partition("%")[0]), reach):
            raise AddressRefused(
                f"{host} resolves to an address in a private or reserved network, which this "
                "platform does not call. Use a host on the public internet."
            )
    return addresses


def parse_url(url: str, *, allow_loopback: bool) -> tuple[httpx.URL, Reach]:
    """Return the parsed URL and how far it may reach; UrlRefused for a URL we never call.

    Plain http is for simulators on this machine only: it reaches loopback and nothing else.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise UrlRefused("This is not a valid URL.", param="url") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise UrlRefused("The URL must be absolute and start with https://.", param="url")
    if parsed.userinfo:
        raise UrlRefused("The URL must not contain a user name or password.", param="url")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise UrlRefused("The URL's port is a number from 1 to 65535.", param="url")
    if parsed.scheme == "https":
        return parsed, "public_or_loopback" if allow_loopback else "public"
    if not allow_loopback:
        raise UrlRefused("The URL must start with https://.", param="url")
    return parsed, "loopback"


def check_url(url: str, *, allow_loopback: bool) -> None:
    """Refuse a URL that could never be called: by its form, or by what its host resolves to now.

    A host that does not resolve at this moment passes; the guard looks again at each connection.
    """
    parsed, reach = parse_url(url, allow_loopback=allow_loopback)
    try:
        pinned_addresses(parsed.host, parsed.port or 443, reach)
    except (OSError, UnicodeError, AddressRefused) as error:
        if reach == "loopback":  # plain http to anything but this machine
            raise UrlRefused("The URL must start with https://.", param="url") from None
        if isinstance(error, AddressRefused):
            raise AddressRefused(error.message, param="url") from None
