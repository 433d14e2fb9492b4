"""An inference server written from the Open Inference Protocol (KServe's v2), over HTTP and over gRPC.

`python -m tests.policy.backends.kserve_server {http,grpc} PORT [--fault F]` serves the model "bench" with a
policy that drives slowly ahead. SIGUSR1 begins the fault, and ends it again: `nan`, `shape`, `error`.
"listening" on the standard output says that it can be connected to.

HTTP/1.1, connections are kept:

GET /v2 -> {"name", "version", "extensions": ["binary_tensor_data"]}, the last only where bytes are taken.
GET /v2/models/NAME[/versions/V] -> {"name", "versions", "platform", "inputs", "outputs"}; the last two are
lists of {"name", "datatype", "shape"}, -1 is an open size.
POST /v2/models/NAME[/versions/V]/infer: {"id"?, "inputs": [{"name", "datatype", "shape", "data"}],
"outputs": [{"name"}]} -> {"model_name", "model_version", "outputs": [{"name", "datatype", "shape", "data"}]}.
An input with "parameters": {"binary_data_size": N} has no "data": its N bytes follow the JSON, whose length
is the header Inference-Header-Content-Length. An output asked for with "parameters": {"binary_data": true}
is answered so as well. Errors: another status and {"error": text}; 401 where the token is not the one.

gRPC, service inference.GRPCInferenceService; fields by number, protobuf written and read by hand here:

ModelMetadata: {1 name, 2 version} -> {1 name, 2 versions*, 3 platform, 4 inputs*, 5 outputs*}, each tensor
{1 name, 2 datatype, 3 shape*}.
ModelInfer: {1 model_name, 2 model_version, 3 id, 5 inputs*: {1 name, 2 datatype, 3 shape*},
6 outputs*: {1 name}, 7 raw_input_contents*} -> {1 model_name, 2 model_version, 3 id,
5 outputs*: {1 name, 2 datatype, 3 shape*, 5 contents: {6 fp32_contents*}}, 6 raw_output_contents*}: the bytes
of all inputs or outputs in their order, or the contents. Errors are statuses of gRPC.

Bytes are little-endian and row-major; an element of BYTES is its length as 4 bytes and its own bytes.
"""

from __future__ import annotations

import argparse
import json
import signal
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np

from tools.benchmarks.policy_server import HORIZON, TWIST

DTYPES = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "UINT8": "|u1"}


@dataclass
class Served:
    """A model on a server, and how the server behaves. What its model was asked is in `seen`."""

    answer: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
    inputs: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    outputs: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    name: str = "pi"
    versions: tuple[str, ...] = ("1", "2")
    token: str = ""
    takes_bytes: bool = True
    """False: no extension over HTTP, `contents` over gRPC."""
    keeps: bool | None = True
    """False: it hangs up after each answer; None: it does not even say so."""
    raw: bytes | None = None
    """What it says instead of an answer of its model: all of the HTTP answer, or the message of gRPC."""
    seen: list[dict[str, np.ndarray]] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)
    """The version that was named with each question; empty: none."""
    waste: int = 0
    """So many bytes more than the protocol asks for."""

    def metadata(self, name: str, version: str) -> dict:
        self.find(name, version)
        rows = {
            key: [{"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in tensors.items()]
            for key, tensors in (("inputs", self.inputs), ("outputs", self.outputs))
        }
        return {"name": self.name, "versions": list(self.versions), "platform": "tests"} | rows

    def find(self, name: str, version: str) -> None:
        if name != self.name or version not in ("", *self.versions):
            raise LookupError(f"Request for unknown model: '{name}' version '{version}' is not found")

    def infer(self, name: str, version: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.find(name, version)
        self.seen.append(inputs)
        self.asked_for.append(version)
        return self.answer(inputs)


def datatype(array: np.ndarray) -> str:
    return next((kind for kind, code in DTYPES.items() if code == array.dtype.str), "BYTES")


def from_bytes(kind: str, shape: list[int], data: bytes) -> np.ndarray:
    if kind != "BYTES":
        return np.frombuffer(data, DTYPES[kind]).reshape(shape)
    texts = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        texts.append(data[4 : 4 + length].decode())
        data = data[4 + length :]
    return np.array(texts, object).reshape(shape)


# HTTP ---------------------------------------------------------------------------------------------------


class HttpServer:
    """Serves from threads until it is closed."""

    def __init__(self, served: Served, port: int = 0) -> None:
        class Handler(_Handler):
            model = served

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    model: Served
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/v2":
            extensions = ["binary_tensor_data"] if self.model.takes_bytes else []
            self.say(200, {"name": "tests", "version": "2", "extensions": extensions})
        else:
            self.attempt(lambda: self.say(200, self.model.metadata(*self.place(""))))

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.attempt(lambda: self.infer(data))

    def attempt(self, act: Callable[[], None]) -> None:
        if self.model.token and self.headers["Authorization"] != f"Bearer {self.model.token}":
            self.say(401, {"error": "no such token"})
            return
        try:
            act()
        except LookupError as error:
            self.say(404, {"error": str(error)})
        except Exception as error:
            self.say(500, {"error": str(error)})

    def place(self, end: str) -> tuple[str, str]:
        _, v2, models, name, *rest = self.path.removesuffix(end).split("/")
        assert (v2, models) == ("v2", "models")
        assert self.path.endswith(end)
        assert rest[:1] in ([], ["versions"])
        return name, rest[1] if rest else ""

    def infer(self, data: bytes) -> None:
        length = int(self.headers.get("Inference-Header-Content-Length", len(data)))
        asked, rest = json.loads(data[:length]), data[length:]
        inputs = {}
        for row in asked["inputs"]:
            size = row.get("parameters", {}).get("binary_data_size")
            if size is None:
                kind = DTYPES.get(row["datatype"], object)
                inputs[row["name"]] = np.array(row["data"], kind).reshape(row["shape"])
            else:
                assert self.model.takes_bytes
                inputs[row["name"]] = from_bytes(row["datatype"], row["shape"], rest[:size])
                rest = rest[size:]
        assert not rest
        answer = self.model.infer(*self.place("/infer"), inputs)
        if self.model.raw is not None:
            self.wfile.write(self.model.raw)
            self.close_connection = True
            return
        rows, parts = [], []
        for row in asked.get("outputs") or [{"name": name} for name in answer]:
            array = answer[row["name"]]
            said = {"name": row["name"], "datatype": datatype(array), "shape": list(array.shape)}
            if row.get("parameters", {}).get("binary_data"):
                parts.append(array.tobytes())
                said["parameters"] = {"binary_data_size": len(parts[-1])}
            else:
                said["data"] = array.ravel().tolist()
            rows.append(said)
        reply = {"model_name": self.model.name, "model_version": "2", "outputs": rows}
        if "id" in asked:
            reply["id"] = asked["id"]
        self.say(200, reply | {"parameters": {"waste": "x" * self.model.waste}}, b"".join(parts))

    def say(self, status: int, value: dict, rest: bytes = b"") -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text) + len(rest)))
        if rest:
            self.send_header("Inference-Header-Content-Length", str(len(text)))
        if self.model.keeps is False:
            self.send_header("Connection", "close")
        self.close_connection = not self.model.keeps
        self.end_headers()
        self.wfile.write(text + rest)

    def log_message(self, *_: object) -> None:
        pass


