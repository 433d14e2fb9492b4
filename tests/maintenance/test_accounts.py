"""Users and groups in the security scan, with a user and groups that are made up."""

import grp
import os
import pwd

import pytest

from vlad.maintenance.security.accounts import check_accounts

GROUPS = {
    "vlad": (990, ["anna"]),
    "vlad-operator": (991, ["anna", "ben"]),
    "video": (44, []),
    "docker": (992, []),
}


@pytest.fixture
def user(monkeypatch):
    """Becomes a user of this number, in these groups, with this shell."""

    def become(uid=990, groups=("vlad", "video"), shell="/usr/sbin/nologin", missing=()):
        def by_name(name):
            if name in missing:
                raise KeyError(name)
            return grp.struct_group((name, "x", *GROUPS[name]))

        def by_number(number):
            return by_name(next(name for name, (gid, _) in GROUPS.items() if gid == number))

        account = pwd.struct_passwd(("vlad", "x", uid, uid, "", "/var/lib/vlad", shell))
        monkeypatch.setattr(os, "geteuid", lambda: uid)
        monkeypatch.setattr(os, "getgroups", lambda: [GROUPS[name][0] for name in groups])
        monkeypatch.setattr(pwd, "getpwuid", lambda uid: account)
        monkeypatch.setattr(pwd, "getpwnam", lambda name: account)
        monkeypatch.setattr(grp, "getgrnam", by_name)
        monkeypatch.setattr(grp, "getgrgid", by_number)

    return become


def told():
    return [(one.state, one.what) for one in check_accounts("vlad-operator")]


def test_the_user_that_comes_with_vlad_is_well_and_who_may_act_is_listed(user):
    user()
    assert {state for state, _ in told()} == {"ok"}
    assert ("ok", "may act (vlad-operator): anna, ben") in told()


@pytest.mark.parametrize(
    ("how", "state", "words"),
    [
        ({"uid": 0}, "warning", "runs as root"),
        ({"groups": ("vlad", "docker")}, "problem", "is in docker"),
        ({"shell": "/bin/bash"}, "warning", "can log in (/bin/bash)"),
        ({"missing": ("vlad-operator",)}, "unknown", "no group vlad-operator"),
    ],
)
def test_a_user_that_may_more_than_it_should_is_told(user, how, state, words):
    user(**how)
    assert any(found == state and words in what for found, what in told())
