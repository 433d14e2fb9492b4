"""The settings of a policy's server: vlad.toml's [policy.server]."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from vlad.schema import Section

SECURE: frozenset[str] = frozenset({"wss", "https", "grpcs"})
"""Schemes of addresses whose servers are talked to over TLS."""

SCHEMES: tuple[str, ...] = ("ws", "wss", "tcp", "http", "https", "grpc", "grpcs")


class ServerSettings(Section):
    """Where the policy runs, for bundles whose backend is a policy server."""

    address: str
    """ws://HOST:PORT of an openpi server, tcp://HOST:PORT of a GR00T server, http://HOST:PORT or
    grpc://HOST:PORT of a server with KServe's protocol, where /v2/models/NAME may follow; over TLS wss://,
    https:// and grpcs://."""
    token_file: Path | None = None
    """File with the key that the server wants to see; None: it wants none."""
    timeout_s: Annotated[float, Field(gt=0, le=60, strict=True)] = 0.09
    """Each answer must be there within this time, the connection included: then the server counts as lost.
    With a camera of 30 Hz the default notices a dead one within 150 ms."""
    ca_file: Path | None = None
    """Certificates that the server's must be signed by, over TLS; None: those that this computer trusts."""
    certificate_file: Path | None = None
    """The robot's own certificate, for a server that wants to see one; needs `key_file`."""
    key_file: Path | None = None

    @property
    def is_secure(self) -> bool:
        """Whether the server is talked to over TLS."""
        return self.address.partition("://")[0] in SECURE

    @model_validator(mode="after")
    def _leads_somewhere(self) -> ServerSettings:
        try:
            parts = urlsplit(self.address)
            known = parts.scheme in SCHEMES and parts.hostname and parts.port
        except ValueError:
            known = False
        if not known:
            raise ValueError(
                f"address {self.address!r} is not SCHEME://HOST:PORT with one of {', '.join(SCHEMES)}"
            )
        return self

    @model_validator(mode="after")
    def _files_are_of_use(self) -> ServerSettings:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together; name both, or neither")
        for key in ("ca_file", "certificate_file"):
            if getattr(self, key) is not None and not self.is_secure:
                raise ValueError(
                    f"{key} is for wss://, https:// and grpcs://: nothing else is encrypted; remove it"
                )
        return self
