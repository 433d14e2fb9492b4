"""The [health] table of vlad.toml."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from vlad.schema import NotNegative, Positive, Section


def _ascending(scale: tuple[float, ...]) -> tuple[float, ...]:
    if any(lower >= higher for lower, higher in pairwise(scale)):
        raise ValueError("each threshold must be above the one before")
    return scale


Scale = Annotated[tuple[Positive, ...], Field(min_length=2, max_length=4), AfterValidator(_ascending)]
"""From which reading on it is CAUTION, WARNING, DANGER and EMERGENCY; the last one is the limit."""


class HealthSettings(Section):
    """When somebody is told of this computer's and the daemon's health. It never touches the robot: what
    slows it down or stops it is a fault, with its own limits under [computer] and [safety].
    """

    cpu: Scale = (0.70, 0.85, 0.95)
    memory: Scale = (0.70, 0.85, 0.95)
    gpu_memory: Scale = (0.70, 0.85, 0.95)
    disk: Scale = (0.70, 0.85, 0.95)
    temperature: Scale = (60.0, 70.0, 80.0, 90.0)
    """[degrees Celsius], of the hottest sensor and of each GPU."""
    interfaces: tuple[str, ...] = ()
    """Network interfaces that must be up; empty: those that have hardware and were up since the start."""
    raise_s: NotNegative = 10.0
    """An alert is raised once something was bad for so long ..."""
    clear_s: NotNegative = 10.0
    """... and is over once it was 5 % better than the threshold for so long."""
    webhook: str = ""
    """Where each alert is posted to, as JSON; empty: nowhere."""
    command: tuple[str, ...] = ()
    """A program and its arguments, run for each alert with JSON on its standard input; never by a shell."""
    timeout_s: Annotated[float, Field(gt=0, le=60, strict=True)] = 5.0
    """The webhook must answer, and the command end, within this time."""

    @field_validator("webhook")
    @classmethod
    def _leads_somewhere(cls, webhook: str) -> str:
        try:
            parts = urlsplit(webhook)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            known = False
        if webhook and not known:
            raise ValueError('is not "https://HOST/PATH" or "http://HOST/PATH"')
        if webhook and "@" in parts.netloc:
            raise ValueError("names a user, which is not sent; put a token into its path instead")
        return webhook

    @field_validator("command")
    @classmethod
    def _is_a_program(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if command and not command[0].startswith("/"):
            raise ValueError("must begin with the whole path of a program")
        return command
