"""[page] in vlad.toml."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from vlad.dashboard.settings import PageSettings
from vlad.settings_files import read_settings


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [("127.0.0.1:8420", "127.0.0.1", 8420), ("127.0.0.1:0", "127.0.0.1", 0), ("[::1]:8420", "::1", 8420)],
)
def test_this_computers_own_addresses_need_no_token(listen: str, host: str, port: int) -> None:
    settings = PageSettings(listen=listen)
    assert (settings.host, settings.port) == (host, port)


def test_the_page_is_only_for_this_computer_unless_the_settings_say_otherwise() -> None:
    assert PageSettings().host == "127.0.0.1"


def test_an_empty_address_means_no_page() -> None:
    assert PageSettings(listen="").listen == ""


@pytest.mark.parametrize("listen", ["0.0.0.0:8420", "192.168.7.1:8420", "[::]:8420", "[fd00::1]:80"])
def test_an_address_that_others_reach_needs_a_token(listen: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="lets other computers in: name a token_file"):
        PageSettings(listen=listen)
    assert PageSettings(listen=listen, token_file=tmp_path / "token").listen == listen


@pytest.mark.parametrize(
    "listen", ["8420", ":8420", "localhost:8420", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
               "127.0.0.1:-1", "::1:8420", "[127.0.0.1]:8420", "robot.local:80", "127.0.0.1:80²"],
)  # fmt: skip
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(ValidationError, match="IP ADDRESS:PORT"):
        PageSettings(listen=listen)


def test_the_token_file_lies_beside_the_settings_that_name_it(tmp_path: Path) -> None:
    path = tmp_path / "vlad.toml"
    path.write_text('[page]\ntoken_file = "page.token"\n')
    [(_, values)] = read_settings(path, [])
    assert values["page"]["token_file"] == str(tmp_path / "page.token")
