"""vladctl model import: a bundle from the folder that LeRobot saved a policy in."""

from __future__ import annotations

import argparse
import shutil
from contextlib import ExitStack
from pathlib import Path

from rich.text import Text

from vlad.config import ConfigError, load_settings
from vlad.ctl.client import ControlError
from vlad.ctl.output import Output, clean
from vlad.policy_settings import PolicySettings
from vlad.settings_files import DEFAULT_SETTINGS

_UNKNOWN_S = 1.0
"""Stands for the latency until it was measured."""


def run(arguments: argparse.Namespace, out: Output) -> int:
    from vlad.policy.bundle import BundleRefused

    try:
        settings, robot = load_settings(arguments.config or DEFAULT_SETTINGS)
    except ConfigError as error:
        raise ControlError("refused", "; ".join(error.problems), "see vladctl check-config") from None
    folder = settings.paths.state_dir / "models" / arguments.name / arguments.version
    if folder.exists():
        raise ControlError("refused", f"{folder}: is there already", "choose another version, or remove it")
    try:
        from vlad.policy.lerobot_manifest import propose_manifest

        manifest = propose_manifest(arguments.folder, robot, settings.signals, arguments.rate)
        manifest |= {"name": arguments.name, "version": arguments.version}
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            shutil.copytree(arguments.folder, folder, ignore=shutil.ignore_patterns(".*"))
            latency_s = _try_out(folder, manifest, settings.policy)
            undo.pop_all()
    except BundleRefused as refused:
        if out.json:
            out.data({"ok": False, "reasons": refused.reasons})
        for reason in refused.reasons if not out.json else ():
            out.line(Text(clean(reason), style="red"))
        return 1
    except OSError as error:
        raise ControlError("failed", f"{error}", "may this user write there?") from None
    if out.json:
        out.data({"ok": True, "folder": str(folder), "latency_ms": round(1e3 * latency_s, 3)})
    else:
        out.line(Text(f"{clean(str(folder))}: {1e3 * latency_s:.1f} ms a run", style="green"))
        out.line(Text("look at the signals and units in its policy.toml, then: vladctl model activate "
                      f"{clean(arguments.name)} {clean(arguments.version)}"))  # fmt: skip
    return 0


def _try_out(folder: Path, manifest: dict[str, object], settings: PolicySettings) -> float:
    """Write the manifest, run the policy on it, and write it again with the latency [s]."""
    from vlad.clock import SystemClock
    from vlad.policy.bundle import load_bundle, write_manifest
    from vlad.policy.policy import Policy

    write_manifest(folder, {**manifest, "expected_latency_s": _UNKNOWN_S})
    policy = Policy(load_bundle(folder), SystemClock(), settings)
    try:
        latency_s = policy.warm_up()
    finally:
        policy.close()
    write_manifest(folder, {**manifest, "expected_latency_s": latency_s})
    return latency_s
