"""Wrong input: one line with file and key, status 2, and nothing is stored."""

import pytest


def set_typo(param):
    param["strategy"]["max_selct"] = 3


def set_missing_structure(param):
    param["explore"]["sys_configs"] = ["POSCAR_that_is_not_there"]


def set_unknown_element(param):
    param["train"]["atom_type"] = ["Si", "Og"]


def set_hot(param):
    param["explore"]["md_jobs"][0]["temps"] = "hot"


def set_small_cell(param):
    param["explore"]["sys_configs"] = ["primitive.vasp"]


CASES = {
    "typo": (set_typo, "strategy.max_selct", "max_select"),
    "missing structure": (set_missing_structure, "explore.sys_configs", "POSCAR_that_is_not_there"),
    "element without parameters": (set_unknown_element, "dft", "no parameters for Og"),
    "temperature": (set_hot, "explore.md_jobs[0][0].temps", "'hot'"),
    "cell too small for the label engine": (set_small_cell, "explore.sys_configs[0]", "16"),
}


@pytest.mark.parametrize(("change", "key", "text"), CASES.values(), ids=CASES)
def test_wrong_input_is_one_line_and_submits_nothing(inputs, launchpad, change, key, text):
    from ase.build import bulk

    bulk("Si").write(inputs.folder / "primitive.vasp", format="vasp")
    change(inputs.param)
    inputs.write()
    result = inputs.command("alpw", "run", "param.json", "resource.json", "--detach")
    assert result.returncode == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert "param.json" in lines[0] and key in lines[0] and text in lines[0]
    assert launchpad.fireworks.count_documents({}) == 0
    assert launchpad.db["campaigns"].count_documents({}) == 0


def test_both_files_are_checked_before_anything_is_stored(inputs, launchpad):
    inputs.resource["dft"]["group_siez"] = 3
    set_typo(inputs.param)
    inputs.write()
    result = inputs.command("alpw", "run", "param.json", "resource.json", "--detach")
    assert result.returncode == 2
    assert "group_size" in result.stderr and "max_select" in result.stderr
    assert launchpad.db["campaigns"].count_documents({}) == 0


def test_changed_inputs_are_refused_until_update_is_asked_for(inputs, launchpad):
    assert inputs.command("alpw", "run", "param.json", "resource.json", "--detach").returncode == 0
    inputs.param["strategy"]["max_select"] = 5
    inputs.write()
    refused = inputs.command("alpw", "run", "param.json", "resource.json", "--detach")
    assert refused.returncode == 2 and "--update" in refused.stderr
    accepted = inputs.command("alpw", "run", "param.json", "resource.json", "--detach", "--update")
    assert accepted.returncode == 0
    stored = launchpad.db["campaigns"].find_one({"_id": "tiny"})
    assert stored["resolved"]["param"]["strategy"]["max_select"] == 5


def test_another_level_of_theory_is_not_an_update(inputs, launchpad):
    assert inputs.command("alpw", "run", "param.json", "resource.json", "--detach").returncode == 0
    inputs.param["dft"]["method"] = "GFN2-xTB"
    inputs.write()
    refused = inputs.command("alpw", "run", "param.json", "resource.json", "--detach", "--update")
    assert refused.returncode == 2 and "dft" in refused.stderr


@pytest.mark.parametrize("name", ["a b", "x[/red]", "", "../up"])
def test_a_name_on_the_command_line_is_checked_like_one_in_the_file(inputs, launchpad, name):
    result = inputs.command("alpw", "run", "param.json", "resource.json", "--detach", "--campaign", name)
    assert result.returncode == 2 and result.stderr.count("error:") == 1
    assert launchpad.db["campaigns"].count_documents({}) == 0


def test_brackets_in_a_file_name_are_text(inputs):
    inputs.param["explore"]["sys_configs"] = ["[ab]*.vasp"]
    inputs.write()
    result = inputs.command("alpw", "run", "param.json", "resource.json", "--detach")
    assert result.returncode == 2 and "[ab]*.vasp" in result.stderr


def test_a_folder_that_cannot_be_made_is_one_line(inputs, launchpad):
    inputs.param["work_dir"] = "/proc/nowhere"
    inputs.write()
    result = inputs.command("alpw", "run", "param.json", "resource.json", "--detach")
    assert result.returncode == 1 and "Traceback" not in result.stderr and "/proc/nowhere" in result.stderr


def test_detaching_twice_adds_one_workflow(inputs, launchpad):
    for _ in range(2):
        assert inputs.command("alpw", "run", "param.json", "resource.json", "--detach").returncode == 0
    assert launchpad.workflows.count_documents({}) == 1


@pytest.mark.parametrize("words", [["RUN", "-h"], ["help"], ["-h"], ["--help"], ["Status", "-help"]])
def test_the_predecessor_s_way_to_ask_for_help(inputs, words):
    result = inputs.command("al_pwmlff", *words)
    assert result.returncode == 0 and "Usage" in result.stdout


@pytest.mark.parametrize("name", ["run", "status", "campaigns", "doctor", "template", "db start", "db stop"])
def test_every_command_has_help_with_an_example(inputs, name):
    result = inputs.command("alpw", *name.split(), "--help")
    assert result.returncode == 0 and "Example" in result.stdout
