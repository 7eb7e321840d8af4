"""Workflows hold Firetasks of ours alone: none runs a command line or a function that a document names."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from monty.serialization import loadfn

import alpw
from alpw.workflows.firework import TASKS

ROOT = Path(__file__).parents[2]
SOURCES = sorted(Path(alpw.__file__).parent.rglob("*.py"))
#: Of FireWorks' own: what they run stands in the specification.
FORBIDDEN = r"\b(PyTask|ScriptTask|CommandLineTask|_TemplateWriterTask|TemplateWriterTask|BackgroundTask)\b"


@pytest.mark.parametrize("task", TASKS)
def test_every_task_of_the_table_is_a_firetask_of_ours(task):
    module = import_module(f"alpw.firetasks.{TASKS[task][0]}")
    assert getattr(module, task)._fw_name == f"{{{{alpw.firetasks.{TASKS[task][0]}.{task}}}}}"


def test_fireworks_are_built_in_one_place():
    builders = {file.name for file in SOURCES if re.search(r"\bFirework\(\s*\[?\w", file.read_text())}
    named = {file.name for file in SOURCES if '"_tasks": [' in file.read_text()}
    assert builders == set() and named == {"firework.py"}


def test_no_module_names_a_firetask_that_runs_what_a_document_says():
    assert [file for file in SOURCES if re.search(FORBIDDEN, file.read_text())] == []


@pytest.mark.parametrize(
    "file", sorted((ROOT / "fireworks_templates").glob("*.yaml")), ids=lambda file: file.stem
)
def test_templates_hold_firetasks_of_ours(file):
    names = [task["_fw_name"] for firework in loadfn(file)["fws"] for task in firework["spec"]["_tasks"]]
    assert names and all(re.fullmatch(r"\{\{alpw\.firetasks\.\w+\.\w+\}\}", name) for name in names)


def test_nothing_is_run_through_a_shell():
    """Programs are lists of words; the one shell script, a constant, gets its values as arguments."""
    shells = r"shell\s*=\s*True|os\.system\(|os\.popen\(|subprocess\.(getoutput|getstatusoutput)\("
    assert [file for file in SOURCES if re.search(shells, file.read_text())] == []
    callers = {file.name for file in SOURCES if re.search(r'"(/bin/)?(ba)?sh", "-c"', file.read_text())}
    assert callers == {"process.py"}
