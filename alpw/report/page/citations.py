"""What to cite for a campaign: only what it used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from alpw.report.page.blocks import Entry

DOI, ARXIV = "https://doi.org/", "https://arxiv.org/abs/"

REFERENCES: dict[str, Entry] = {
    "dp": Entry(
        "Deep Potential with the descriptor se_e2_a: L. Zhang et al., End-to-end Symmetry Preserving "
        "Inter-atomic Potential Energy Model for Finite and Extended Systems, NeurIPS 2018, "
        "arXiv:1805.09003.",
        f"{ARXIV}1805.09003",
    ),
    "deepmd": Entry(
        "Formulas and names of the model: J. Zeng et al., DeePMD-kit v2, J. Chem. Phys. 159, 054801 (2023).",
        f"{DOI}10.1063/5.0155600",
    ),
    "dpa1": Entry(
        "Type embedding: D. Zhang et al., DPA-1, npj Comput. Mater. 10, 94 (2024).",
        f"{DOI}10.1038/s41524-024-01278-7",
    ),
    "dpgen": Entry(
        "Concurrent learning with a committee: Y. Zhang et al., DP-GEN, Comput. Phys. Commun. 253, 107206 "
        "(2020).",
        f"{DOI}10.1016/j.cpc.2020.107206",
    ),
    "dpgen_first": Entry(
        "Model deviation: L. Zhang et al., Phys. Rev. Materials 3, 023804 (2019).",
        f"{DOI}10.1103/PhysRevMaterials.3.023804",
    ),
    "rlekf": Entry(
        "Kalman filter training: S. Hu et al., RLEKF, AAAI 2023, arXiv:2212.06989.", f"{ARXIV}2212.06989"
    ),
    "fekf": Entry(
        "Its minibatches: S. Hu et al., Training one DeePMD Model in Minutes: a Step Towards Online "
        "Learning, PPoPP 2024."
    ),
    "kpu": Entry(
        "Kalman prediction uncertainty: H. Li et al., ALKPU: an active learning method for the DeePMD model "
        "with Kalman filter, arXiv:2411.13850 (2024).",
        f"{ARXIV}2411.13850",
    ),
    "conformal": Entry(
        "Bound of the calibration: J. Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018).",
    ),
    "lammps": Entry(
        "Molecular dynamics: A. P. Thompson et al., LAMMPS, Comput. Phys. Commun. 271, 108171 (2022).",
        f"{DOI}10.1016/j.cpc.2021.108171",
    ),
    "xtb1": Entry(
        "GFN1-xTB: S. Grimme, C. Bannwarth, P. Shushkov, J. Chem. Theory Comput. 13, 1989 (2017).",
        f"{DOI}10.1021/acs.jctc.7b00118",
    ),
    "xtb2": Entry(
        "GFN2-xTB: C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019).",
        f"{DOI}10.1021/acs.jctc.8b01176",
    ),
    "cp2k": Entry("CP2K: T. D. Kühne et al., J. Chem. Phys. 152, 194103 (2020).", f"{DOI}10.1063/5.0007045"),
    "vasp": Entry(
        "VASP: G. Kresse, J. Furthmüller, Phys. Rev. B 54, 11169 (1996).",
        f"{DOI}10.1103/PhysRevB.54.11169",
    ),
    "pwmat": Entry(
        "PWmat: W. Jia et al., J. Comput. Phys. 251, 102 (2013).", f"{DOI}10.1016/j.jcp.2013.05.005"
    ),
    "ase": Entry(
        "ASE: A. Hjorth Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017).",
        f"{DOI}10.1088/1361-648X/aa680e",
    ),
    "fireworks": Entry(
        "Workflows: A. Jain et al., FireWorks, Concurrency Computat.: Pract. Exper. 27, 5037 (2015).",
        f"{DOI}10.1002/cpe.3505",
    ),
    "pymatgen": Entry(
        "custodian and pymatgen: S. P. Ong et al., Comput. Mater. Sci. 68, 314 (2013).",
        f"{DOI}10.1016/j.commatsci.2012.10.028",
    ),
}

Param = Mapping[str, Any]


def _train(param: Param) -> Mapping[str, Any]:
    return param.get("train") or {}


def _described(param: Param) -> Mapping[str, Any]:
    """The block ``train``, if it says what is trained; an input of deepmd-kit's own stands for its keys."""
    train = _train(param)
    return {} if train.get("trainer") == "deepmd" and train.get("deepmd_input") else train


def _optimizer(param: Param) -> str:
    return str((_described(param).get("optimizer") or {}).get("optimizer", ""))


def _measure(param: Param) -> str:
    return str((param.get("strategy") or {}).get("uncertainty", ""))


def _codes(param: Param) -> set[str]:
    """Codes that calculate, with the method of xtb."""
    codes = {(param.get("dft") or {}).get("dft_style"), param.get("scf_style")}
    if "xtb" in codes:
        codes.add((param.get("dft") or {}).get("method", "GFN1-xTB"))
    return {code for code in codes if code}


RULES: tuple[tuple[tuple[str, ...], Callable[[Param], bool]], ...] = (
    (("dp", "deepmd"), lambda param: bool(_train(param))),
    (("dpa1",), lambda param: bool((_described(param).get("descriptor") or {}).get("type_embedding"))),
    (("rlekf", "fekf"), lambda param: _optimizer(param) in ("LKF", "GKF")),
    (("dpgen", "dpgen_first"), lambda param: _measure(param) in ("committee", "both")),
    (("kpu",), lambda param: _measure(param) in ("kpu", "both")),
    (("conformal",), lambda param: bool((param.get("strategy") or {}).get("target_force_error"))),
    (("lammps",), lambda param: "explore" in param),
    (("xtb1",), lambda param: "GFN1-xTB" in _codes(param)),
    (("xtb2",), lambda param: "GFN2-xTB" in _codes(param)),
    (("cp2k",), lambda param: "cp2k" in _codes(param)),
    (("vasp",), lambda param: "vasp" in _codes(param)),
    (("pwmat",), lambda param: "pwmat" in _codes(param)),
    (("fireworks", "pymatgen", "ase"), lambda param: True),
)
"""References, and whether a campaign with these parameters used what they describe."""


def citations(param: Param) -> Iterator[Entry]:
    """The references of a campaign.

    Args:
        param: its resolved parameters.
    """
    for names, used in RULES:
        if used(param):
            yield from (REFERENCES[name] for name in names)
