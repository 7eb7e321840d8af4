"""One dataset per element, found before anything is submitted, recorded by title and hash only."""

import gzip
import hashlib
import warnings

import pytest
from ase.build import bulk
from pymatgen.io.vasp import Potcar, PotcarSingle

from alpw.codes.attempt import request_hash
from alpw.codes.protocol import Task
from alpw.codes.vasp import potcar
from alpw.codes.vasp.code import Vasp
from alpw.errors import InputError


def files(folder, **texts):
    paths = []
    for name, text in texts.items():
        paths.append(folder / name)
        paths[-1].write_text(text)
    return paths


def pymatgens(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Potcar.from_file(str(path))


@pytest.mark.parametrize(
    ("name", "element"),
    [("Si", "Si"), ("Fe_pv", "Fe"), ("Na_sv_GW", "Na"), ("H.5", "H"), ("C", "C")],
)
def test_the_element_is_that_of_the_title(tmp_path, dataset, name, element):
    (file,) = files(tmp_path, POTCAR=dataset(name))
    (found,) = potcar.datasets(file)
    assert found.element == element
    assert found.titel == f"PAW_PBE {name} 05Jan2001"
    assert (found.enmax, found.functional) == (250.0, "PE")


def test_a_file_may_hold_several_datasets_and_be_compressed(tmp_path, dataset):
    file = tmp_path / "POTCAR.gz"
    file.write_bytes(gzip.compress((dataset("Ga_d") + dataset("As")).encode()))
    assert [found.element for found in potcar.datasets(file)] == ["Ga", "As"]


def test_titles_and_elements_are_those_that_pymatgen_finds(tmp_path, dataset):
    (file,) = files(tmp_path, POTCAR=dataset("Ga_d") + dataset("As", 208.7))
    seen = pymatgens(file)
    found = potcar.datasets(file)
    assert [x.titel for x in found] == [single.keywords["TITEL"] for single in seen]
    assert [x.element for x in found] == [single.element for single in seen]


def test_the_hash_is_that_which_a_potcar_carries_in_its_own_lines(tmp_path, dataset):
    text = dataset("Si")
    own = hashlib.sha256(text.encode()).hexdigest()
    head, tail = text.split("   LULTRA", 1)
    (file,) = files(
        tmp_path, POTCAR=f"{head}   SHA256 = {own} Si/POTCAR\n   COPYR  = (c) VASP\n   LULTRA{tail}"
    )
    (found,) = potcar.datasets(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        single = PotcarSingle.from_file(str(file))
    assert found.sha256 == own == single.hash_sha256_from_file == single.sha256_computed_file_hash


def test_the_hash_is_that_of_the_content_wherever_it_stands(tmp_path, dataset):
    text = dataset("Si")
    alone, joined = files(tmp_path, alone=text, joined=dataset("C") + text)
    assert potcar.datasets(alone)[0].sha256 == potcar.datasets(joined)[1].sha256
    assert potcar.datasets(alone)[0].sha256 == hashlib.sha256(text.encode()).hexdigest()
    (changed,) = files(tmp_path, changed=text.replace("   0.0\n", "   0.1\n"))
    assert potcar.datasets(changed)[0].sha256 != potcar.datasets(alone)[0].sha256


def test_a_file_that_is_replaced_is_read_again(tmp_path, dataset):
    (file,) = files(tmp_path, POTCAR=dataset("Si"))
    assert potcar.datasets(file)[0].element == "Si"
    file.write_text(dataset("Ge_d"))
    assert potcar.datasets(file)[0].element == "Ge"


def test_datasets_are_chosen_by_element_in_whatever_file_they_are(tmp_path, dataset, make_dft):
    pseudo = files(tmp_path, one=dataset("O", 400.0), both=dataset("Ga_d") + dataset("As"))
    chosen = potcar.choose(make_dft(dft_style="vasp", pseudo=pseudo), ["As", "O"])
    assert [(element, found.titel.split()[1]) for element, found in chosen.items()] == [
        ("As", "As"),
        ("O", "O"),
    ]


def test_an_element_without_dataset_is_named(tmp_path, dataset, make_dft):
    dft = make_dft(dft_style="vasp", pseudo=files(tmp_path, one=dataset("Si")))
    with pytest.raises(InputError, match=r"no dataset for Ge, O; the files hold Si") as caught:
        potcar.choose(dft, ["Si", "Ge", "O"])
    assert caught.value.key == "dft.pseudo"


def test_two_datasets_for_one_element_are_an_error_that_names_both(tmp_path, dataset, make_dft):
    dft = make_dft(dft_style="vasp", pseudo=files(tmp_path, one=dataset("Fe"), two=dataset("Fe_pv")))
    with pytest.raises(InputError, match=r"two datasets for Fe.*one.*Fe_pv.*two"):
        potcar.choose(dft, ["Fe"])


def test_the_same_dataset_twice_is_none(tmp_path, dataset, make_dft):
    dft = make_dft(
        dft_style="vasp", pseudo=files(tmp_path, one=dataset("Fe"), two=dataset("Fe") + dataset("O"))
    )
    assert sorted(potcar.choose(dft, ["Fe", "O"])) == ["Fe", "O"]


def test_datasets_of_two_functionals_do_not_mix(tmp_path, dataset, make_dft):
    pseudo = files(tmp_path, one=dataset("Si"), two=dataset("C", functional="CA", family="PAW"))
    with pytest.raises(InputError, match=r"different functionals: PE in PAW_PBE Si.*CA in PAW C"):
        potcar.choose(make_dft(dft_style="vasp", pseudo=pseudo), ["Si", "C"])


@pytest.mark.parametrize(
    "text", ["", "no dataset at all\n", " End of Dataset\n", "PAW_PBE Qq 1\n End of Dataset\n"]
)
def test_a_file_that_is_no_potcar_is_told_as_such(tmp_path, make_dft, text):
    pseudo = files(tmp_path, other=text)
    with pytest.raises(InputError, match="other"):
        potcar.choose(make_dft(dft_style="vasp", pseudo=pseudo), ["Si"])


@pytest.mark.parametrize("place", ["POTCAR.Si", "Si/POTCAR"])
def test_without_files_the_folder_of_pymatgen_is_searched(tmp_path, dataset, make_dft, monkeypatch, place):
    file = tmp_path / PotcarSingle.functional_dir["PBE_54"] / place
    file.parent.mkdir(parents=True)
    file.write_text(dataset("Si", 245.345))
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path))
    monkeypatch.setenv("PMG_DEFAULT_FUNCTIONAL", "PBE_54")
    dft = make_dft(dft_style="vasp")
    assert potcar.choose(dft, ["Si"])["Si"].enmax == 245.345
    asked = request_hash(Vasp(), bulk("Si"), dft, None, Task.LABEL)
    file.write_text(dataset("Si", 300.0))
    assert request_hash(Vasp(), bulk("Si"), dft, None, Task.LABEL) != asked, "an older label is not read"
    with pytest.raises(InputError, match=r"no dataset for Cs.*POTCAR\.Cs"):
        potcar.choose(dft, ["Cs"])
    monkeypatch.setenv("PMG_DEFAULT_FUNCTIONAL", "PBX")
    with pytest.raises(InputError, match="'PBX' is none of"):
        potcar.choose(dft, ["Si"])


