"""The memory of this process at its peak."""

from pathlib import Path


def forget_peak() -> None:
    """Let the next peak count from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    """The largest resident memory since `forget_peak`, in MiB."""
    return _status("VmHWM")


def resident_mib() -> float:
    """The resident memory now, in MiB."""
    return _status("VmRSS")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = (int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    return kib / 1024
