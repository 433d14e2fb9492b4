"""Every value of the settings with its key, to find the files and addresses that they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

_SECRET_WORDS = ("secret", "token", "key_file", "password")


def values_of(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Key, with dots, and value; of tuples and lists with the number of the item."""
    if isinstance(node, BaseModel):
        for name in type(node).model_fields:
            yield from values_of(getattr(node, name), f"{key}.{name}".lstrip("."))
    elif isinstance(node, Mapping):
        for name, value in node.items():
            yield from values_of(value, f"{key}.{name}".lstrip("."))
    elif isinstance(node, tuple | list):
        for number, value in enumerate(node):
            yield from values_of(value, f"{key}.{number}")
    else:
        yield key, node


def secret_files(settings: BaseModel) -> Iterator[tuple[str, Path]]:
    """Key and path of each file that holds a secret, as the name of its key tells."""
    for key, value in values_of(settings):
        name = key.rsplit(".", 1)[-1]
        if isinstance(value, Path) and any(word in name for word in _SECRET_WORDS):
            yield key, value


def own_ports(settings: BaseModel) -> dict[int, str]:
    """The TCP ports that the settings have vlad listen on, with their keys."""
    ports = {}
    for key, value in values_of(settings):
        name = key.rsplit(".", 1)[-1]
        if isinstance(value, str) and (name == "listen" or name.endswith("_tcp")):
            number = value.rpartition(":")[2]
            if number.isdecimal():
                ports[int(number)] = key
    return ports
