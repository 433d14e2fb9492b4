from typing import Any

import pytest

from tests.dashboard.scrape import real_answer


@pytest.fixture(scope="session")
def answer() -> dict[str, Any]:
    """What a real daemon answered to `metrics`. Do not change it: copy."""
    return real_answer()
