from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import pytest

from alpw.config import InputErrors, Param, inputs_hash, load_param
from alpw.errors import InputError

Content = dict[str, Any]
Read = Callable[[Content], Param]


def lines(read: Read, content: Content) -> list[str]:
    """The error lines, without the file."""
    with pytest.raises(InputError) as raised:
        read(content)
    file = str(raised.value.file)
    assert all(line.startswith(file + ": ") for line in str(raised.value).splitlines())
    return [line.removeprefix(file + ": ") for line in str(raised.value).splitlines()]


def only(read: Read, content: Content) -> str:
    found = lines(read, content)
    assert len(found) == 1, found
    return found[0]


def put(content: Content, path: str, value: Any) -> Content:
    """Sets ``explore.md_jobs.0.0.temps`` style paths."""
    place: Any = content
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        place = place[part] if isinstance(place, list) else place.setdefault(part, {})
    place[last] = value
    return content


def test_defaults_are_those_of_the_predecessor(silicon: Content, read: Read, folder: Path) -> None:
    param = read(silicon)
    assert (param.campaign, param.work_dir, param.seed) == ("campaign_1", folder, 2024)
    descriptor = param.train.descriptor
    assert (descriptor.rcut, descriptor.rcut_smth, descriptor.axis_neuron) == (6.0, 0.5, 16)
    assert descriptor.neuron == [25, 25, 25] and param.train.fitting_net.neuron == [50, 50, 50]
    optimizer = param.train.optimizer
    assert (optimizer.epochs, optimizer.batch_size, optimizer.learning_rate, optimizer.stop_lr) == (
        30,
        1,
        1e-3,
        3.51e-8,
    )
    assert (optimizer.start_pre_fac_force, optimizer.end_pre_fac_etot) == (1000, 1)
    assert (param.strategy.model_num, param.strategy.max_select) == (4, 100)
    job = param.explore.md_jobs[0][0]
    assert (job.ensemble, job.md_dt, job.trj_freq, job.taut, job.taup) == ("nvt", 0.001, 10, 0.1, 0.5)
    assert param.initial is not None and param.initial.sys_idx == [0]
    assert param.notes == []


def test_the_campaigns_seed_is_the_seed_of_training(silicon: Content, read: Read) -> None:
    assert read(put(silicon, "seed", 7)).train.seed == 7
    assert read(put(silicon, "train.seed", 8)).train.seed == 8


def test_a_param_out_of_the_database_is_the_same_and_touches_no_file(
    silicon: Content, read: Read, folder: Path
) -> None:
    param = read(put(silicon, "explore.sys_config_prefix", "."))
    stored = json.loads(json.dumps(param.model_dump(mode="json")))
    (folder / "POSCAR").unlink()
    assert Param.model_validate(stored) == param


def test_comments_are_left_out_and_the_source_is_kept_verbatim(silicon: Content, read: Read) -> None:
    silicon["_comment"] = "mine"
    silicon["train"]["_lr"] = 1
    param = read(silicon)
    assert param.source == silicon


