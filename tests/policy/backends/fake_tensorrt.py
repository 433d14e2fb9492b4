"""TensorRT as far as vlad uses it, on the GPU of fake_cuda.py: 8.6, 10.16 or 11.4.

The classes have the names and parameters of the real ones, which test_tensorrt_bindings.py checks.
"""

from __future__ import annotations

import enum
import json
import types

import numpy as np

EXTRA = {
    "8.6.1": {"NetworkDefinitionCreationFlag": ["EXPLICIT_BATCH"], "BuilderFlag": ["FP16", "INT8"]},
    "10.16.1.11": {
        "NetworkDefinitionCreationFlag": ["EXPLICIT_BATCH", "STRONGLY_TYPED"],
        "BuilderFlag": ["FP16", "INT8"],
        "DataType": ["INT64", "BF16"],
    },
    "11.4.0.106": {"NetworkDefinitionCreationFlag": ["STRONGLY_TYPED"], "DataType": ["INT64", "BF16"]},
}
"""Version -> the names that not every version has."""

NUMPY = {
    "FLOAT": "float32", "HALF": "float16", "INT64": "int64", "INT32": "int32", "INT8": "int8",
    "UINT8": "uint8", "BOOL": "bool", "BF16": "bfloat16",
}  # fmt: skip


def onnx_text(inputs, outputs, **more):
    """What the fake parser reads: name -> [type, shape]. Each output is the sum of all inputs, filled in."""
    return json.dumps({"inputs": inputs, "outputs": outputs, "needs": [], **more})


def plan_of(text, version, gpu):
    """What the fake builder makes of it."""
    return json.dumps(json.loads(text) | {"version": version, "gpu": gpu}).encode()


