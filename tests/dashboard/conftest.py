"""A page in front of a stand-in daemon."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ctl.reports import report
from tests.dashboard.pages import TOKEN, PageProcess
from tests.fake_daemon import Served

pytest.importorskip("starlette", reason="the extra `page` is not installed: pip install 'vlad[page]'")
pytest.importorskip("uvicorn", reason="the extra `page` is not installed: pip install 'vlad[page]'")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("run")) as made:
        yield made


@pytest.fixture
def daemon(served: Served) -> Served:
    """It has done nothing yet."""
    served.actions.report = report()
    served.actions.done.clear()
    served.actions.refusals = []
    return served


@pytest.fixture(scope="module")
def shared_page(served: Served) -> Iterator[PageProcess]:
    served.actions.report = report()
    with PageProcess(served.folder, token=TOKEN) as made:
        yield made


@pytest.fixture
def page(daemon: Served, shared_page: PageProcess) -> PageProcess:
    """Nobody looks at it yet."""
    shared_page.seen(lambda: shared_page.told["browsers"] == 0)
    return shared_page
