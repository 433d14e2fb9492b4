"""How much of the time a policy may run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.test_worker import rig
from vlad.clock import FakeClock
from vlad.policy.pacing import part_of_time
from vlad.policy_settings import PolicySettings

__all__ = ["rig"]

shares = st.floats(0.01, 1)


@given(shares, shares, st.integers(1, 64), st.integers(1, 64))
def test_neither_share_is_ever_exceeded(cpu, gpu, threads, cores):
    settings = PolicySettings(cpu_share=cpu, gpu_share=gpu, threads=threads)
    part = part_of_time(settings, "onnx", cores)
    assert 0 < part <= 1
    assert part * min(threads, cores) / cores <= cpu * (1 + 1e-9)
    on_gpu = part_of_time(settings, "tensorrt", cores)
    assert on_gpu <= gpu
    assert on_gpu / cores <= cpu * (1 + 1e-9)


@pytest.mark.parametrize("backend", ["openpi", "groot", "kserve"])
def test_what_runs_on_a_server_is_not_held_back_here(backend):
    assert part_of_time(PolicySettings(cpu_share=0.01, gpu_share=0.01), backend, 2) == 1


@pytest.mark.parametrize(
    ("settings", "backend", "part"),
    [
        ({"device": "cuda"}, "torch", 0.1),
        ({"device": "cpu"}, "torch", 1),
        ({"torch": {"device_map": {"head": "cuda:1"}}}, "lerobot", 0.1),
        ({"torch": {"stages": {"head": "cuda:1"}}}, "torch", 0.1),
        ({"device": "cuda"}, "onnx", 1),
        ({"onnx": {"providers": ["tensorrt", "cpu"]}}, "onnx", 0.1),
    ],
)
def test_the_share_of_the_gpu_is_for_what_runs_there(settings, backend, part):
    assert part_of_time(PolicySettings.model_validate({"gpu_share": 0.1, **settings}), backend, 2) == part


async def test_a_loop_leaves_out_frames_until_its_share_allows_another_run(rig, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    clock = FakeClock()
    made = await rig(clock, cpu_share=0.05)  # of four: one run may take a fifth of the time
    made.put_states()
    busy_s, started_s, runs = 0.0, clock.now_ns(), 0
    for number in range(200):
        made.backend.go.clear()
        made.put_frame(stamp_ns=number + 1)
        if made.loop.inference_since_ns is not None:
            runs += 1
            clock.advance(0.01)
            busy_s += 0.01
            made.backend.go.set()
            await made.idle()
        clock.advance(0.01)
    elapsed_s = (clock.now_ns() - started_s) / 1e9
    assert 0.15 < busy_s / elapsed_s <= 0.2 + 0.05 / elapsed_s
    made.backend.go.set()
    assert "leave time for one every 50 ms" in made.loop.report()["advice"] or runs