def test_without_files_and_folder_the_error_tells_what_to_do(make_dft, monkeypatch):
    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)
    monkeypatch.setattr(potcar, "SETTINGS", {})
    with pytest.raises(InputError, match="PMG_VASP_PSP_DIR"):
        potcar.choose(make_dft(dft_style="vasp"), ["Si"])


def test_what_is_written_is_what_pymatgen_reads_in_that_order(tmp_path, dataset, make_dft):
    dft = make_dft(
        dft_style="vasp", pseudo=files(tmp_path, all=dataset("O") + dataset("Fe_pv") + dataset("Si"))
    )
    chosen = potcar.choose(dft, ["Fe", "O"])
    potcar.write(tmp_path / "POTCAR", [chosen["Fe"], chosen["O"]])
    assert pymatgens(tmp_path / "POTCAR").symbols == ["Fe_pv", "O"]


def test_the_record_holds_titles_and_hashes_and_no_content(tmp_path, dataset, make_dft):
    dft = make_dft(dft_style="vasp", pseudo=files(tmp_path, all=dataset("O") + dataset("Fe_pv")))
    chosen = potcar.choose(dft, ["O", "Fe"])
    told = potcar.record(chosen)
    assert list(told) == ["Fe", "O"]
    assert told["Fe"] == {"titel": "PAW_PBE Fe_pv 05Jan2001", "sha256": chosen["Fe"].sha256}
    assert "PSCTR" not in repr(chosen)
