"""What a user names, as a shell sees it: a word, whatever is in it."""

import json
import subprocess

import pytest
from pydantic import ValidationError

from alpw.cluster.queue.files import fworker, qadapter, rlaunch
from alpw.codes.process import split_command
from alpw.config.load import load_inputs
from alpw.config.resource import ResourceBlock
from alpw.errors import InputError

HOSTILE = ["a b", "a'b", 'a"b', "$(touch pwned)", "`touch pwned`", "a;touch pwned", "a\\b", "*"]


@pytest.mark.parametrize("name", HOSTILE)
def test_files_of_the_launcher_are_words(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    block = ResourceBlock.model_validate({"queue_name": "debug"})
    content = qadapter("dft", block, folder / "my_launchpad.yaml", folder / "my_fworker.yaml", folder)
    line = content["rocket_launch"].replace(rlaunch(), "printf '%s\\n'", 1)
    words = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words[:4] == ["-l", str(folder / "my_launchpad.yaml"), "-w", str(folder / "my_fworker.yaml")]
    assert {path.name for path in tmp_path.iterdir()} == {name}


@pytest.mark.parametrize("name", [*HOSTILE, 'x"}', "", "-rf", "a\nb", "../up"])
def test_a_campaign_s_name_holds_nothing_that_anybody_could_read_otherwise(inputs, name):
    inputs.param["campaign"] = name
    inputs.write()
    with pytest.raises(InputError, match="campaign"):
        load_inputs(inputs.folder / "param.json", inputs.folder / "resource.json")


def test_the_query_of_a_worker_is_what_the_campaign_is_called():
    assert json.loads(fworker("a.b-c_1", "dft")["query"]) == {"spec.campaign": "a.b-c_1"}


@pytest.mark.parametrize(
    ("key", "value"),
    [("walltime", "1:00:00\n#SBATCH --uid=0"), ("memory", "4G\ntouch pwned"), ("memory", "4G;touch pwned")],
)
def test_a_value_is_no_further_line_of_the_script(key, value):
    with pytest.raises(ValidationError):
        ResourceBlock.model_validate({"queue_name": "debug", key: value})


def test_a_command_is_split_without_a_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = split_command("vasp_std '$(touch pwned)' `touch pwned` a;touch")
    assert words == ["vasp_std", "$(touch pwned)", "`touch", "pwned`", "a;touch"]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="shell operator"):
        split_command("vasp_std ; touch pwned")
