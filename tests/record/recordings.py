"""Reading recordings as others do: with the mcap library, and Protocol Buffers by the real one."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from mcap.reader import make_reader

Rows = dict[str, list[dict[str, Any]]]


def read(path: Path) -> Rows:
    """Every message by topic, in the order of time, each with `log_ns` and what its schema says of it."""
    rows: Rows = {}
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        for schema, channel, message in reader.iter_messages():
            assert schema is not None
            decoded = decode(schema.name, schema.encoding, schema.data, message.data)
            rows.setdefault(channel.topic, []).append({"log_ns": message.log_time, **decoded})
        assert summary.statistics is not None
        counted = summary.statistics.channel_message_counts
        counts = {summary.channels[key].topic: count for key, count in counted.items()}
        assert counts == {topic: len(found) for topic, found in rows.items()}
    return rows


def decode(name: str, encoding: str, schema: bytes, data: bytes) -> dict[str, Any]:
    """One message as a dictionary with the field names of its schema; pictures as bytes."""
    if encoding == "jsonschema":
        row = json.loads(data)
        assert set(row) - {"data"} <= promised(schema)
        return dict(row)
    made = message_class(name, schema).FromString(data)
    row = json_format.MessageToDict(made, preserving_proto_field_name=True)
    if hasattr(made, "data"):
        row["data"] = made.data
    return dict(row)


@lru_cache(maxsize=100)
def promised(schema: bytes) -> set[str]:
    """The keys of a JSON schema."""
    return set(json.loads(schema)["properties"])


@lru_cache(maxsize=100)
def message_class(name: str, schema: bytes) -> Any:
    pool = descriptor_pool.DescriptorPool()
    for file in FileDescriptorSet.FromString(schema).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def metadata(path: Path) -> dict[str, dict[str, str]]:
    with path.open("rb") as file:
        return {record.name: record.metadata for record in make_reader(file).iter_metadata()}
