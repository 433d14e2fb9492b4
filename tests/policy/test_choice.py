from pathlib import Path

import pytest

from vlad.policy.choice import Choice, ChoiceError, read_choice, write_choice

ONE, TWO, OTHER = Path("/m/demo/1"), Path("/m/demo/2"), Path("/m/g1/1")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "policy.json"


def test_nothing_chosen_means_the_settings_bundle(path):
    assert read_choice(path, ONE) == Choice(ONE, None, ONE)
    assert read_choice(path, None) == Choice(None, None, None)


def test_what_was_chosen_comes_back_until_the_settings_name_another_bundle(path):
    choice = Choice(TWO, ONE, ONE)
    write_choice(path, choice)
    assert read_choice(path, ONE) == choice
    assert read_choice(path, OTHER) == Choice(OTHER, None, OTHER)
    assert read_choice(path, None) == Choice(None, None, None)


def test_a_choice_beside_no_bundle_in_the_settings_comes_back_too(path):
    write_choice(path, Choice(TWO, None, None))
    assert read_choice(path, None) == Choice(TWO, None, None)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema": 2, "bundle": null, "before": null, "configured": null}', '{"schema": 1}',
     '{"schema": 1, "bundle": 7, "before": null, "configured": null}'],
)  # fmt: skip
def test_a_file_that_is_none_is_refused_with_what_to_do(path, text):
    path.write_text(text)
    with pytest.raises(ChoiceError, match=r"policy\.json: cannot be read .*; remove it to run"):
        read_choice(path, ONE)
