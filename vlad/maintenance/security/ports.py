"""TCP and UDP ports that this computer can be reached on: vlad's, which the settings name, and others'."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

import psutil

from vlad.maintenance.finding import Finding


@dataclass(frozen=True, slots=True)
class Listener:
    """`pid` is None where this user may not know whose it is."""

    address: str
    port: int
    pid: int | None
    name: str = ""


def listeners() -> list[Listener]:
    """TCP sockets that listen. psutil.Error where the kernel does not tell."""
    found = set()
    for one in psutil.net_connections(kind="tcp"):
        if one.status == psutil.CONN_LISTEN:
            found.add((one.laddr.ip, one.laddr.port, one.pid))
    return [Listener(ip, port, pid, _name(pid)) for ip, port, pid in sorted(found, key=str)]


def family(pid: int) -> set[int]:
    """A process and all that it started."""
    try:
        process = psutil.Process(pid)
        return {pid, *(child.pid for child in process.children(recursive=True))}
    except psutil.Error:
        return {pid}


def judge(
    found: Iterable[Listener], ours: Collection[int], own: Mapping[int, str], expected: Collection[int]
) -> Iterator[Finding]:
    """`ours` are vlad's processes, `own` the ports that its settings name, `expected` those of others."""
    known: list[str] = []
    for one in found:
        where = f"{one.address}:{one.port}"
        if one.pid is not None and one.pid in ours:
            if one.port not in own:
                what = f"{where}: vlad's process {one.pid} ({one.name}) listens, and no setting says so"
                yield Finding("problem", "ports", what, f"find out why: ss -lntp 'sport = {one.port}'")
            elif ip_address(one.address).is_unspecified:
                what = f"{where}: listens on every network ({own[one.port]})"
                yield Finding(
                    "warning", "ports", what, f"name one address of this computer in {own[one.port]}"
                )
            else:
                known.append(f"{where} ({own[one.port]})")
        elif ip_address(one.address).is_loopback or one.port in expected or one.port in own:
            known.append(where)
        else:
            who = f" ({one.name}, pid {one.pid})" if one.pid is not None else ""
            ask = f"whose is it? ss -lntp 'sport = {one.port}' as root"
            mend = f"{ask}; what may be there: maintenance.security_scan.ports"
            yield Finding("warning", "ports", f"{where}{who} can be reached from outside", mend)
    yield Finding("ok", "ports", f"as expected: {', '.join(known) or 'none'}")


def check_ports(pid: int | None, own: Mapping[int, str], expected: Collection[int]) -> Iterator[Finding]:
    """`pid` is the daemon's; None: it is not known."""
    try:
        found = listeners()
    except (psutil.Error, OSError) as error:
        yield Finding("unknown", "ports", f"the kernel does not tell: {error}", "ss -lntp as root")
        return
    yield from judge(found, family(pid) if pid else (), own, expected)


def _name(pid: int | None) -> str:
    try:
        return str(psutil.Process(pid).name()) if pid is not None else ""
    except psutil.Error:
        return ""