class TestSpelling:
    @pytest.mark.parametrize("key", ["rcut", "Rcut", "Rmax", "RMAX", "rmax"])
    def test_keys_have_any_case_and_both_names(self, silicon: Content, read: Read, key: str) -> None:
        assert read(put(silicon, f"train.descriptor.{key}", 4.5)).train.descriptor.rcut == 4.5

    def test_deiv_is_devi(self, silicon: Content, read: Read) -> None:
        silicon["strategy"] = {"Lower_Model_Deiv_f": 0.3, "upper_model_devi_f": 0.4}
        assert read(silicon).strategy.lower_model_devi_f == 0.3

    @pytest.mark.parametrize(("other", "value"), [("lower_model_deiv_f", 0.11), ("LOWER_model_devi_f", 0.12)])
    def test_two_spellings_with_different_values_are_an_error(
        self, silicon: Content, read: Read, other: str, value: float
    ) -> None:
        line = only(read, put(silicon, f"strategy.{other}", value))
        assert f"'lower_model_devi_f' and '{other}' are the same key with different values" in line

    def test_two_spellings_with_the_same_value_are_fine(self, silicon: Content, read: Read) -> None:
        assert read(put(silicon, "strategy.lower_model_deiv_f", 0.1)).strategy.lower_model_devi_f == 0.1

    def test_the_same_key_twice_with_different_values_is_an_error(
        self, silicon: Content, folder: Path
    ) -> None:
        text = json.dumps(silicon).replace('"nsteps": 100', '"nsteps": 100, "nsteps": 200')
        (folder / "param.json").write_text(text)
        with pytest.raises(InputError, match=r"explore\.md_jobs\[0\]\[0\]\.nsteps: given twice"):
            load_param(folder / "param.json")

    def test_descriptor_may_stand_in_model(self, silicon: Content, read: Read) -> None:
        silicon["train"]["model"] = {
            "descriptor": {"Rmax": 5.0},
            "fitting_net": {"network_size": [20, 20, 1]},
        }
        train = read(silicon).train
        assert (train.descriptor.rcut, train.fitting_net.neuron) == (5.0, [20, 20])

    def test_an_unknown_key_names_the_nearest(self, silicon: Content, read: Read) -> None:
        line = only(read, put(silicon, "strategy.max_selct", 3))
        assert line == "strategy.max_selct: unknown key, did you mean 'max_select'?"

    def test_errors_quote_the_key_as_the_user_wrote_it(self, silicon: Content, read: Read) -> None:
        assert only(read, put(silicon, "train.descriptor.Rmax", -1)).startswith(
            "train.descriptor.Rmax: -1 must be"
        )

    def test_our_own_derived_fields_are_no_keys(self, silicon: Content, read: Read) -> None:
        assert "unknown key" in only(read, put(silicon, "notes", []))

    @pytest.mark.parametrize(
        ("path", "value", "read_as"),
        [
            ("explore.md_jobs.0.0.sys_idx", 0, [0]),
            ("explore.md_jobs.0.0.temps", 450, [450.0]),
            ("explore.md_jobs.0.0.select_sys", 5, [5]),
        ],
    )
    def test_a_scalar_is_a_list_of_one(
        self, silicon: Content, read: Read, path: str, value: int, read_as: list[float]
    ) -> None:
        job = read(put(silicon, path, value)).explore.md_jobs[0][0]
        assert getattr(job, path.rsplit(".", 1)[1]) == read_as

    def test_md_jobs_may_be_blocks_without_inner_lists(self, silicon: Content, read: Read) -> None:
        block = silicon["explore"]["md_jobs"][0][0]
        silicon["explore"]["md_jobs"] = [block, [block, block]]
        assert [len(blocks) for blocks in read(silicon).explore.md_jobs] == [1, 2]

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("NVE", "nve"),
            ("npt", "npt-iso"),
            ("npt-i", "npt-iso"),
            ("NPT-A", "npt-aniso"),
            ("npt-tri", "npt-tri"),
        ],
    )
    def test_ensembles_are_normalised(self, silicon: Content, read: Read, written: str, meant: str) -> None:
        silicon["explore"]["md_jobs"][0][0].update(ensemble=written, press=1)
        assert read(silicon).explore.md_jobs[0][0].ensemble == meant


