"""Network interfaces, with what the kernel would count made up."""

from math import isnan
from types import SimpleNamespace

import psutil
import pytest

from vlad.clock import NS_PER_S as S
from vlad.computer.network import Network


class Kernel:
    """Interfaces and their counters."""

    def __init__(self):
        self.up = {"eth0": True, "lo": True, "wlan0": False}
        self.counts = {name: self.zero() for name in self.up}

    @staticmethod
    def zero():
        return SimpleNamespace(
            packets_sent=0, packets_recv=0, errin=0, errout=0, dropin=0, dropout=0, bytes_sent=0, bytes_recv=0
        )

    def states(self):
        return {name: SimpleNamespace(isup=up) for name, up in self.up.items()}


@pytest.fixture
def kernel(monkeypatch):
    made = Kernel()
    monkeypatch.setattr(psutil, "net_if_stats", made.states)
    monkeypatch.setattr(psutil, "net_io_counters", lambda pernic: dict(made.counts))
    return made


@pytest.fixture
def virtual(tmp_path):
    (tmp_path / "lo").mkdir()
    return tmp_path


def test_an_interface_with_hardware_that_was_up_counts_from_then_on(kernel, virtual):
    network = Network(virtual=virtual)
    assert {name: seen.up for name, seen in network.measure(0).items()} == {"eth0": True}
    kernel.up |= {"eth0": False, "wlan0": True}
    assert {name: seen.up for name, seen in network.measure(S).items()} == {"eth0": False, "wlan0": True}
    del kernel.up["eth0"], kernel.counts["eth0"]
    assert network.measure(2 * S)["eth0"].up is False


def test_only_those_that_are_named_count_and_they_must_be_up(kernel, virtual):
    seen = Network(("wlan0", "can0"), virtual).measure(0)
    assert {name: interface.up for name, interface in seen.items()} == {"wlan0": False, "can0": False}


def test_lost_is_the_part_of_the_packets_of_the_last_ten_seconds(kernel, virtual):
    network, counts = Network(virtual=virtual), kernel.counts["eth0"]
    assert isnan(network.measure(0)["eth0"].lost)
    for second in range(1, 11):
        counts.packets_recv += 90
        counts.dropin += 9
        counts.errout += 1
        counts.bytes_recv += 90_000
        seen = network.measure(second * S)["eth0"]
    assert seen.lost == pytest.approx(0.1)
    assert seen.bytes_per_s == 90_000
    for second in range(11, 22):
        counts.packets_sent += 100
        seen = network.measure(second * S)["eth0"]
    assert seen.lost == 0
    assert seen.bytes_per_s == 0


def test_of_a_few_packets_nothing_is_said(kernel, virtual):
    network = Network(virtual=virtual)
    network.measure(0)
    kernel.counts["eth0"].dropin = 50
    assert isnan(network.measure(S)["eth0"].lost)


def test_counters_that_begin_anew_with_their_driver_are_no_negative_traffic(kernel, virtual):
    network = Network(virtual=virtual)
    kernel.counts["eth0"].packets_recv = 5_000
    network.measure(0)
    kernel.counts["eth0"] = Kernel.zero()
    assert isnan(network.measure(S)["eth0"].bytes_per_s)
    kernel.counts["eth0"].packets_recv = 1_000
    assert network.measure(2 * S)["eth0"].lost == 0


def test_a_kernel_that_does_not_tell_is_asked_again(kernel, virtual, monkeypatch):
    network = Network(virtual=virtual)
    network.measure(0)

    def refuse(pernic):
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(psutil, "net_io_counters", refuse)
        assert network.measure(S) == {}
    assert network.measure(2 * S)["eth0"].up


def test_the_interfaces_of_this_computer_can_be_measured():
    for seen in Network().measure(0).values():
        assert isnan(seen.lost)
