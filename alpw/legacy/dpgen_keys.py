"""The keys of ``dpgen run``: what is the same here, what has no counterpart, and why.

Names and meanings are those of DP-GEN's documentation, https://docs.deepmodeling.com/projects/dpgen.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Missing(NamedTuple):
    """A key without a counterpart."""

    text: str
    """why, or what happens here instead"""
    todo: str = ""
    """what the user can do about it"""
    harmless: tuple[Any, ...] = ()
    """values that ask for nothing"""


RECOGNISED = frozenset({"type_map", "model_devi_jobs", "fp_style", "default_training_param", "numb_models"})
"""Keys by which a param.json of ``dpgen run`` is known; two of them do."""

SAME: dict[str, tuple[str, str]] = {
    "type_map": ("train.atom_type", "the order of the types is kept"),
    "numb_models": ("strategy.model_num", ""),
    "dp_compress": ("strategy.compress", ""),
    "ratio_failed": ("strategy.max_failed_ratio", "more failed labels stall the campaign; an error there"),
}
"""key -> our key with the same value, and a remark"""

JOB_SAME: dict[str, tuple[str, str]] = {
    "temps": ("temps", "K"),
    "press": ("press", "bar"),
    "nsteps": ("nsteps", ""),
    "trj_freq": ("trj_freq", ""),
    "taut": ("taut", "ps"),
    "taup": ("taup", "ps"),
    "neidelay": ("neigh_modify", ""),
}
"""The same of an entry of ``model_devi_jobs`` and a block of ``explore.md_jobs``; units are the same too."""

ENSEMBLES = {"nvt-i": "nvt", "nvt-iso": "nvt", "nvt-a": "nvt", "nvt-aniso": "nvt"}
"""Names of ensembles that are others here; all others are the same."""

CODES = {"vasp": "vasp", "cp2k": "cp2k", "pwmat": "pwmat"}
"""fp_style -> dft_style"""

_CALIBRATED = "strategy.target_force_error derives thresholds from a calibration on fresh labels"
_TEMPLATE = (
    "its variables are replaced by DP-GEN",
    "write a LAMMPS input of its own for explore.lmps_in and name it by lmps_in_idx (docs/exploration.md)",
)
_GAUSSIAN = ("labels of clusters are for codes that this version does not have", "", (False, None))
BATCH = "each composition is a system of its own here, so that sizes by system have no meaning"
_TOGETHER = "the frames of a trajectory are together anyway"
_REUSE = "a later training has the length, the rate and the weights of the first"

MISSING: dict[str, Missing] = {
    "use_ele_temp": Missing("models have no electronic temperature", "remove those frames", (0,)),
    "training_iter0_model_path": Missing(
        "checkpoints of deepmd-kit in folders are no start here",
        "name frozen models, one per member, as train.init_models",
        ([], None),
    ),
    "training_reuse_old_ratio": Missing("every frame is drawn equally often", "", (None,)),
    "training_reuse_numb_steps": Missing(_REUSE, "shorten numb_steps if later trainings may be shorter"),
    "training_reuse_stop_batch": Missing(_REUSE, "shorten numb_steps if later trainings may be shorter"),
    "training_reuse_start_lr": Missing(_REUSE),
    "training_reuse_decay_steps": Missing(_REUSE),
    "training_reuse_start_pref_e": Missing(_REUSE),
    "training_reuse_start_pref_f": Missing(_REUSE),
    "dp_train_skip_neighbor_stat": Missing("the statistic of neighbours is always made", "", (False,)),
    "model_devi_activation_func": Missing("all members of a committee have one activation", "", (None,)),
    "srtab_file_path": Missing("there are no tables of short-range pairs", "", (None, "")),
    "one_h5": Missing("the training data of a member are written as folders", "", (False,)),
    "train_backend": Missing("the command decides", "give `dp --pt` as train.command for PyTorch"),
    "model_devi_merge_traj": Missing(_TOGETHER, "", (False,)),
    "model_devi_skip": Missing(
        "frames are not left out by their place in a trajectory", "start from relaxed structures", (0,)
    ),
    "model_devi_nopbc": Missing("the cell is periodic in every direction", "add vacuum", (False,)),
    "model_devi_plumed": Missing("PLUMED is not run", "use a LAMMPS input of your own", (False,)),
    "model_devi_plumed_path": Missing("PLUMED is not run", "", (False, "", None)),
    "model_devi_adapt_trust_lo": Missing("thresholds are not drawn from counts", _CALIBRATED, (False, None)),
    "model_devi_numb_candi_f": Missing("thresholds are not drawn from counts", _CALIBRATED),
    "model_devi_numb_candi_v": Missing("thresholds are not drawn from counts", _CALIBRATED),
    "model_devi_perc_candi_f": Missing("thresholds are not drawn from counts", _CALIBRATED),
    "model_devi_perc_candi_v": Missing("thresholds are not drawn from counts", _CALIBRATED),
    "model_devi_f_avg_relative": Missing("deviations are absolute", _CALIBRATED, (False, None)),
    "use_relative": Missing("deviations are absolute", _CALIBRATED, (False, None)),
    "use_relative_v": Missing("deviations are absolute", _CALIBRATED, (False, None)),
    "epsilon": Missing("deviations are absolute"),
    "epsilon_v": Missing("deviations are absolute"),
    "model_devi_e_trust_lo": Missing("DP-GEN does not select by it", "", (1e10,)),
    "model_devi_e_trust_hi": Missing("DP-GEN does not select by it", "", (1e10,)),
    "shuffle_poscar": Missing(
        "atoms keep their places",
        "init_bulk's `swap` makes copies in which elements have changed places",
        (False,),
    ),
    "fp_task_min": Missing("an iteration with few labels is trained on like any other", "", (0, 1)),
    "fp_accurate_threshold": Missing(
        "labels are made of every candidate, however few there are",
        "strategy.accurate_ratio says when a campaign has converged",
    ),
    "fp_accurate_soft_threshold": Missing("labels are made of every candidate, however few there are"),
    "detailed_report_make_fp": Missing("every frame's class is kept in the database"),
    "fp_aniso_kspacing": Missing(
        "one spacing holds in all directions", "give a KPOINTS file beside the INCAR"
    ),
    "cvasp": Missing("VASP always runs with handlers of its errors"),
    "fp_skip_bad_box": Missing(
        "cells are not judged by the ratios of their edges",
        "strategy.volume_range and min_distance leave out unphysical frames",
        (None, ""),
    ),
    "fp_cluster_vacuum": Missing(*_GAUSSIAN),
    "use_clusters": Missing(*_GAUSSIAN),
    "cluster_cutoff": Missing(*_GAUSSIAN),
    "cluster_cutoff_hard": Missing(*_GAUSSIAN),
    "cluster_minify": Missing(*_GAUSSIAN),
    "fp_orb_files": Missing("orbitals of ABACUS; no code here takes them"),
    "fp_kpt_file": Missing("k-points of ABACUS; no code here takes them"),
    "fp_dpks_descriptor": Missing("DeePKS; no code here takes it"),
    "k_points": Missing("k-points of ABACUS; no code here takes them"),
}
"""key of param.json -> why it has no counterpart"""

JOB_MISSING: dict[str, Missing] = {
    "merge_traj": Missing(_TOGETHER, "", (False,)),
    "template": Missing(*_TEMPLATE),
    "rev_mat": Missing(*_TEMPLATE),
    "sys_rev_mat": Missing(*_TEMPLATE),
    "model_devi_v_trust_lo": Missing(
        "a block has no threshold of the virial", "give it in strategy", (1e10,)
    ),
    "model_devi_v_trust_hi": Missing(
        "a block has no threshold of the virial", "give it in strategy", (1e10,)
    ),
    "ele_temp": Missing("models have no electronic temperature"),
    "nbeads": Missing("there is no path-integral dynamics"),
}
"""The same of an entry of ``model_devi_jobs``."""

UNKNOWN = "not known as a key of `dpgen run`"

RESOURCES: dict[str, tuple[str, str]] = {
    "number_node": ("number_node", ""),
    "cpu_per_node": ("cpu_per_node", "tasks per node"),
    "gpu_per_node": ("gpu_per_node", ""),
    "group_size": ("group_size", "calculations per job, one after the other"),
    "para_deg": ("parallel_num", "calculations of a job at the same time"),
    "custom_flags": ("custom_flags", ""),
    "source_list": ("source_list", ""),
    "module_list": ("module_list", ""),
    "numb_node": ("number_node", ""),
    "numb_gpu": ("gpu_per_node", ""),
    "task_per_node": ("cpu_per_node", "tasks per node"),
}
"""key of a block ``resources`` of machine.json -> key of a block of resource.json; old spellings too"""

MACHINE_MISSING: dict[str, Missing] = {
    "machine.local_root": Missing("calculations run in work_dir of param.json"),
    "machine.remote_root": Missing("calculations run in work_dir of param.json"),
    "machine.work_path": Missing("calculations run in work_dir of param.json"),
    "machine.clean_asynchronously": Missing("files stay where they were made", "", (False,)),
    "machine.retry_count": Missing("what is tried again goes by the class of the failure"),
    "resources.wait_time": Missing("jobs are sent as the limits of the block allow", "", (0,)),
    "resources.append_script": Missing("nothing runs behind the calculations of a job", "", ([], None)),
    "resources.prepend_text": Missing("use env_list", "", ("", None)),
    "resources.exclude_list": Missing("there is no queue that it is for", "", ([],)),
    "resources.with_mpi": Missing("the command says how it is started", "begin it with srun or mpirun"),
    "resources.allow_failure": Missing("failures are judged by their class"),
    "resources.kwargs": Missing("options of the dispatcher", "", ({}, None)),
    "resources.strategy": Missing(
        "how the dispatcher shares graphics cards within a job", "", ({}, None, False)
    ),
    "user_forward_files": Missing("all files are on one file system", "", ([],)),
    "user_backward_files": Missing("all files are on one file system", "", ([],)),
}
"""key of an entry of machine.json, below ``train``, ``model_devi`` or ``fp`` -> why it has no counterpart"""

SLURM = frozenset({"slurm", "slurmjobarray"})
LOCAL = frozenset({"shell", "distributedshell"})

BLOCKS = {"train": "train", "model_devi": "explore", "fp": "dft"}
"""Stage of machine.json -> block of resource.json."""
