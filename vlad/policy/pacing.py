"""How much of the time a policy may run, so that it keeps to its share of the CPUs and of the GPU. Pure."""

from __future__ import annotations

from vlad.policy.backends import REMOTE
from vlad.policy_settings import PolicySettings


def part_of_time(settings: PolicySettings, backend: str, cores: int) -> float:
    """The part of the time that inferences may take, above 0 and at most 1.

    A run keeps `policy.threads` of the `cores` busy, one where it runs on a GPU, and all of that GPU: so its
    share of each is bounded by how often it runs. What runs on a server takes next to nothing here.
    """
    if backend in REMOTE:
        return 1.0
    gpu = runs_on_gpu(settings, backend)
    threads = 1 if gpu else min(settings.threads, cores)
    of_cpus = settings.cpu_share * cores / threads
    return min(1.0, of_cpus, settings.gpu_share if gpu else 1.0)


def runs_on_gpu(settings: PolicySettings, backend: str) -> bool:
    """Whether the settings let a model of this backend run on a GPU."""
    if backend == "onnx":
        return bool({"cuda", "tensorrt"} & {*settings.onnx.providers})
    if backend in ("torch", "lerobot"):
        torch = settings.torch
        return {settings.device, *torch.device_map.values(), *torch.stages.values()} != {"cpu"}
    return backend == "tensorrt"
