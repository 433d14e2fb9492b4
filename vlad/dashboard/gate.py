"""Who may come in: what a browser that was led here by another site says of itself, and who has the token.

Another site may point its own name to this address (DNS rebinding), or let its pages send requests here. The
first shows in the Host header, the second in Origin.
"""

from __future__ import annotations

import hmac
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

SHORTEST_TOKEN, LONGEST_TOKEN = 16, 200


def refusal(host: str, origin: str | None) -> str:
    """Why a request with these headers is refused; empty: it is not."""
    name = _name(host)
    if not (_is_address(name) or name in _own_names()):
        return f"{host!r} is not a name of this robot; use its IP address"
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return f"a page of {origin!r} may not talk to this robot"
    return ""


def is_local(address: str) -> bool:
    """Whether a client's IP address is this computer's own."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def same(token: str, given: str) -> bool:
    """Whether `given` is the token, in a time that tells nothing of it. Nothing is an empty one."""
    return bool(token) and hmac.compare_digest(token.encode(), given.encode("utf-8", "replace"))


def token_problem(token: str) -> str:
    """What is wrong with a token; empty: nothing."""
    if not SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN:
        return f"has {len(token)} characters; {SHORTEST_TOKEN} to {LONGEST_TOKEN} are wanted"
    if not (token.isascii() and token.isprintable()) or " " in token:
        return "has blanks, or characters beyond ASCII"
    return ""


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _own_names() -> tuple[str, ...]:
    own = socket.gethostname().lower()
    return "localhost", own, f"{own}.local"
