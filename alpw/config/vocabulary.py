"""The vocabulary of AL-PWMLFF (PWact) that ALPW understands, as tables.

Users arrive with the predecessor's input files. Each of its keys is in one of five places: a field of the
models in this package, another spelling of one (``SPELLINGS``), a field of the block below (``MOVED``), a
key without effect here (``NO_EFFECT``, reported as a note), or a feature that this version does not have
(``NOT_AVAILABLE`` and ``CHOICES_NOT_AVAILABLE``, an error). All tables are indexed by section, the dotted
path of the block without list indices, in lower case.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Absent(NamedTuple):
    """A feature of the predecessor that this version does not have."""

    advice: str
    """what to do instead"""
    harmless: tuple[Any, ...] = ()
    """values that ask for nothing, such as ``false``"""


_DEVIATION = {"lower_model_deiv_f": "lower_model_devi_f", "upper_model_deiv_f": "upper_model_devi_f"}

SPELLINGS: dict[str, dict[str, str]] = {
    "strategy": _DEVIATION,
    "explore.sys_configs": _DEVIATION,
    "explore.md_jobs": _DEVIATION,
    "dft": {
        "basis_set_file_name": "basis_set_file",
        "potential_file_name": "potential_file",
    },
    "train": {"init_model_list": "init_models", "model_load_file": "init_models"},
    "train.descriptor": {
        "rmax": "rcut",
        "rmin": "rcut_smth",
        "m2": "axis_neuron",
        "network_size": "neuron",
        "activation_function": "activation",
    },
    "train.descriptor.type_embedding": {"physical_properties": "physical_property"},
    "train.fitting_net": {"network_size": "neuron", "activation_function": "activation"},
}
"""section -> {other spelling: field}"""

HOISTED: dict[str, tuple[str, ...]] = {"train": ("model",)}
"""section -> blocks whose content belongs one level up: ``train.model.descriptor`` is ``train.descriptor``"""

_DFT_KEYS = (
    "dft_style",
    "pseudo",
    "by_element",
    "energy",
    "in_skf",
    "basis_set_file",
    "basis_set_file_name",
    "potential_file",
    "potential_file_name",
    "gaussian_param",
    "method",
    "calculator",
    "arguments",
    "model",
    "stress",
    "max_force",
    "max_silence",
    "allow_physics",
    "reuse_wavefunctions",
    "reuse_labels",
)

MOVED: dict[str, dict[str, str]] = {
    "init_bulk": dict.fromkeys(_DFT_KEYS, "dft"),
    "": dict.fromkeys(("init_model_list", "use_pre_model"), "train"),
    "train": dict.fromkeys(("rmax", "rmin", "m2", "max_neigh_num", "type_embedding"), "descriptor"),
}
"""section -> {key: the block below that it belongs to}, for keys that users write one block higher up"""

ENSEMBLES: dict[str, str] = {
    "nve": "nve",
    "nvt": "nvt",
    "npt": "npt-iso",
    "npt-i": "npt-iso",
    "npt-iso": "npt-iso",
    "npt-a": "npt-aniso",
    "npt-aniso": "npt-aniso",
    "npt-t": "npt-tri",
    "npt-tri": "npt-tri",
}
"""name in the input -> how the pressure acts on the cell"""

_INIT_BULK = "it belongs to init_param.json, which `al_pwmlff init_bulk` takes"
_RUN = "it belongs to param.json, which `al_pwmlff run` takes"
_KEPT = "everything that a campaign makes is kept in its database"
_FEATURE_NETS = "only the NN, LINEAR and NEP models use it"
_FILES = "models and data live in the database, not in files of that name"
_ONE_PROCESS = "each model is trained by one process"
_NO_ATOMIC_ENERGY = "atomic energies are not trained"
_DECAY = "the learning rate decays exponentially to stop_lr over the whole training"

NO_EFFECT: dict[str, dict[str, str]] = {
    "": {
        "record_file": "the progress of a campaign is kept in its database",
        "reserve_feature": _KEPT,
        "data_format": "extxyz and PWdata are recognised by their content",
        "interval": "all frames are used, as in the predecessor",
    },
    "strategy": {
        "md_type": "there is one LAMMPS coupling",
        "lmps_tolerance": "a trajectory that breaks off always keeps its valid frames",
        "base_kpu_max_images": "the predecessor ignores it too",
        "base_kpu_mvm_ratio": "the predecessor ignores it too",
        "direct_script": "frames are chosen by ALPW itself; the script is not run",
    },
    "init_bulk": {"direct_input": "frames are chosen by ALPW itself; the script is not run"},
    "init_bulk.sys_configs": {"direct_input_idx": "there is one way to choose"},
    "train": {
        "recover_train": "an interrupted training always goes on where it stopped",
        "data_shuffle": "training frames are always shuffled, by the seed",
        "valid_shuffle": "the order of validation frames changes nothing",
        "train_valid_ratio": "validation frames are set by valid_data and strategy.validation_frames",
        "chunk_size": "it changed only the predecessor's intermediate files",
        "format": "extxyz and PWdata are recognised by their content",
        "model_num": "the size of the committee is strategy.model_num",
        "workers": _ONE_PROCESS,
        "hvd": _ONE_PROCESS,
        "world_size": _ONE_PROCESS,
        "rank": _ONE_PROCESS,
        "dist_url": _ONE_PROCESS,
        "gpu": _ONE_PROCESS,
        "dist_backend": _ONE_PROCESS,
        "distributed": _ONE_PROCESS,
        "master_addr": _ONE_PROCESS,
        "master_port": _ONE_PROCESS,
        "reduce_loss": _ONE_PROCESS,
        "multiprocessing_distributed": _ONE_PROCESS,
        "batch_max_types": _FEATURE_NETS,
        "save_step": _FILES,
        "max_save_num": _FILES,
        "profiling": "the predecessor ignores it too",
        "is_dfeat_sparse": _FEATURE_NETS,
        "reserve_work_dir": _KEPT,
        "reserve_feature": _KEPT,
        "work_dir": _FILES,
        "model_name": _FILES,
        "model_store_dir": _FILES,
        "forcefield_name": _FILES,
        "forcefield_dir": _FILES,
        "test_dir_name": _FILES,
        "trainsetdir": _FILES,
        "save_p_matrix": "the covariance of a Kalman filter is always kept with its model",
        "type_embedding_net": "the predecessor ignores it too",
        "e_tolerance": "frames are checked when they are read",
        "alive_atomic_energy": _NO_ATOMIC_ENERGY,
    },
    "train.descriptor": {
        "bias": "the embedding nets always have a bias",
    },
    "train.descriptor.type_embedding": dict.fromkeys(
        ("network_size", "bias", "resnet_dt", "activation"),
        "type vectors enter the embedding net as they are, as in the predecessor",
    ),
    "train.fitting_net": {
        "bias": "the fitting net always has a bias",
    },
    "train.optimizer": {
        "print_freq": "every epoch is recorded",
        "start_epoch": "training starts at epoch 1",
        "reset_epoch": "training starts at epoch 1",
        "stop_step": _DECAY,
        "decay_step": _DECAY,
        "momentum": "only the predecessor's SGD uses it",
        "gamma": "only the predecessor's NN models use it",
        "step": "only the predecessor's NN models use it",
        "scheduler": "only the predecessor's NN models use it",
        "scaling_method": _ONE_PROCESS,
        "pre_fac_ei": _NO_ATOMIC_ENERGY,
        "pre_fac_egroup": _NO_ATOMIC_ENERGY,
        "start_pre_fac_ei": _NO_ATOMIC_ENERGY,
        "end_pre_fac_ei": _NO_ATOMIC_ENERGY,
        "start_pre_fac_egroup": _NO_ATOMIC_ENERGY,
        "end_pre_fac_egroup": _NO_ATOMIC_ENERGY,
    },
    "resource.block": {"task_run_num": "the predecessor ignores it too"},
}
"""section -> {key that is accepted: why it changes nothing}"""

_USE_ASE = "use dft_style 'ase' with 'calculator', the import path of an ASE calculator, and its 'arguments'"
_TRAIN_DATA = "give training sets in init_data and validation sets in valid_data"
_DP = "the model is 'DP'"
_RATE = "the learning rate of Adam decays to stop_lr, and nothing else is set"

NOT_AVAILABLE: dict[str, dict[str, Absent]] = {
    "": {
        **{
            key: Absent(_INIT_BULK)
            for key in (
                "sys_configs",
                "sys_config_prefix",
                "relax_input",
                "aimd_input",
                "scf_input",
                "bigmodel_input",
                "direct_input",
                "scf_style",
                "scf_pseudo",
                "scf_max_num",
                "train_valid_ratio",
                "data_shuffle",
            )
        },
        **{
            key: Absent("it belongs into the block 'dft'")
            for key in ("dft_style", "pseudo", "in_skf", "basis_set_file", "potential_file", "gaussian_param")
        },
    },
    "init_bulk": {
        key: Absent(_RUN)
        for key in ("train", "strategy", "explore", "init_data", "valid_data", "record_file")
    },
    "dft": {"bigmodel_script": Absent(_USE_ASE)},
    "train": {
        "feature_type": Absent(f"remove it: {_DP}"),
        "nep_in_file": Absent(f"remove it: {_DP}"),
        "nep_txt_file": Absent(f"remove it: {_DP}"),
        "raw_files": Absent(_TRAIN_DATA, ([],)),
        "datasets_path": Absent(_TRAIN_DATA, ([],)),
        "train_data": Absent(_TRAIN_DATA, ([],)),
        "valid_data": Absent(_TRAIN_DATA, ([],)),
        "test_data": Absent(_TRAIN_DATA, ([],)),
        "train_feature_path": Absent(_TRAIN_DATA, ([],)),
        "valid_feature_path": Absent(_TRAIN_DATA, ([],)),
        "test_feature_path": Absent(_TRAIN_DATA, ([],)),
    },
    "train.descriptor": {
        **{
            key: Absent(f"remove it: {_DP}")
            for key in (
                "cutoff",
                "n_max",
                "basis_size",
                "l_max",
                "zbl",
                "cheby_order",
                "radial_num1",
                "radial_num2",
            )
        },
    },
    "train.optimizer": {
        "train_ei": Absent("remove it: atomic energies are not trained", (False,)),
        "train_egroup": Absent("remove it: group energies are not trained", (False,)),
        **{
            key: Absent(f"remove it: {_RATE}", (None,))
            for key in ("max_norm", "norm_type", "clip_value", "t_0", "t_mult", "lambda_2", "warm_epochs")
        },
        **{
            key: Absent(f"remove it: {_DP}")
            for key in ("lambda_1", "lambda_e", "lambda_f", "lambda_v", "population", "generation")
        },
    },
}
"""section -> {key: what to do instead}"""

NOT_IMPORTED: dict[str, dict[str, str]] = {
    "train": {
        **dict.fromkeys(
            (
                "train_data",
                "valid_data",
                "test_data",
                "datasets_path",
                "raw_files",
                "train_feature_path",
                "valid_feature_path",
                "test_feature_path",
            ),
            "the data of a campaign are init_data and valid_data of param.json",
        ),
        "init_models": "the start models of a campaign are init_model_list of param.json",
        "train_input_file": "a file that is named in param.json names no further one",
    }
}
"""section -> {field that has no effect in a file named by another: why}"""

_USE_DP = "use 'DP'"
_USE_ADAM = "use 'ADAM', 'ADAMW', 'LKF' or 'GKF'"
_CONVERT = "convert the data to extxyz or PWdata"
_USE_CP2K = "use 'vasp', 'pwmat' (also for DFTB), 'cp2k', or 'xtb' for a first look"

CHOICES_NOT_AVAILABLE: dict[str, dict[Any, str]] = {
    "train.model_type": dict.fromkeys(("nn", "linear", "nep", "cheby", "gnn"), _USE_DP),
    "train.optimizer.optimizer": dict.fromkeys(("sgd", "snes"), _USE_ADAM),
    "train.format": dict.fromkeys(
        ("movement", "pwmat/movement", "vasp/outcar", "cp2k/md", "cp2k/scf", "deepmd/npy", "deepmd/raw"),
        _CONVERT,
    ),
    "dft.dft_style": {"bigmodel": _USE_ASE, "skf": _USE_CP2K},
}
"""dotted key -> {value in lower case: what to use instead}"""