class TestValues:
    @pytest.mark.parametrize(
        ("path", "value", "key", "words"),
        [
            (
                "explore.md_jobs.0.0.temps",
                ["hot"],
                "explore.md_jobs[0][0].temps[0]",
                "'hot' is not a number (K)",
            ),
            ("explore.md_jobs.0.0.temps", [-5], "explore.md_jobs[0][0].temps[0]", "greater than 0 (K)"),
            ("explore.md_jobs.0.0.temps", ["300"], "explore.md_jobs[0][0].temps[0]", "'300' is not a number"),
            ("explore.md_jobs.0.0.temps", [True], "explore.md_jobs[0][0].temps[0]", "True is not a number"),
            ("explore.md_jobs.0.0.temps", [], "explore.md_jobs[0][0].temps", "at least one temperature"),
            ("explore.md_jobs.0.0.ensemble", "npt", "explore.md_jobs[0][0].press", "at least one pressure"),
            (
                "explore.md_jobs.0.0.ensemble",
                "mvt",
                "explore.md_jobs[0][0].ensemble",
                "'mvt' is not one of 'nve'",
            ),
            ("explore.md_jobs.0.0.nsteps", 0, "explore.md_jobs[0][0].nsteps", "at least 1"),
            ("explore.md_jobs.0.0.nsteps", 5, "explore.md_jobs[0][0].trj_freq", "no frame is written"),
            ("explore.md_jobs.0.0.nsteps", 1e3, "explore.md_jobs[0][0].nsteps", "not a whole number"),
            ("explore.md_jobs.0.0.md_dt", 1.0, "explore.md_jobs[0][0].md_dt", "at most 0.02 (ps)"),
            ("explore.md_jobs.0.0.sys_idx", [1], "explore.md_jobs[0][0].sys_idx[0]", "indices 0 to 0"),
            ("explore.md_jobs.0.0.sys_idx", [0, 0], "explore.md_jobs[0][0].sys_idx", "twice"),
            ("explore.md_jobs.0.0.select_sys", [1, 2], "explore.md_jobs[0][0].select_sys", "allowed are 1"),
            ("explore.md_jobs.0.0.lower_model_devi_f", 9.0, "explore.md_jobs[0][0]", "both are needed"),
            ("explore.md_jobs", [], "explore.md_jobs", "at least 1 needed"),
            ("initial.sys_idx", [4], "initial.sys_idx[0]", "indices 0 to 0"),
            ("initial.scale", [0], "initial.scale[0]", "greater than 0.5"),
            ("strategy.lower_model_devi_f", 0.2, "strategy.lower_model_devi_f", "smaller than the upper"),
            ("strategy.model_num", 2, "strategy.model_num", "3 members or more"),
            ("train.atom_type", ["Ge"], "train.atom_type", "lacks Si of explore.sys_configs[0]"),
            ("train.atom_type", ["Sx"], "train.atom_type[0]", "'Sx' is not an element"),
            ("train.atom_type", [14, "Si"], "train.atom_type", "twice"),
            ("train.optimizer.train_virial", "true", "train.optimizer.train_virial", "not true or false"),
            ("train.descriptor.rcut_smth", 6, "train.descriptor.rcut_smth", "smaller than the cutoff"),
            ("train.optimizer.learning_rate", float("nan"), "train.optimizer.learning_rate", "finite"),
            ("strategy", None, "strategy", "None is not a block"),
            ("campaign", "a b", "campaign", "'a b' is not a name of letters"),
            ("dft.input", "missing.inp", "dft.input", "no file at /"),
            ("init_data", ["missing"], "init_data[0]", "nothing found at /"),
            ("init_data", ["*.xyz"], "init_data[0]", "nothing found at /"),
            ("explore.sys_configs", ["CONTCAR"], "explore.sys_configs[0].config", "nothing found at /"),
            ("explore.sys_configs", [{"config": "INCAR"}], "explore.sys_configs[0].config", "cannot be read"),
            (
                "explore.sys_configs",
                {"config": "POSCAR", "format": "x"},
                "explore.sys_configs[0].format",
                "vasp/",
            ),
        ],
    )
    def test_wrong_values_are_errors_with_their_key(
        self, silicon: Content, read: Read, path: str, value: Any, key: str, words: str
    ) -> None:
        line = only(read, put(silicon, path, value))
        assert line.startswith(f"{key}: ") and words in line

    def test_neither_data_nor_initial_is_an_error(self, silicon: Content, read: Read) -> None:
        del silicon["initial"]
        assert only(read, silicon).startswith("init_data: empty; give training sets")

    def test_a_missing_block_is_named(self, silicon: Content, read: Read) -> None:
        del silicon["dft"]
        assert only(read, silicon) == "dft: required key is missing"

    def test_overlapping_start_structures_are_refused(
        self, silicon: Content, read: Read, folder: Path
    ) -> None:
        atoms = ase.io.read(folder / "POSCAR")
        atoms.positions[1] = atoms.positions[0] + 0.5
        ase.io.write(folder / "POSCAR", atoms, format="vasp")
        assert "not physical: Si0 and Si" in only(read, silicon)

    def test_all_errors_of_a_file_are_shown_at_once(self, silicon: Content, read: Read) -> None:
        put(silicon, "strategy.max_selct", 3)
        put(silicon, "explore.md_jobs.0.0.temps", ["hot", -1])
        put(silicon, "dft.dft_style", "skf")
        with pytest.raises(InputErrors) as raised:
            read(silicon)
        keys = [error.key for error in raised.value.errors]
        temps = "explore.md_jobs[0][0].temps"
        assert sorted(map(str, keys)) == ["dft.dft_style", f"{temps}[0]", f"{temps}[1]", "strategy.max_selct"]
        assert raised.value.key == keys[0]


