"""Memory that runs short, as the computer's measurements tell, and what becomes of real policies then."""

import asyncio
from dataclasses import replace

import pytest

from tests.policy.test_fallback import until
from tests.policy.test_resolution import sized_bundle, variant
from tests.policy.test_seat import again, bundle, on_server, seat
from tests.test_daemon import CAMERA, FEED, UNLOCKED, await_command, await_status
from tests.test_remote_policy import stops
from tools.benchmarks.rig import rig, write_policy
from vlad.clock import FakeClock
from vlad.driver import CommandReceiver
from vlad.messages import CommandMode
from vlad.relief import MemoryRelief
from vlad.safety.view import Computer

__all__ = ["seat"]


class Short:
    """A relief whose computer says what it is told, and a clock of its own."""

    def __init__(self, rig):
        self.clock = FakeClock()
        self.computer = Computer(0, 0.1, 0.5, float("nan"), 0.1, 40.0)
        self.told = []
        policy, told = rig.settings.policy, self.told
        self.relief = MemoryRelief(
            rig.seat, policy, lambda: self.computer, self.clock, lambda *said: told.append(said)
        )

    async def use(self, memory, seconds, **changes):
        """So much is in use for some seconds."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.computer = replace(self.computer, stamp_ns=self.clock.now_ns(), memory=memory, **changes)
            await self.relief.look()

    @property
    def steps(self):
        return [step.name.lower() for step in self.relief.steps]


@pytest.fixture
async def short(seat, tmp_path):
    """tiny/1 with two resolutions drives, tiny/2 stands by, and tiny/3 drove before."""
    rig = seat(rate_hz=50.0)
    rig.seat.stand_by(rig.open(bundle(tmp_path, "2", 0.75)))
    rig.sit(bundle(tmp_path, "3", 0.1))
    rig.tasks[0].cancel()
    rig.tasks[0] = asyncio.create_task(again(rig.seat))
    rig.tasks.append(asyncio.create_task(rig.seat.fallback.loop.run()))
    await rig.seat.activate(sized_bundle(tmp_path / "models" / "tiny" / "1", [variant(3, 4)]))
    await rig.follows(0.25)
    rig.short = Short(rig)
    return rig


async def test_what_does_not_run_goes_first_then_resolutions_then_the_fallback_drives(short):
    await short.short.use(0.8, 20)
    assert short.short.steps == []
    assert [str(policy.bundle) for policy in short.seat.residents.policies] == ["tiny/3"]
    await short.short.use(0.95, 3)
    assert short.short.steps == ["caches"]
    assert short.seat.residents.policies == []
    await short.follows(0.25)
    await short.short.use(0.95, 3)
    assert short.short.steps == ["caches", "resolution"]
    await short.follows(0.5)
    assert short.seat.loop.report()["resolution_why"] == "95% of the memory is used"
    large, small = short.seat.loop.policy.resolutions
    await until(lambda: not large._is_open)
    assert small._is_open
    await short.short.use(0.95, 3)
    assert short.short.steps == ["caches", "resolution", "fallback"]
    await short.follows(0.75)
    assert short.seat.instead == "tiny/2 drives: 95% of the memory is used"
    assert short.seat.check() == ""
    assert not small._is_open
    assert short.seat.fallback.report()["in_place_of"] == "tiny/1"
    told = [text for _, text in short.short.told]
    assert len(told) == 3
    assert told[0].startswith("95% of the memory is used: caches are dropped")


async def test_with_room_again_all_comes_back_after_it_was_tried(short):
    await short.short.use(0.95, 20)
    await short.follows(0.75)
    await short.short.use(0.5, 32)
    assert short.short.steps == ["caches", "resolution"]
    await short.follows(0.5)
    assert short.seat.instead == ""
    await short.short.use(0.5, 32)
    assert short.short.steps == ["caches"]
    await short.follows(0.25)
    assert short.seat.loop.policy.is_whole
    await short.short.use(0.5, 32)
    assert short.short.steps == []
    assert short.seat.residents.budget_mb == short.settings.policy.resident_mb


async def test_the_memory_of_the_gpu_counts_too_and_an_old_measurement_does_not(short):
    await short.short.use(0.1, 3, gpu_memory=0.95)
    assert short.short.steps == ["caches"]
    short.short.clock.advance(60)
    for _ in range(10):
        short.short.clock.advance(1)
        await short.short.relief.look()
    assert short.short.steps == ["caches"]


async def test_a_policy_that_cannot_be_loaded_again_is_told_and_tried_again_later(short):
    await short.short.use(0.95, 20)
    await short.follows(0.75)
    folder = short.seat.gone
    manifest = (folder / "policy.toml").read_bytes()
    (folder / "policy.toml").unlink()
    await short.short.use(0.5, 40)
    said = [text for _, text in short.short.told if "is not loaded again yet" in text]
    assert len(said) == 1
    assert "cannot be read" in said[0]
    (folder / "policy.toml").write_bytes(manifest)
    await short.short.use(0.5, 31)
    assert short.seat.gone is None


async def test_an_operator_s_choice_gives_way_too_while_memory_is_short(short, tmp_path):
    await short.short.use(0.95, 20)
    await short.seat.activate(bundle(tmp_path, "4", 0.6))
    await short.short.use(0.95, 1)
    await short.follows(0.75)
    assert short.seat.fallback.report()["in_place_of"] == "tiny/4"


async def test_a_policy_on_a_server_holds_no_memory_here_that_it_could_give_back(seat, tmp_path):
    rig = seat(server={"address": "ws://127.0.0.1:1"})
    rig.seat.stand_by(rig.open(bundle(tmp_path, "2", 0.75)))
    rig.sit(on_server(tmp_path, "1"))
    short = Short(rig)
    await short.use(0.95, 20)
    assert short.steps == ["caches"]


@pytest.mark.slow
def test_a_daemon_whose_memory_is_short_lets_the_fallback_drive_without_a_stop():
    with rig(CAMERA, realtime=UNLOCKED) as made:
        for name, version, speed in (("large", "1", 0.05), ("small", "2", 0.1)):
            folder = made.folder / "state" / "models" / name / version
            folder.parent.mkdir(parents=True)
            write_policy(folder, "camera", 32, rounds=0, twist=(speed, 0.0), version=version)
        bundle = made.folder / "state" / "models" / "large" / "1"
        made.policy |= {"bundle": str(bundle), "fallback": "small/2", "relief": 0.001}
        made.start_daemon("vlad", "--config", made.write_settings())
        made.feed(FEED)
        with CommandReceiver(made.commands) as made.motor:
            made.arm()
            await_command(made, CommandMode.RUN)
            status = await_status(made, lambda status: status["policy"]["version"] == "2", timeout_s=30.0)
            assert status["policy"]["relief"] == ["caches", "fallback"]
            while await_command(made, CommandMode.RUN, timeout_s=30.0).values[0] < 0.09:
                pass
            assert stops(made) == []
            told = " ".join(event["text"] for event in made.call("events", limit=100, kinds=["model"]))
            assert "of the memory is used: the policy is closed, and the fallback drives" in told
            listed = {row["folder"].rsplit("/", 2)[-2]: row["loaded"] for row in made.call("models")}
            assert listed == {"large": None, "small": "running"}
