"""Policies that drove before and stay loaded: one that is called back need not be read and warmed up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlad.policy.policy import Policy


class Residents:
    """Keeps all loaded policies together within `budget_mb`; those that were not used for longest go first.

    Those that run count, but are not in here and never go. One thread uses it.
    """

    def __init__(self, budget_mb: int) -> None:
        self.budget_mb = budget_mb
        self._kept: list[Policy] = []
        """Those that were used last at the end."""

    @property
    def policies(self) -> Sequence[Policy]:
        """Those that are kept; the first goes first."""
        return self._kept

    def keep(self, policy: Policy, running_mb: int) -> list[Policy]:
        """Keep one that ran until now, and is not kept yet.

        What there is no room for, itself perhaps, is returned, and is for the caller to close. `running_mb`
        is what those that run take.
        """
        self._kept.append(policy)
        return self.trim(running_mb)

    def take(self, folder: Path) -> Policy | None:
        """The policy of the bundle in `folder`, to run again; None: it is not kept."""
        wanted = folder.resolve()
        found = next((policy for policy in self._kept if policy.bundle.folder.resolve() == wanted), None)
        if found is not None:
            self._kept.remove(found)
        return found

    def trim(self, running_mb: int) -> list[Policy]:
        """What must go for the others to fit in, for the caller to close."""
        gone: list[Policy] = []
        while self._kept and running_mb + sum(policy.memory_mb for policy in self._kept) > self.budget_mb:
            gone.append(self._kept.pop(0))
        return gone

    def drop(self) -> list[Policy]:
        """Keep none any more; all that were kept, for the caller to close."""
        gone, self._kept = self._kept, []
        return gone