class TestFiles:
    def test_json_errors_have_line_and_column(self, folder: Path) -> None:
        (folder / "param.json").write_text('{\n  "seed": 1,\n  "train": }\n')
        with pytest.raises(InputError, match="line 3, column 12: not valid JSON"):
            load_param(folder / "param.json")

    @pytest.mark.parametrize("text", ["[]", "3"])
    def test_a_file_that_is_no_object_is_an_error(self, folder: Path, text: str) -> None:
        (folder / "param.json").write_text(text)
        with pytest.raises(InputError, match="no JSON object"):
            load_param(folder / "param.json")

    def test_a_missing_file_is_an_error(self, folder: Path) -> None:
        with pytest.raises(InputError, match=r"nowhere\.json: no such file"):
            load_param(folder / "nowhere.json")

    def test_paths_are_relative_to_the_file_not_to_the_shell(
        self, silicon: Content, read: Read, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        put(silicon, "work_dir", "run")
        param = read(put(silicon, "dft", {"dft_style": "cp2k", "input": "cp2k.inp"}))
        assert param.work_dir == folder / "run"
        assert param.dft.input == folder / "cp2k.inp"
        assert param.explore.sys_configs[0].files == [folder / "POSCAR"]

    def test_the_home_folder_is_expanded(
        self, silicon: Content, read: Read, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(folder))
        assert read(put(silicon, "explore.sys_configs", "~/POSCAR")).explore.sys_configs[0].files == [
            folder / "POSCAR"
        ]

    def test_patterns_are_expanded_in_order_and_know_the_prefix(self, silicon: Content, read: Read) -> None:
        silicon["explore"]["sys_config_prefix"] = "init_bulk/collection/init_config_0"
        silicon["explore"]["sys_configs"] = "relax_pertub/*.config"
        files = read(silicon).explore.sys_configs[0].files
        assert [file.name for file in files] == [f"{k}_pertub.config" for k in range(1, 7)]

    def test_a_folder_without_pwdata_is_no_data_set(self, silicon: Content, read: Read) -> None:
        line = only(read, put(silicon, "init_data", ["init_bulk/collection/init_config_0/relax_pertub"]))
        assert "holds no PWdata" in line

    def test_cp2k_may_find_a_named_data_file_itself(self, silicon: Content, read: Read, folder: Path) -> None:
        silicon["dft"] = {"dft_style": "cp2k", "basis_set_file": "BASIS_MOLOPT", "potential_file": "BASIS"}
        dft = read(silicon).dft
        assert (dft.basis_set_file, dft.potential_file) == ("BASIS_MOLOPT", str(folder / "BASIS"))

    def test_gaussian_param_has_known_keys(self, silicon: Content, read: Read) -> None:
        silicon["dft"] = {
            "dft_style": "cp2k",
            "gaussian_param": {"Atom_list": ["Si"], "potential_lst": ["GTH-PBE"]},
        }
        assert only(read, silicon) == (
            "dft.gaussian_param.potential_lst: unknown key, did you mean 'potential_list'?"
        )


class TestHash:
    def test_spelling_order_and_defaults_do_not_matter(self, silicon: Content, read: Read) -> None:
        before = inputs_hash(read(silicon))
        silicon["_note"] = 1
        silicon["SEED"] = 2024
        silicon["explore"]["md_jobs"][0][0]["temps"] = 300.0
        assert inputs_hash(read(dict(reversed(silicon.items())))) == before

    def test_values_and_contents_of_structures_do_matter(
        self, silicon: Content, read: Read, folder: Path
    ) -> None:
        before = inputs_hash(read(silicon))
        text = (folder / "POSCAR").read_text()
        (folder / "POSCAR").write_text(text + "\n")
        assert inputs_hash(read(silicon)) != before
        (folder / "POSCAR").write_text(text)
        assert inputs_hash(read(put(silicon, "strategy.max_select", 99))) != before


class TestBeyondReach:
    """Values that are right by themselves and can do nothing."""

    @pytest.mark.parametrize(
        ("path", "value", "words"),
        [
            ("explore.md_jobs.0.0.mass", {"O": 16.0}, "train.atom_type lacks O"),
            ("strategy", {"max_iterations": 2, "converge_after": 5}, "strategy.converge_after"),
            ("webhook", "localhost", "webhook: is no address that begins with http"),
            ("webhook", "http://user:secret@host/", "webhook: is no address that begins with http"),
            ("train.trainer", "deepmd", "'alpw' does, with LKF"),
        ],
    )
    def test_it_is_refused(self, silicon: Content, read: Read, path: str, value: Any, words: str) -> None:
        *parents, last = path.split(".")
        place: Any = silicon
        for name in parents:
            place = place[int(name) if name.isdigit() else name]
        if isinstance(value, dict) and last in place:
            place[last] |= value
        else:
            place[last] = value
        if last == "trainer":
            silicon["strategy"]["uncertainty"] = "kpu"
        with pytest.raises(InputError) as error:
            read(silicon)
        assert words in str(error.value) and "secret" not in str(error.value)
