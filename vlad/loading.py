"""The policies that the daemon starts with: the one that shall drive, and the one that stands in for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from vlad.clock import Clock
from vlad.config import Settings
from vlad.messages import Level
from vlad.policy.backends import REMOTE
from vlad.policy.bundle import Bundle, BundleRefused, load_bundle
from vlad.policy.choice import Choice, ChoiceError, read_choice
from vlad.policy.opening import open_policy
from vlad.policy.policy import Policy
from vlad.record.events import EventLog
from vlad.robot import Robot


@dataclass(slots=True)
class Loaded:
    """What could be loaded; None: there is none, or it was refused, and then the reasons."""

    choice: Choice
    policy: Policy | None = None
    error: str = ""
    fallback: Policy | None = None
    fallback_error: str = ""


async def load_policies(
    settings: Settings, robot: Robot, clock: Clock, events: EventLog, choice_path: Path
) -> Loaded:
    """Load and warm up. With a refused bundle the daemon runs, says why, and cannot be armed.

    So it is while the server of a policy is not there, but that one is tried again and again.
    """
    configured = settings.policy.bundle
    loaded = Loaded(Choice(configured, None, configured))
    try:
        loaded.choice = read_choice(choice_path, configured)
        if loaded.choice.bundle is not None:
            bundle = load_bundle(loaded.choice.bundle, robot, settings.signals)
            loaded.policy = await asyncio.to_thread(open_policy, bundle, settings, clock)
    except (BundleRefused, ChoiceError) as refused:
        loaded.error = _refused(refused, loaded.choice.bundle, events)
    try:
        if settings.policy.fallback:
            fallback = load_fallback(settings, robot)
            loaded.fallback = await asyncio.to_thread(open_policy, fallback, settings, clock)
    except BundleRefused as refused:
        loaded.fallback_error = _refused(refused, fallback_folder(settings), events)
    return loaded


def fallback_folder(settings: Settings) -> Path:
    """Where the bundle that policy.fallback names is installed."""
    return settings.paths.state_dir / "models" / settings.policy.fallback


def load_fallback(settings: Settings, robot: Robot) -> Bundle:
    """The checked bundle that policy.fallback names; BundleRefused with every reason."""
    bundle = load_bundle(fallback_folder(settings), robot, settings.signals)
    if bundle.manifest.backend in REMOTE:
        raise BundleRefused([
            f"{bundle}: runs on a server, which may be lost with the other; let policy.fallback name a "
            f"bundle that has its model"
        ])  # fmt: skip
    return bundle


def require_signals(settings: Settings, *policies: Policy | None) -> Settings:
    """The settings, with every signal that a policy reads as required: none goes stale unnoticed."""
    needed = {
        topic for policy in policies if policy for topic in policy.topics if topic != policy.instruction_topic
    }
    signals = {
        topic: known.model_copy(update={"required": True}) if topic in needed else known
        for topic, known in settings.signals.items()
    }
    return settings.model_copy(update={"signals": signals})


def _refused(refused: BundleRefused | ChoiceError, folder: Path | None, events: EventLog) -> str:
    """Why, in one line, after it was told."""
    reasons = refused.reasons if isinstance(refused, BundleRefused) else [str(refused)]
    for reason in reasons:
        events.put("bundle_refused", Level.WARNING, reason, folder=str(folder))
    return "; ".join(reasons)
