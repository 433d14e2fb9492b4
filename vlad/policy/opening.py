"""Opening a bundle: load its model, run it a few times, and see that it takes no more memory than it may."""

from __future__ import annotations

import logging

import psutil

from vlad.clock import Clock
from vlad.config import Settings
from vlad.policy.backends import ServerLost
from vlad.policy.bundle import Bundle, BundleRefused
from vlad.policy.policy import Policy
from vlad.policy.prefix import without_effect

log = logging.getLogger(__name__)

_MB = 1_000_000


def open_policy(bundle: Bundle, settings: Settings, clock: Clock) -> Policy:
    """Load the model and run it a few times; BundleRefused where it is not what the bundle says.

    Its files must fit into the memory that it may take, or nothing is loaded; and so must what is taken when
    it has run. One whose server is lost is opened all the same, and says so: `lost`.
    """
    if reason := without_effect(settings.policy.follow, bundle):
        log.warning("%s", reason)
    computer, process = psutil.virtual_memory(), psutil.Process()
    may_take = settings.policy.memory_mb * _MB or computer.available
    files = sum((bundle.folder / name).stat().st_size for name in bundle.manifest.files)
    if files > may_take:
        raise BundleRefused([_too_large(bundle, files, may_take)])
    before = process.memory_info().rss
    cache = settings.paths.state_dir / "cache"
    policy = Policy(bundle, clock, settings.policy, cache=cache)
    try:
        if not policy.lost:
            policy.warm_up()
        for variant in bundle.variants:
            policy.smaller += (Policy(variant, clock, settings.policy, cache=cache),)
            policy.smaller[-1].warm_up()
        takes = max(files, process.memory_info().rss - before)
        policy.memory_mb = -(-takes // _MB)
        if takes > may_take:
            raise BundleRefused([_too_large(bundle, takes, may_take)])
    except ServerLost as error:
        policy.lost = str(error)
    except BundleRefused:
        policy.close()
        raise
    return policy


def _too_large(bundle: Bundle, takes: int, may_take: int) -> str:
    return (
        f"{bundle}: takes {takes / _MB:.1f} MB of memory, and may take {may_take / _MB:.1f}; free some, "
        f"raise policy.memory_mb where it is set, or use a smaller model"
    )
