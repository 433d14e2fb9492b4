"""The [page] table of vlad.toml."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from pydantic import field_validator, model_validator

from vlad.schema import Section


class PageSettings(Section):
    """The web page. Whoever reaches its address may look, and from this computer also press the e-stop; all
    else needs the token.
    """

    listen: str = "127.0.0.1:8420"
    """IP address and port, "[::1]:8420" for version 6; port 0: any that is free; empty: there is no page. An
    address that other computers reach needs a token_file."""
    token_file: Path | None = None
    """File with the word that acts need, of 16 to 200 characters; None: only the e-stop can be pressed."""

    @property
    def host(self) -> str:
        """Without the brackets of version 6."""
        return self.listen.rpartition(":")[0].removeprefix("[").removesuffix("]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, listen: str) -> str:
        host, _, port = listen.rpartition(":")
        try:
            bracketed = host.startswith("[") and host.endswith("]")
            known = (ip_address(host.strip("[]")).version == 6) == bracketed
        except ValueError:
            known = False
        if listen and not (known and port.isascii() and port.isdigit() and int(port) < 65536):
            raise ValueError('is not "IP ADDRESS:PORT", such as "127.0.0.1:8420"; empty: no page')
        return listen

    @model_validator(mode="after")
    def _others_need_a_token(self) -> PageSettings:
        if self.listen and not ip_address(self.host).is_loopback and self.token_file is None:
            raise ValueError(
                f"listen = {self.listen!r} lets other computers in: name a token_file, or use 127.0.0.1"
            )
        return self
