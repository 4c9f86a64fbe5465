"""What a control group or a batch system grants is what is used."""

import pytest

from qsmbids.errors import ConfigError
from qsmbids.execution import available_cpus, available_memory_gb, parse_memory_gb


@pytest.fixture
def no_cgroup(tmp_path):
    return tmp_path / "none"


def test_batch_system_limits_processors(no_cgroup):
    assert available_cpus({"SLURM_CPUS_PER_TASK": "1"}, no_cgroup) == 1
    assert available_cpus({"SLURM_CPUS_PER_TASK": "strange"}, no_cgroup) >= 1


@pytest.mark.parametrize(("quota", "cpus"), [("50000 100000", 1), ("100000 100000", 1)])
def test_control_group_version_2_limits_processors(tmp_path, quota, cpus):
    (tmp_path / "cpu.max").write_text(quota)
    assert available_cpus({}, tmp_path) == cpus


def test_control_group_version_1_limits_processors(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert available_cpus({}, tmp_path) == 1


def test_no_limit_is_no_limit(tmp_path, no_cgroup):
    (tmp_path / "cpu.max").write_text("max 100000")
    (tmp_path / "memory.max").write_text("max")
    assert available_cpus({}, tmp_path) == available_cpus({}, no_cgroup)
    assert available_memory_gb({}, tmp_path) == available_memory_gb({}, no_cgroup)


def test_memory_limits(tmp_path, no_cgroup):
    (tmp_path / "memory.max").write_text("1500000000")
    assert available_memory_gb({}, tmp_path) == 1.5
    assert available_memory_gb({"SLURM_MEM_PER_NODE": "1024"}, no_cgroup) == 1.0
    grant = {"SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_PER_TASK": "2"}
    assert available_memory_gb(grant, no_cgroup) == 1.0


@pytest.mark.parametrize(
    ("text", "gb"), [("8G", 8), ("8000", 8), ("8000M", 8), ("0.5t", 500), ("2GB", 2), ("2GiB", 2)]
)
def test_memory_sizes(text, gb):
    assert parse_memory_gb(text) == pytest.approx(gb)


@pytest.mark.parametrize("text", ["", "much", "-3G", "0", "8X"])
def test_no_memory_size(text):
    with pytest.raises(ConfigError, match="--mem"):
        parse_memory_gb(text)