def make_tensorrt(machine):
    """The module tensorrt."""
    extra = EXTRA[machine.version]

    def members(name, *common):
        return enum.IntEnum(name, [*common, *extra.get(name, [])], start=0)

    flags_type = members("NetworkDefinitionCreationFlag")
    data_type = members("DataType", "FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8")
    narrow = {} if "INT64" in data_type.__members__ else {"INT64": "INT32"}

    class Dims:
        def __init__(self, shape):
            self._shape = tuple(shape)

        def __len__(self):
            return len(self._shape)

        def __getitem__(self, index):
            return self._shape[index]

    class ILogger:
        Severity = enum.Enum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"], start=0)

        def __init__(self):
            self.is_made = True

        def log(self, severity, msg):
            raise NotImplementedError

    class Runtime:
        def __init__(self, logger):
            assert logger.is_made
            if "Runtime" in machine.fails:
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self.logger = logger

        def deserialize_cuda_engine(self, serialized_engine):
            machine.now("deserialize_cuda_engine")
            plan = json.loads(serialized_engine)
            if (plan["version"], plan["gpu"]) != (machine.version, machine.gpu):
                said = f"expecting library version {plan['version']} got {machine.version}, please rebuild."
                self.logger.log(ILogger.Severity.ERROR, f"The engine plan file is not compatible, {said}")
                return None
            return ICudaEngine(plan, self.logger)

    class ICudaEngine:
        def __init__(self, plan, logger):
            self._plan, self._logger = plan, logger
            self._tensors = {**plan["inputs"], **plan["outputs"]}
            self.context = machine.stack[-1]

        @property
        def num_io_tensors(self):
            return len(self._tensors)

        def get_tensor_name(self, index):
            return list(self._tensors)[index]

        def get_tensor_mode(self, name):
            return TensorIOMode.INPUT if name in self._plan["inputs"] else TensorIOMode.OUTPUT

        def get_tensor_shape(self, name):
            return Dims(self._tensors[name][1])

        def get_tensor_dtype(self, name):
            kind = self._tensors[name][0]
            return data_type[narrow.get(kind, kind)]

        def get_tensor_location(self, name):
            return TensorLocation.HOST if name in self._plan["needs"] else TensorLocation.DEVICE

        def create_execution_context(self):
            machine.now("create_execution_context", context=self.context)
            return None if "too_big" in machine.fails else IExecutionContext(self)

    class IExecutionContext:
        def __init__(self, engine):
            self._engine, self._shapes, self._addresses = engine, {}, {}

        def set_input_shape(self, name, shape):
            wanted = self._engine._tensors[name][1]
            if len(wanted) != len(shape) or any(w not in (-1, s) for w, s in zip(wanted, shape, strict=True)):
                self._engine._logger.log(ILogger.Severity.ERROR, f"{name}: static dimension mismatch")
                return False
            self._shapes[name] = shape
            return True

        def get_tensor_shape(self, name):
            return Dims(self._shapes.get(name, self._engine._tensors[name][1]))

        def set_tensor_address(self, name, memory):
            self._addresses[name] = memory
            return "set_tensor_address" not in machine.fails

        def execute_async_v3(self, stream_handle):
            machine.now("execute_async_v3", context=self._engine.context)
            if "enqueue" in machine.fails:
                self._engine._logger.log(ILogger.Severity.INTERNAL_ERROR, "enqueueV3: launch failed")
                return False
            machine.streams[stream_handle].work.append(self._compute)
            return True

        def _compute(self):
            read = {
                name: np.frombuffer(machine.memory[self._addresses[name]], self._numpy(name))
                for name in self._engine._plan["inputs"]
            }
            for name in self._engine._plan["outputs"]:
                place = np.frombuffer(machine.memory[self._addresses[name]], self._numpy(name))
                place[:] = sum(values.astype(np.float64).sum() for values in read.values())

        def _numpy(self, name):
            return np.dtype(NUMPY[self._engine.get_tensor_dtype(name).name])

    class ITensor:
        def __init__(self, name, shape):
            self._name, self._shape = name, shape

        @property
        def name(self):
            return self._name

        @property
        def shape(self):
            return self._shape

    class INetworkDefinition:
        def __init__(self):
            self.graph = None

        @property
        def num_inputs(self):
            return len(self.graph["inputs"])

        def get_input(self, index):
            name, (_, shape) = list(self.graph["inputs"].items())[index]
            return ITensor(name, Dims(shape))

    class ParserError:
        def desc(self):
            return "no operator Frobnicate"

    class OnnxParser:
        def __init__(self, network, logger):
            self._network = network
            self._errors = []

        @property
        def num_errors(self):
            return len(self._errors)

        def get_error(self, index):
            return self._errors[index]

        def parse_from_file(self, model):
            with open(model) as file:
                text = file.read()
            if not text.startswith("{"):
                self._errors.append(ParserError())
                return False
            self._network.graph = json.loads(text)
            return True

    class IHostMemory:
        def __init__(self, content):
            self._content = content

        def __bytes__(self):
            return self._content

    class IOptimizationProfile:
        def __init__(self):
            self.shapes = {}

        def set_shape(self, input, min, opt, max):
            if len(min) != len(opt):
                raise RuntimeError("Shape provided for opt is inconsistent with other shapes.")
            self.shapes[input] = (min, opt, max)

    class ITimingCache:
        def __init__(self, content):
            self.content = content

        def serialize(self):
            return IHostMemory(self.content + b"more")

    class IBuilderConfig:
        def __init__(self):
            self.limits, self.flags, self.profiles, self.timings = {}, [], [], None

        def set_memory_pool_limit(self, pool, pool_size):
            self.limits[pool.name] = pool_size

        def set_flag(self, flag):
            self.flags.append(flag.name)

        def add_optimization_profile(self, profile):
            self.profiles.append(profile.shapes)
            return len(self.profiles) - 1

        def create_timing_cache(self, serialized_timing_cache):
            return None if serialized_timing_cache == b"broken" else ITimingCache(serialized_timing_cache)

        def set_timing_cache(self, cache, ignore_mismatch):
            if cache.content == b"other GPU":
                return False
            self.timings = cache
            return True

        def get_timing_cache(self):
            return self.timings

    class Builder:
        def __init__(self, logger):
            self._logger = logger

        def create_network(self, flags=0):
            machine.flags = [flag.name for flag in flags_type if flags & 1 << int(flag)]
            return INetworkDefinition()

        def create_builder_config(self):
            machine.configs.append(IBuilderConfig())
            return machine.configs[-1]

        def create_optimization_profile(self):
            return IOptimizationProfile()

        def build_serialized_network(self, network, config):
            machine.now("build_serialized_network")
            machine.builds += 1
            if "build" in machine.fails:
                self._logger.log(ILogger.Severity.ERROR, "no tactic fits into the workspace")
                return None
            return IHostMemory(plan_of(json.dumps(network.graph), machine.version, machine.gpu))

    def init_libnvinfer_plugins(logger, namespace):
        return True

    module = types.ModuleType("tensorrt")
    module.__version__ = machine.version
    TensorIOMode = enum.Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"], start=0)  # noqa: N806
    TensorLocation = enum.Enum("TensorLocation", ["DEVICE", "HOST"], start=0)  # noqa: N806
    module.NetworkDefinitionCreationFlag = flags_type
    module.DataType = data_type
    module.BuilderFlag = members("BuilderFlag")
    module.MemoryPoolType = enum.Enum("MemoryPoolType", ["WORKSPACE"], start=0)
    for value in (
        Dims, ILogger, Runtime, ICudaEngine, IExecutionContext, ITensor, INetworkDefinition, ParserError,
        OnnxParser, IHostMemory, IOptimizationProfile, ITimingCache, IBuilderConfig, Builder, TensorIOMode,
        TensorLocation, init_libnvinfer_plugins,
    ):  # fmt: skip
        setattr(module, value.__name__, value)
    return module
