"""Who may come in."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlad.dashboard.gate import is_local, refusal, same, token_problem

OWN = socket.gethostname()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8420",
        "192.168.7.1:8420",
        "192.168.7.1",
        "[::1]:8420",
        "localhost:8420",
        f"{OWN}:1",
        f"{OWN}.local",
    ],
)
def test_an_address_and_the_own_name_are_let_in_also_with_their_own_origin(host: str) -> None:
    assert refusal(host, None) == ""
    assert refusal(host, f"http://{host}") == ""


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8420",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
        "[",
        "a@127.0.0.2:x@evil",
    ],
)
def test_another_name_that_leads_here_is_refused(host: str) -> None:
    assert "IP address" in refusal(host, None)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "http://127.0.0.1",
        "http://127.0.0.1:8421",
        "ftp://127.0.0.1:8420",
        "http://127.0.0.1:8420.evil.example",
    ],
)
def test_a_page_from_elsewhere_is_refused(origin: str) -> None:
    assert "may not talk" in refusal("127.0.0.1:8420", origin)


@given(st.text(max_size=40), st.none() | st.text(max_size=40))
def test_whatever_the_headers_say_there_is_an_answer(host: str, origin: str | None) -> None:
    assert isinstance(refusal(host, origin), str)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_this_computer_is_local(address: str) -> None:
    assert is_local(address)


@pytest.mark.parametrize("address", ["192.168.7.9", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "", "x"])
def test_nobody_else_is_local(address: str) -> None:
    assert not is_local(address)


def test_no_token_is_nobodys_token() -> None:
    assert not same("", "")
    assert not same("", "x")


@given(st.text(max_size=30), st.text(max_size=30))
def test_only_the_token_is_the_token(token: str, given: str) -> None:
    assert same("a" + token, "a" + given) == (
        token.encode("utf-8", "replace") == given.encode("utf-8", "replace")
    )


@pytest.mark.parametrize(
    "token",
    ["", "short", "x" * 15, "x" * 201, "sixteen of blanks", "fünfzehn-sechzehn", "line\nline-line-line"],
)
def test_what_is_no_good_as_a_token_is_told(token: str) -> None:
    assert token_problem(token)


@pytest.mark.parametrize("token", ["x" * 16, "x" * 200, "0123456789abcdef/+="])
def test_a_good_token_is_taken(token: str) -> None:
    assert token_problem(token) == ""
