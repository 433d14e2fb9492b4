"""TLS to a policy's server: its certificate must be signed by somebody trusted, and be for its address.

Nothing turns these checks off. What cannot be used among the files is told when the bundle is loaded, and
what is wrong with the server's certificate in words of our own, which are the same for every protocol.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from vlad.policy.backends import BackendError, ServerLost
from vlad.server_settings import ServerSettings

_TROUBLES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("has expired",), "its certificate has expired; renew it there, or set this computer's clock"),
    (("not yet valid",), "its certificate is not valid yet; set this computer's clock, or the server's"),
    (
        ("mismatch", "hostname verification check failed"),
        "its certificate is for another host than {host}; write the name that the certificate has into "
        "policy.server.address, or give the server one for {host}",
    ),
    (
        ("local issuer certificate", "self-signed certificate", "self signed certificate"),
        "its certificate is not signed by {trusted}; policy.server.ca_file names the file with the signer's",
    ),
    (
        ("wrong_version_number", "record layer failure", "packet_length_too_long"),
        "does not speak TLS; write {plain}:// into policy.server.address, or switch TLS on at the server",
    ),
    (
        ("certificate_required", "certificate required"),
        "wants to see a certificate of this robot's; name it and its key as policy.server.certificate_file "
        "and policy.server.key_file",
    ),
    (
        ("alert_unknown_ca", "alert unknown ca"),
        "does not trust the robot's own certificate, {own}; have it signed by who is trusted there",
    ),
    (
        ("alert_certificate_expired", "alert certificate expired"),
        "says that the robot's own certificate, {own}, has expired; renew it",
    ),
)
"""What OpenSSL, or gRPC with its BoringSSL, says somewhere in its error -> what that means."""


def tls_of(settings: ServerSettings) -> ssl.SSLContext | None:
    """What checks the server's certificate, and shows the robot's own; None for a server without TLS.

    BackendError where a file of the settings cannot be used.
    """
    if not settings.is_secure:
        return None
    if settings.ca_file is not None:
        _readable("ca_file", settings.ca_file)
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except ssl.SSLError as error:
        raise BackendError(
            f"{settings.ca_file}: holds no certificates ({_short(error)}); policy.server.ca_file names a "
            f"PEM file"
        ) from error
    certificate, key = settings.certificate_file, settings.key_file
    if certificate is not None and key is not None:
        _readable("certificate_file", certificate)
        _readable("key_file", key)
        try:
            context.load_cert_chain(certificate, key, lambda: _locked(key))
        except ssl.SSLError as error:
            raise BackendError(
                f"{certificate} and {key}: are no certificate and its key ({_short(error)}); "
                f"policy.server.certificate_file and policy.server.key_file name PEM files of one pair"
            ) from error
    return context


def trusted(settings: ServerSettings) -> bytes | None:
    """The certificates, in PEM, that the server's must be signed by; None where this computer has no list."""
    file = settings.ca_file or ssl.get_default_verify_paths().cafile
    return Path(file).read_bytes() if file else None


def unreachable(settings: ServerSettings, error: object) -> ServerLost:
    """What to say of a connection that could not be made, or is gone."""
    if not settings.is_secure:
        return ServerLost(f"{settings.address}: {error}; see whether the policy server runs")
    return ServerLost(f"{settings.address}: {_explained(settings, str(error))}")


def _explained(settings: ServerSettings, error: str) -> str:
    """What is wrong with a connection over TLS, and what to do about it."""
    parts, said = urlsplit(settings.address), error.lower()
    for signs, words in _TROUBLES:
        if any(sign in said for sign in signs):
            return words.format(
                host=parts.hostname,
                trusted=settings.ca_file or "anybody whom this computer trusts",
                plain=parts.scheme.removesuffix("s"),
                own=settings.certificate_file,
            )
    # Of an alert that comes behind a closed connection, the reason is lost.
    what = "hung up" if "eof occurred" in said else error
    own = settings.certificate_file or "a robot without a certificate"
    return f"{what}; see whether the policy server runs, has TLS, and accepts {own}"


def _readable(key: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise BackendError(
            f"{path}: cannot be read ({error.strerror}); put the file there, or correct policy.server.{key}"
        ) from error


def _locked(key: Path) -> NoReturn:
    raise BackendError(f"{key}: is locked with a password, and nobody is there to type it; unlock the file")


def _short(error: ssl.SSLError) -> str:
    """OpenSSL's name for it, without where in its source it was found."""
    return (error.reason or str(error)).lower().replace("_", " ")