# gRPC ---------------------------------------------------------------------------------------------------


class GrpcServer:
    """Serves from threads until it is closed."""

    def __init__(self, served: Served, port: int = 0) -> None:
        self._model = served
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(self._checked(act))
            for name, act in (("ModelMetadata", self._metadata), ("ModelInfer", self._infer))
        }
        handler = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers)
        options = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
        self._server = grpc.server(ThreadPoolExecutor(4), [handler], options=options)
        self.address = f"grpc://127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{port}')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait()

    def _checked(self, act: Callable[[bytes], bytes]) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def checked(data: bytes, context: grpc.ServicerContext) -> bytes:
            token = dict(context.invocation_metadata()).get("authorization")
            if self._model.token and token != f"Bearer {self._model.token}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such token")
            try:
                return act(data)
            except LookupError as error:
                context.abort(grpc.StatusCode.NOT_FOUND, str(error))
            except Exception as error:
                context.abort(grpc.StatusCode.INTERNAL, str(error))

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
            row = [(1, name), (2, datatype(array)), (3, varints(array.shape))]
            if self._model.takes_bytes:
                raws.append((6, array.tobytes()))
            else:
                row.append((5, message((6, array.astype("<f4").tobytes()))))
            rows.append((5, message(*row)))
        waste = [(4, message((1, "waste"), (2, message((3, "x" * self._model.waste)))))]
        return message((1, self._model.name), (2, "2"), (3, text(asked, 3)), *waste, *rows, *raws)


def message(*values: tuple[int, str | bytes]) -> bytes:
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


def varints(values: list[int]) -> bytes:
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


# as a process ------------------------------------------------------------------------------------------

SERVERS = {"http": HttpServer, "grpc": GrpcServer}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=sorted(SERVERS))
    parser.add_argument("port", type=int)
    parser.add_argument("--fault", default="", choices=("", "nan", "shape", "error"))
    arguments = parser.parse_args()
    misbehaves = threading.Event()

    def turn(*_: object) -> None:
        (misbehaves.clear if misbehaves.is_set() else misbehaves.set)()

    def drive(_: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        actions = np.tile(np.array(TWIST, np.float32), (1, HORIZON, 1))
        match arguments.fault if misbehaves.is_set() else "":
            case "nan":
                actions[0, 3, 0] = np.nan
            case "shape":
                actions = actions[:, 1:]
            case "error":
                raise RuntimeError("CUDA error: out of memory")
        return {"actions": actions}

    signal.signal(signal.SIGUSR1, turn)
    camera, actions = ("UINT8", [-1, -1, -1, 3]), ("FP32", [-1, HORIZON, 2])
    served = Served(drive, {"camera": camera}, {"actions": actions}, name="bench")
    server = SERVERS[arguments.kind](served, arguments.port)
    print("listening", flush=True)
    while server:
        signal.pause()


if __name__ == "__main__":
    main()
