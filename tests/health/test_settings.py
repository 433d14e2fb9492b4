"""The [health] table: mistakes are refused with what was expected."""

import pytest
from pydantic import ValidationError

from vlad.health.settings import HealthSettings


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("cpu", (0.9, 0.8), "each threshold must be above the one before"),
        ("cpu", (0.9, 0.9), "each threshold must be above the one before"),
        ("cpu", (0.9,), "at least 2"),
        ("cpu", (0.1, 0.2, 0.3, 0.4, 0.5), "at most 4"),
        ("temperature", (0.0, 90.0), "greater than 0"),
        ("disk", (0.5, float("inf")), "finite"),
        ("webhook", "ftp://host/x", "is not"),
        ("webhook", "host/x", "is not"),
        ("webhook", "https://", "is not"),
        ("webhook", "https://host:99999/x", "is not"),
        ("webhook", "https://user:word@host/x", "names a user"),
        ("command", ("mail",), "whole path"),
        ("command", ("",), "whole path"),
        ("timeout_s", 0.0, "greater than 0"),
        ("colour", "red", "not permitted"),
    ],
)
def test_a_mistake_is_refused_with_what_was_expected(key, value, reason):
    with pytest.raises(ValidationError, match=reason):
        HealthSettings.model_validate({key: value})


def test_what_is_right_is_taken():
    settings = HealthSettings(
        webhook="https://hooks.example.org:8443/x?y=1",
        command=("/usr/bin/logger", "-t", "robot"),
        cpu=(0.5, 1),
    )
    assert settings.cpu == (0.5, 1)
    assert HealthSettings(webhook="http://[::1]:80/").webhook
