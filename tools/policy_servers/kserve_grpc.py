"""The Open Inference Protocol over gRPC; fields by number, protobuf written and read by hand.

Service inference.GRPCInferenceService.
ModelMetadata: {1 name, 2 version} -> {1 name, 2 versions*, 3 platform, 4 inputs*, 5 outputs*}, each tensor
{1 name, 2 datatype, 3 shape*}.
ModelInfer: {1 model_name, 2 model_version, 3 id, 5 inputs*: {1 name, 2 datatype, 3 shape*},
6 outputs*: {1 name}, 7 raw_input_contents*} -> {1 model_name, 2 model_version, 3 id,
5 outputs*: {1 name, 2 datatype, 3 shape*, 5 contents: {6 fp32_contents*}}, 6 raw_output_contents*}: the bytes
of all inputs or outputs in their order, or the contents. Errors are statuses of gRPC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import grpc

from tools.policy_servers.identity import Identity
from tools.policy_servers.kserve import Served, datatype, from_bytes

Field: TypeAlias = tuple[int, str | bytes]


class GrpcServer:
    """Serves from threads until it is closed."""

    def __init__(self, served: Served, port: int = 0, tls: Identity | None = None) -> None:
        self._model = served
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(self._checked(act))
            for name, act in (("ModelMetadata", self._metadata), ("ModelInfer", self._infer))
        }
        handler = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers)
        options = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
        self._server = grpc.server(ThreadPoolExecutor(4), [handler], options=options)
        where = f"127.0.0.1:{port}"
        if tls is None:
            bound = self._server.add_insecure_port(where)
        else:
            bound = self._server.add_secure_port(where, credentials(tls))
        self.address = f"{'grpcs' if tls else 'grpc'}://127.0.0.1:{bound}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait()

    def _checked(self, act: Callable[[bytes], bytes]) -> Callable[[bytes, Any], bytes]:
        def checked(data: bytes, context: Any) -> bytes:
            token = dict(context.invocation_metadata()).get("authorization")
            if self._model.token and token != f"Bearer {self._model.token}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such token")
            try:
                return act(data)
            except LookupError as error:
                status, said = grpc.StatusCode.NOT_FOUND, str(error)
            except Exception as error:
                status, said = grpc.StatusCode.INTERNAL, str(error)
            context.abort(status, said)
            raise AssertionError("abort() does not come back")

        return checked

    def _metadata(self, data: bytes) -> bytes:
        asked = fields(data)
        said = self._model.metadata(text(asked, 1), text(asked, 2))
        versions = [(2, version) for version in said["versions"]]
        tensors = [
            (number, message((1, row["name"]), (2, row["datatype"]), (3, varints(row["shape"]))))
            for number, key in ((4, "inputs"), (5, "outputs"))
            for row in said[key]
        ]
        return message((1, said["name"]), *versions, (3, said["platform"]), *tensors)

    def _infer(self, data: bytes) -> bytes:
        asked = fields(data)
        inputs = {}
        for row, raw in zip(asked.get(5, []), asked.get(7, []), strict=True):
            tensor = fields(row)
            shape = [size for packed in tensor[3] for size in unvarints(packed)]
            inputs[text(tensor, 1)] = from_bytes(text(tensor, 2), shape, raw)
        answer = self._model.infer(text(asked, 1), text(asked, 2), inputs)
        if self._model.raw is not None:
            return self._model.raw
        rows, raws = [], []
        for name in [text(fields(row), 1) for row in asked.get(6, [])] or answer:
            array = answer[name]
            parts: list[Field] = [(1, name), (2, datatype(array)), (3, varints(array.shape))]
            if self._model.takes_bytes:
                raws.append((6, array.tobytes()))
            else:
                parts.append((5, message((6, array.astype("<f4").tobytes()))))
            rows.append((5, message(*parts)))
        waste = [(4, message((1, "waste"), (2, message((3, "x" * self._model.waste)))))]
        return message((1, self._model.name), (2, "2"), (3, text(asked, 3)), *waste, *rows, *raws)


def credentials(tls: Identity) -> Any:
    pair = tls.key.read_bytes(), tls.certificate.read_bytes()
    clients = tls.clients.read_bytes() if tls.clients else None
    return grpc.ssl_server_credentials([pair], clients, clients is not None)


def message(*values: Field) -> bytes:
    """A protobuf message of fields that have a length."""
    parts = []
    for number, value in values:
        data = value.encode() if isinstance(value, str) else value
        parts += [varints([number << 3 | 2, len(data)]), data]
    return b"".join(parts)


def fields(data: bytes) -> dict[int, list[bytes]]:
    """The fields of a message, all of which must have a length."""
    found: dict[int, list[bytes]] = {}
    while data:
        tag, data = unvarint(data)
        assert tag & 7 == 2
        length, data = unvarint(data)
        found.setdefault(tag >> 3, []).append(data[:length])
        data = data[length:]
    return found


def text(found: dict[int, list[bytes]], number: int) -> str:
    return found.get(number, [b""])[-1].decode()


def varints(values: Sequence[int]) -> bytes:
    out = bytearray()
    for value in values:
        left = value & (1 << 64) - 1
        while left > 127:
            out.append(left & 127 | 128)
            left >>= 7
        out.append(left)
    return bytes(out)


def unvarint(data: bytes) -> tuple[int, bytes]:
    value = 0
    for at, byte in enumerate(data):
        value |= (byte & 127) << 7 * at
        if byte < 128:
            return value, data[at + 1 :]
    raise ValueError("cut off")


def unvarints(data: bytes) -> list[int]:
    values = []
    while data:
        value, data = unvarint(data)
        values.append(value)
    return values
