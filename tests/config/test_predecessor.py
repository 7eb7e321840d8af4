"""What users of AL-PWMLFF see when they bring their input files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alpw.config import Param
from alpw.config.explore import Explore, MdJob
from alpw.config.keys import keys_of
from alpw.config.model import Descriptor, FittingNet, TypeEmbedding
from alpw.config.optimizer import Optimizer
from alpw.config.param import Dft, Strategy
from alpw.config.resource import Resource, ResourceBlock
from alpw.config.section import Section
from alpw.config.train import Train
from alpw.config.vocabulary import HOISTED, MOVED, NO_EFFECT, NOT_AVAILABLE, SPELLINGS
from alpw.errors import InputError

Content = dict[str, Any]
Read = Callable[[Content], Param]

PREDECESSOR = {
    Param: (
        "work_dir record_file reserve_work reserve_md_traj reserve_scf_files reserve_feature init_data "
        "valid_data init_data_only_pretrain use_pre_model init_model_list data_format train strategy "
        "explore dft"
    ),
    Strategy: (
        "uncertainty model_num lower_model_deiv_f upper_model_deiv_f lower_model_devi_f "
        "upper_model_devi_f kpu_lower kpu_upper max_select md_type compress compress_order compress_dx "
        "lmps_tolerance direct direct_script base_kpu_max_images base_kpu_mvm_ratio"
    ),
    Explore: ("sys_config_prefix sys_configs lmps_prefix lmps_in md_jobs"),
    MdJob: (
        "sys_idx select_sys ensemble nsteps md_dt trj_freq temps press taut taup neigh_modify mass "
        "merge_traj boundary lmps_in_idx"
    ),
    Dft: (
        "dft_style input kspacing flag_symm pseudo in_skf basis_set_file potential_file gaussian_param "
        "bigmodel_script"
    ),
    Train: (
        "model_type atom_type max_neigh_num seed recover_train data_shuffle valid_shuffle "
        "train_valid_ratio precision chunk_size format model_num workers distributed model optimizer "
        "type_embedding train_input_file save_step max_save_num batch_max_types profiling nep_in_file "
        "nep_txt_file feature_type is_dfeat_sparse hvd world_size rank dist_url gpu dist_backend "
        "master_addr master_port reduce_loss reserve_work_dir reserve_feature work_dir model_load_file "
        "model_name model_store_dir forcefield_name forcefield_dir save_p_matrix test_dir_name raw_files "
        "datasets_path train_data valid_data test_data train_feature_path valid_feature_path "
        "test_feature_path alive_atomic_energy trainsetdir e_tolerance"
    ),
    Descriptor: (
        "rmax rmin m2 network_size type_embedding bias resnet_dt activation cutoff n_max basis_size l_max"
    ),
    TypeEmbedding: ("physical_property network_size bias resnet_dt activation"),
    FittingNet: ("network_size bias resnet_dt activation"),
    Optimizer: (
        "optimizer epochs batch_size print_freq max_norm norm_type clip_value t_0 t_mult lambda_2 "
        "warm_epochs reset_epoch start_epoch weight_decay momentum gamma step scheduler scaling_method "
        "kalman_lambda kalman_nue block_size nselect groupsize p0_weight learning_rate stop_lr stop_step "
        "decay_step train_energy train_force train_ei train_virial train_egroup pre_fac_force "
        "pre_fac_etot pre_fac_ei pre_fac_virial pre_fac_egroup start_pre_fac_force start_pre_fac_etot "
        "start_pre_fac_ei start_pre_fac_virial start_pre_fac_egroup end_pre_fac_force end_pre_fac_etot "
        "end_pre_fac_ei end_pre_fac_virial end_pre_fac_egroup"
    ),
    Resource: ("train explore dft direct scf"),
    ResourceBlock: (
        "command group_size parallel_num number_node gpu_per_node cpu_per_node queue_name custom_flags "
        "source_list module_list env_list task_run_num"
    ),
}


@pytest.mark.parametrize("model", PREDECESSOR, ids=lambda model: model.__name__)
def test_every_key_of_the_predecessor_is_known(model: type[Section]) -> None:
    places = [
        keys_of(model),
        *(table.get(model.section, ()) for table in (SPELLINGS, MOVED, NO_EFFECT, NOT_AVAILABLE, HOISTED)),
    ]
    known = {key for place in places for key in place}
    assert set(PREDECESSOR[model].split()) - known == set()


def test_no_key_is_in_two_tables() -> None:
    for model in PREDECESSOR:
        tables = [
            set(table.get(model.section, ()))
            for table in (SPELLINGS, MOVED, NO_EFFECT, NOT_AVAILABLE, HOISTED)
        ]
        keys = [key for table in (set(keys_of(model)), *tables) for key in table]
        assert len(keys) == len(set(keys)), model


def test_si_pwmat_is_taken_as_it_is(si_pwmat: Content, read: Read) -> None:
    param = read(si_pwmat)
    dft = param.dft
    assert (dft.dft_style, dft.kspacing, dft.flag_symm) == ("pwmat", 0.3, 0)
    assert dft.input is not None and dft.input.name == "scf_etot.input"
    assert [path.name for path in dft.pseudo] == ["Si.SG15.PBE.UPF"]
    assert dft.elements == param.train.atom_type == ["Si"]
    assert not [note for note in param.notes if note.startswith("dft.")]


def test_si_pwmat_with_another_code_has_its_numbers(si_pwmat: Content, read: Read) -> None:
    si_pwmat["dft"]["dft_style"] = "CP2K"
    param = read(si_pwmat)
    # The predecessor loses these three to its lower-casing and trains with 6.0, 0.5 and 16.
    assert (param.train.descriptor.rcut, param.train.descriptor.rcut_smth) == (6.5, 0.6)
    assert param.train.descriptor.axis_neuron == 12
    assert param.train.descriptor.max_neigh_num == 100
    optimizer = param.train.optimizer
    assert (optimizer.optimizer, optimizer.epochs, optimizer.batch_size) == ("LKF", 30, 4)
    assert (optimizer.kalman_lambda, optimizer.kalman_nue, optimizer.block_size) == (0.98, 0.9987, 5120)
    assert (optimizer.pre_fac_force, optimizer.pre_fac_etot, optimizer.train_virial) == (2, 1, False)
    assert param.train.atom_type == ["Si"] and param.train.fitting_net.neuron == [50, 50, 50]
    assert (param.strategy.lower_model_devi_f, param.strategy.upper_model_devi_f) == (0.05, 0.2)
    first = param.explore.md_jobs[0][0]
    frames_per_trajectory = first.nsteps // first.trj_freq + 1
    # Three structures times two temperatures, 101 frames each: 606 frames in iteration 0.
    assert len(first.sys_idx) * len(first.temps) * frames_per_trajectory == 606
    assert [entry.files[0].name for entry in param.explore.sys_configs][:2] == [
        "1_pertub.config",
        "2_pertub.config",
    ]


@pytest.mark.parametrize(
    ("optimizer", "unused"),
    [
        ("LKF", []),
        ("GKF", ["block_size"]),
        ("ADAM", ["block_size", "kalman_lambda", "kalman_nue", "pre_fac_force", "pre_fac_etot"]),
    ],
)
def test_si_pwmat_reports_every_key_without_effect(
    si_pwmat: Content, read: Read, optimizer: str, unused: list[str]
) -> None:
    si_pwmat["train"]["optimizer"]["optimizer"] = optimizer
    si_pwmat["dft"]["dft_style"] = "cp2k"
    notes = read(si_pwmat).notes
    keys = [note.split(": has no effect: ")[0] for note in notes]
    assert sorted(keys) == sorted(
        ["record_file"]
        + [f"train.optimizer.{key}" for key in ("print_freq", *unused)]
        + ["strategy.md_type", "strategy.Compress_order", "strategy.Compress_dx"]
        + ["dft.flag_symm", "dft.pseudo"]
    )


def test_si_vasp_with_fewer_caps_than_structures_is_an_error(si_pwmat: Content, read: Read) -> None:
    # The predecessor ships this mistake in its si_vasp example and raises an IndexError hours later.
    si_pwmat["dft"] = {"dft_style": "xtb"}
    si_pwmat["explore"]["md_jobs"][0][0].update(sys_idx=[1, 2, 3, 4], select_sys=[50, 50])
    with pytest.raises(
        InputError, match=r"md_jobs\[0\]\[0\]\.select_sys: has 2 entries; allowed are 1, or 4"
    ):
        read(si_pwmat)


def test_auag_says_what_this_version_lacks(auag: Content, read: Read) -> None:
    with pytest.raises(InputError) as raised:
        read(auag)
    text = str(raised.value)
    for key in ("train.model_type",):
        assert any(f"json: {key}: " in line and "not available" in line for line in text.splitlines()), key


@pytest.mark.parametrize(
    ("block", "key", "value"),
    [
        ("train", "train_data", ["train.xyz"]),
        ("train", "model_type", "LINEAR"),
        ("dft", "dft_style", "bigmodel"),
        ("dft", "dft_style", "skf"),
    ],
)
def test_absent_features_are_errors_never_silent(
    silicon: Content, read: Read, block: str, key: str, value: object
) -> None:
    silicon[block][key] = value
    with pytest.raises(InputError, match=rf"{block}\.{key}: .*not available in this version; \w+") as raised:
        read(silicon)
    assert len(str(raised.value).splitlines()) == 1


def test_asking_for_the_absence_of_a_feature_is_silent(silicon: Content, read: Read) -> None:
    silicon["strategy"].update(compress=False, direct=False)
    silicon["init_data_only_pretrain"] = False
    silicon["train"].update(model_load_file="", type_embedding=False, test_data=[])
    silicon["explore"]["md_jobs"][0][0].update(merge_traj=False, boundary=True)
    assert read(silicon).notes == []


def test_initial_beside_data_is_reported_as_unused(silicon: Content, read: Read) -> None:
    silicon["init_data"] = "init_bulk/collection/init_config_0/PWdata"
    assert read(silicon).notes == ["initial: has no effect: init_data holds the first data set"]


def test_an_init_bulk_file_is_recognised(silicon: Content, read: Read) -> None:
    silicon["relax_input"] = "etot.input"
    with pytest.raises(
        InputError, match=r"relax_input: not available in this version; it belongs to init_param\.json"
    ):
        read(silicon)
