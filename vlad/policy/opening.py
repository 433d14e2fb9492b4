"""Opening a bundle: load its model, run it a few times, and see that it takes no more memory than it may."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import psutil

from vlad.clock import Clock
from vlad.config import Settings
from vlad.policy.backends import BACKENDS, LOCKING, REMOTE, BackendError, ServerLost
from vlad.policy.bundle import Bundle, BundleRefused, is_unchanged, load_bundle
from vlad.policy.calibration import read_calibration
from vlad.policy.inputs import InstructionInput
from vlad.policy.memory import in_use
from vlad.policy.policy import Policy
from vlad.policy.prefix import without_effect
from vlad.robot import Robot

log = logging.getLogger(__name__)

_MB = 1_000_000


def open_policy(bundle: Bundle, settings: Settings, clock: Clock, apart: bool = False) -> Policy:
    """Load the model and run it a few times; BundleRefused where it is not what the bundle says.

    Its files must fit into the memory that it may take, or nothing is loaded; and so must what is taken when
    it has run. One whose server is lost is opened all the same, and says so: `lost`. `apart`: in a process
    of its own, which leaves Python's lock to others.
    """
    calibration = read_calibration(settings.paths.state_dir, bundle)
    if reason := without_effect(settings.policy.follow, bundle):
        log.warning("%s", reason)
    may_take = settings.policy.memory_mb * _MB or psutil.virtual_memory().available
    files = sum((bundle.folder / name).stat().st_size for name in bundle.manifest.files)
    if files > may_take:
        raise BundleRefused([_too_large(bundle, files, may_take)])
    before = in_use()
    cache = settings.paths.state_dir / "cache"

    def make(bundle: Bundle) -> Policy:
        return Policy(bundle, clock, settings.policy, cache=cache, calibration=calibration, apart=apart)

    policy = make(bundle)
    try:
        if not policy.lost:
            policy.warm_up()
        takes = policy.taken(before)
        for variant in bundle.variants:
            before = in_use()
            small = make(variant)
            policy.smaller += (small,)
            small.warm_up()
            takes += (small_takes := small.taken(before))
            small.memory_mb = small_takes // _MB
        takes = max(files, takes)
        policy.memory_mb = -(-takes // _MB)
        if takes > may_take:
            raise BundleRefused([_too_large(bundle, takes, may_take)])
    except ServerLost as error:
        policy.lost = str(error)
    except BackendError as error:  # of a process that ended meanwhile
        policy.close()
        raise BundleRefused([str(error)]) from error
    except BundleRefused:
        policy.close()
        raise
    return policy


def open_beside(
    folder: Path,
    robot: Robot,
    settings: Settings,
    clock: Clock,
    armed: bool,
    resident: Policy | None,
) -> Policy:
    """Check and open the bundle in `folder` while another drives; BundleRefused with every reason.

    `settings` are those of the kernel. Where it is loaded already, as `resident`, manifest and calibration
    are looked at only; one that is not the same any more is closed.
    """
    if resident is not None:
        if _is_current(resident, settings):
            return resident
        resident.close()
    bundle = load_bundle(folder, robot, settings.signals)
    if reasons := _optional(bundle, settings):
        raise BundleRefused(reasons)
    backend = bundle.manifest.backend
    # Loading a runtime's libraries, too, holds Python's lock for longer than the safety tick may wait.
    locking = backend in LOCKING or BACKENDS[backend] not in sys.modules
    policy = open_policy(bundle, settings, clock, apart=locking and backend not in REMOTE and armed)
    if policy.lost:
        policy.close()
        raise BundleRefused([f"{bundle}: {policy.lost}"])
    return policy


def _is_current(policy: Policy, settings: Settings) -> bool:
    """Whether its folder still holds the same bundle, and what was calibrated for it is the same as well."""
    if not is_unchanged(policy.bundle):
        return False
    try:
        calibration = read_calibration(settings.paths.state_dir, policy.bundle)
    except BundleRefused:
        return False
    return calibration == policy.confidence.calibration


def _too_large(bundle: Bundle, takes: int, may_take: int) -> str:
    return (
        f"{bundle}: takes {takes / _MB:.1f} MB of memory, and may take {may_take / _MB:.1f}; free some, "
        f"raise policy.memory_mb where it is set, or use a smaller model"
    )


def _optional(bundle: Bundle, settings: Settings) -> list[str]:
    """A line for each input without which the robot would drive on."""
    states = [spec.signal for spec in bundle.manifest.sampled if not isinstance(spec, InstructionInput)]
    return [
        f"{bundle}: reads {topic!r}, which the settings do not require: the robot would drive on without it; "
        f"set signals.{topic}.required = true, and restart vlad"
        for topic in dict.fromkeys(states)
        if not settings.signals[topic].required
    ]
