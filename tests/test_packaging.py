"""What setup.cfg promises against what is on the disk, and what an import costs."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER_OF_PACKAGE = {"mlimages_dataset.cli": "cli"}
WITHOUT_TORCH = (
    "mlimages_dataset.vocab",
    "mlimages_dataset.augment",
    "mlimages_dataset.images",
    "mlimages_dataset.cli",
)

# Sees an import of torch also where torch is not installed and the import is guarded.
SPY = """
import importlib, sys

tried = []

class Spy:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision"}:
            tried.append(name)

sys.meta_path.insert(0, Spy())
"""


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    """Return the parsed setup.cfg; only a checkout has the folders that it speaks of."""
    if not (ROOT / "mlimages_dataset").is_dir():
        pytest.skip("compares setup.cfg with the checkout, and these tests lie apart from one")
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def folder_of(package: str) -> Path:
    return ROOT / FOLDER_OF_PACKAGE.get(package, package.replace(".", "/"))


def packages_on_disk() -> set[str]:
    """Return every package below the library's folder, and those that other folders are mapped to."""
    inner = (ROOT / "mlimages_dataset").rglob("__init__.py")
    return {".".join(file.parent.relative_to(ROOT).parts) for file in inner} | set(FOLDER_OF_PACKAGE)


def modules_of(package: str) -> list[str]:
    files = sorted(folder_of(package).glob("*.py"))
    return [package if file.stem == "__init__" else f"{package}.{file.stem}" for file in files]


def test_the_listed_packages_are_those_on_the_disk(setup_cfg: configparser.ConfigParser) -> None:
    listed = setup_cfg["options"]["packages"].split()
    assert sorted(listed) == sorted(packages_on_disk())


def test_mapped_folders_are_those_that_setup_cfg_maps(setup_cfg: configparser.ConfigParser) -> None:
    mapped = dict(line.split(" = ") for line in setup_cfg["options"]["package_dir"].strip().splitlines())
    assert mapped == FOLDER_OF_PACKAGE
    assert all((ROOT / folder / "__init__.py").is_file() for folder in mapped.values())


def test_every_pattern_of_package_data_matches_a_file(setup_cfg: configparser.ConfigParser) -> None:
    patterns = {
        (package, pattern.strip())
        for package, text in setup_cfg["options.package_data"].items()
        for pattern in text.split(",")
    }
    assert patterns
    assert not {
        (package, pattern)
        for package, pattern in patterns
        if not any(path.is_file() for path in folder_of(package).glob(pattern))
    } - {("mlimages_dataset.core", "machine_code/*")}  # made when a wheel is built


def test_every_file_beside_the_modules_is_package_data(setup_cfg: configparser.ConfigParser) -> None:
    listed = setup_cfg["options.package_data"]
    for package in setup_cfg["options"]["packages"].split():
        patterns = [pattern.strip() for pattern in listed.get(package, "").split(",") if pattern.strip()]
        packaged = {path for pattern in patterns for path in folder_of(package).glob(pattern)}
        beside = {
            path for path in folder_of(package).iterdir() if path.is_file() and path.suffix not in {".py", ".pyc"}
        }
        assert beside <= packaged, package


@pytest.mark.slow
def test_building_labels_never_imports_torch() -> None:
    modules = [module for package in ("mlimages_dataset", *WITHOUT_TORCH) for module in modules_of(package)]
    modules = [module for module in modules if not module.endswith("__main__")]
    program = SPY + f"for module in {modules!r}:\n    importlib.import_module(module)\nprint(*tried)\n"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_importing_the_library_imports_no_heavy_package() -> None:
    program = "import mlimages_dataset, sys; print(*sorted({'numpy', 'pyarrow', 'nltk'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
