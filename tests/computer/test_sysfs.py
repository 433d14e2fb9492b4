"""Temperatures, power rails and a Jetson's GPU, from a folder tree like the one of an Orin."""

from math import isnan

import pytest

from vlad.computer.sysfs import Sysfs

ORIN = {
    "class/thermal/thermal_zone0/type": "cpu-thermal", "class/thermal/thermal_zone0/temp": "48531",
    "class/thermal/thermal_zone1/type": "gpu-thermal", "class/thermal/thermal_zone1/temp": "45250",
    "class/thermal/thermal_zone2/type": "PMIC-Die", "class/thermal/thermal_zone2/temp": "100000",
    "class/hwmon/hwmon0/name": "cpu_thermal", "class/hwmon/hwmon0/temp1_input": "48531",
    "class/hwmon/hwmon1/name": "ina3221",
    "class/hwmon/hwmon1/in1_label": "VDD_IN", "class/hwmon/hwmon1/in1_input": "5000",
    "class/hwmon/hwmon1/curr1_input": "1640",
    "class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV", "class/hwmon/hwmon1/in2_input": "4960",
    "class/hwmon/hwmon1/curr2_input": "400",
    "class/hwmon/hwmon1/in7_label": "Sum of shunt voltages", "class/hwmon/hwmon1/in7_input": "3",
    "devices/platform/bus@0/17000000.gpu/load": "375",
}  # fmt: skip


@pytest.fixture
def tree(tmp_path):
    def make(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text + "\n")
        return tmp_path

    return make


def test_an_orin_tells_its_temperatures_once_each_and_not_the_false_one(tree):
    assert Sysfs(tree(ORIN)).celsius() == {"cpu_thermal": 48.531, "gpu_thermal": 45.25}


def test_an_orin_tells_the_power_of_each_rail(tree):
    assert Sysfs(tree(ORIN)).watts() == pytest.approx({"VDD_IN": 8.2, "VDD_CPU_GPU_CV": 1.984})


@pytest.mark.parametrize(
    "load", ["devices/gpu.0/load", "devices/platform/17000000.gpu/load", "devices/platform/gpu.0/load"]
)
def test_a_jetson_tells_how_busy_its_gpu_is_wherever_its_kernel_shows_it(tree, load):
    (gpu,) = Sysfs(tree({load: "375"})).gpus()
    assert (gpu.name, gpu.busy) == ("gpu", 0.375)
    assert isnan(gpu.memory)


def test_a_sensor_that_falls_asleep_is_left_out_until_it_wakes(tree):
    sysfs = Sysfs(tree(ORIN))
    temp, current = "class/thermal/thermal_zone1/temp", "class/hwmon/hwmon1/curr1_input"
    root = tree({temp: "", current: ""})
    assert sysfs.celsius() == {"cpu_thermal": 48.531}
    assert list(sysfs.watts()) == ["VDD_CPU_GPU_CV"]
    (root / temp).unlink()
    assert sysfs.celsius() == {"cpu_thermal": 48.531}
    tree({temp: "50000", current: "1000"})
    assert sysfs.celsius()["gpu_thermal"] == 50.0
    assert sysfs.watts()["VDD_IN"] == 5.0


def test_a_load_that_cannot_be_read_is_not_known(tree):
    sysfs = Sysfs(tree(ORIN))
    tree({"devices/platform/bus@0/17000000.gpu/load": "N/A"})
    assert isnan(sysfs.gpus()[0].busy)


def test_a_desktop_has_labelled_sensors_and_a_chip_that_measures_watts(tree):
    sysfs = Sysfs(
        tree({
            "class/hwmon/hwmon0/name": "coretemp",
            "class/hwmon/hwmon0/temp1_label": "Package id 0", "class/hwmon/hwmon0/temp1_input": "61000",
            "class/hwmon/hwmon0/temp2_input": "59000",
            "class/hwmon/hwmon1/name": "power_meter", "class/hwmon/hwmon1/power1_input": "45500000",
        })
    )  # fmt: skip
    assert sysfs.celsius() == {"coretemp Package id 0": 61.0, "coretemp temp2": 59.0}
    assert sysfs.watts() == {"power_meter 1": 45.5}
    assert sysfs.gpus() == ()


def test_two_disks_of_one_kind_are_two_sensors(tree):
    files = {}
    for number, celsius in enumerate(("40000", "85000", "50000")):
        folder = f"class/hwmon/hwmon{number}"
        files[f"{folder}/name"], files[f"{folder}/temp1_label"] = "nvme", "Composite"
        files[f"{folder}/temp1_input"] = celsius
    assert Sysfs(tree(files)).celsius() == {
        "nvme Composite": 40.0, "nvme Composite (hwmon1)": 85.0, "nvme Composite (hwmon2)": 50.0,
    }  # fmt: skip


def test_a_computer_without_any_of_it_tells_nothing(tmp_path):
    sysfs = Sysfs(tmp_path)
    assert (sysfs.celsius(), sysfs.watts(), sysfs.gpus()) == ({}, {}, ())
