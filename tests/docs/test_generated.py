"""The pages that are made from the code say what the code says now."""

from __future__ import annotations

import runpy

import pytest

from tests.docs.pages import DOCS

SCRIPTS = DOCS.parent / "scripts"


def test_the_commands_are_those_of_the_help() -> None:
    page = runpy.run_path(str(SCRIPTS / "build_command_reference.py"))["page"]()
    assert (DOCS / "commands.md").read_text(encoding="utf-8") == page, "run scripts/build_command_reference.py"


@pytest.mark.parametrize("name", ["training.md", "recipes.md"])
def test_the_tables_list_every_key(name: str) -> None:
    page = runpy.run_path(str(SCRIPTS / "build_key_reference.py"))["page"](name)
    assert (DOCS / name).read_text(encoding="utf-8") == page, "run scripts/build_key_reference.py"


@pytest.mark.filterwarnings("ignore:.*is no category of its own")
def test_the_table_of_classes_says_what_names_become() -> None:
    page = runpy.run_path(str(SCRIPTS / "build_class_table.py"))["page"]()
    assert (DOCS / "explain" / "classes.md").read_text(encoding="utf-8") == page, "run scripts/build_class_table.py"
