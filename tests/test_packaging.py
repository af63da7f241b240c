"""What is shipped: the installed program, the wheel, the locks, and what describes a deployment."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tickertape.runtime.environment import load_settings, variable_names

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["api", "broker", "cli", "deliver", "history", "roles", "runtime", "worker"]
LOCKS = [
    "requirements.lock",
    "requirements-traces.lock",
    "requirements-sql.lock",
    "requirements-assets.lock",
    "requirements-pip.lock",
    "requirements-test.lock",
    "requirements-bench.lock",
    "requirements-clients.lock",
    "requirements-docs.lock",
    "requirements-servers.lock",
    "model.lock",
]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _run(*command: str, cwd: Path) -> str:
    """Run without this process's import path, so that only what is installed counts."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, check=False, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_imported_from_this_repository(package: str, tmp_path: Path) -> None:
    code = f"import tickertape.{package} as package; print(package.__file__)"
    found = _run(sys.executable, "-c", code, cwd=tmp_path).strip()
    assert Path(found).resolve() == ROOT / package / "__init__.py"


def test_the_console_script_lists_its_commands(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "tickertape"
    shown = _run(str(script), "--help", cwd=tmp_path)
    for command in ("up", "api", "worker", "chat", "watch", "roles", "doctor"):
        assert re.search(rf"\b{command}\b", shown), f"--help does not name {command}"


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The wheel's content, built by the backend of pyproject.toml without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize(
    "data",
    [
        "roles/templates/*.md",
        "broker/scripts/*.lua",
        "api/page/*",
        "api/page/assets/*",
        "client/javascript/*",
    ],
)
def test_the_wheel_holds_every_data_file(data: str, wheel_files: set[str]) -> None:
    in_repository = {
        f"tickertape/{path.relative_to(ROOT)}" for path in ROOT.glob(data) if path.is_file()
    }
    assert in_repository
    assert in_repository <= wheel_files


@pytest.mark.slow
def test_a_build_of_the_assets_without_a_registry_says_so_and_keeps_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in (ROOT / "api/page/assets").iterdir()}
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_cache", str(tmp_path))
    done = subprocess.run(
        [sys.executable, ROOT / "assets" / "build.py"],
        cwd=tmp_path, check=False, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("The assets of the page were not built: ")
    assert {path: path.read_bytes() for path in (ROOT / "api/page/assets").iterdir()} == before


def test_the_sdist_holds_the_assets_that_its_builder_has_no_node_for(tmp_path: Path) -> None:
    _run(
        sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path), cwd=ROOT
    )  # fmt: skip
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    built = {
        f"tickertape/api/page/assets/{path.name}" for path in (ROOT / "api/page/assets").iterdir()
    }
    assert built
    assert built <= names


def test_the_assets_carry_the_licence_of_each_package_in_them() -> None:
    licenses = (ROOT / "api/page/assets/LICENSES.txt").read_text(encoding="utf-8")
    package = json.loads((ROOT / "assets/package.json").read_text(encoding="utf-8"))
    for name in package["dependencies"].keys() - {"esbuild"}:
        assert f"\n{name}\n===" in f"\n{licenses}", name


def test_the_wheel_holds_our_packages_and_nothing_else(wheel_files: set[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel_files}
    version = PYPROJECT["project"]["version"]
    assert tops == {"tickertape", f"tickertape-{version}.dist-info"}
    assert not [name for name in wheel_files if "__pycache__" in name]


def _requirements(lock: str) -> dict[str, Requirement]:
    """A lock's requirements by name. Each is one logical line, its hashes on continued ones."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    found: dict[str, Requirement] = {}
    for line in lines:
        requirement = Requirement(re.sub(r"\s--hash=sha256:[0-9a-f]{64}(?=\s|$)", "", line))
        assert "--hash=sha256:" in line, f"{lock}: {requirement.name} has no hash"
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], line
        found[canonicalize_name(requirement.name)] = requirement
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_and_hashes_all_it_names(lock: str) -> None:
    assert _requirements(lock)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place_to_download_from(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.findall(r"^.*(?:://|--index|--extra-index|--find-links).*$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements.lock", ["local", "build"]),
        ("requirements-traces.lock", ["traces"]),
        ("requirements-sql.lock", ["sql"]),
        ("requirements-test.lock", ["test"]),
        ("requirements-bench.lock", ["bench"]),
        ("requirements-docs.lock", ["docs"]),
    ],
)
def test_a_lock_fits_pyproject(lock: str, extras: list[str]) -> None:
    locked = {**_requirements("requirements.lock"), **_requirements(lock)}
    project = PYPROJECT["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    _assert_fits(wanted, locked)


@pytest.mark.parametrize("group", ["assets", "clients", "servers"])
def test_the_lock_of_a_group_fits_pyproject(group: str) -> None:
    _assert_fits(PYPROJECT["dependency-groups"][group], _requirements(f"requirements-{group}.lock"))


@pytest.mark.parametrize("folder", [ROOT / "assets", *sorted(ROOT.glob("tests/support/npm/*"))])
def test_a_lock_of_node_packages_hashes_all_it_names_and_no_place(folder: Path) -> None:
    lock = json.loads((folder / "package-lock.json").read_text("utf-8"))
    package = json.loads((folder / "package.json").read_text("utf-8"))
    assert lock["packages"].pop("")["dependencies"] == package["dependencies"]
    assert all("integrity" in each and "resolved" not in each for each in lock["packages"].values())


def _assert_fits(wanted: list[str], locked: dict[str, Requirement]) -> None:
    for line in wanted:
        requirement = Requirement(line)
        assert canonicalize_name(requirement.name) in locked, f"run make lock: {line} is missing"
        (pin,) = locked[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(pin.version), f"run make lock: {line} got {pin}"


def _example_lines() -> dict[str, str]:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    return dict(re.findall(r"^#([A-Z][A-Z0-9_]*)=(.*)$", text, re.MULTILINE))


def test_the_example_of_settings_names_every_setting() -> None:
    # The one of the clients alone, which no process of ours reads.
    assert sorted(_example_lines()) == sorted([*variable_names(), "TICKERTAPE_API_KEY"])


def test_the_example_of_settings_shows_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in variable_names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    defaults = load_settings()
    uncommented = "".join(f"{name}={value}\n" for name, value in _example_lines().items())
    (tmp_path / ".env").write_text(uncommented, encoding="utf-8")
    assert load_settings() == defaults
