"""Which setting of etot.input may repair what, and which is part of the level of theory.

The SCF lines mix both: ``SCF_ITER0_2 = 94 4 3 1.0 0.025 1`` holds the number of iterations, of line
minimisations, the minimiser and the mixing, which only lead to the answer, and then the smearing and its
kind, which are part of it. They are therefore named one by one, ``etot.input/SCF_ITER0_2/STEPS`` to
``.../SMEARING``.
"""

from __future__ import annotations

import re
from contextlib import suppress

from alpw.codes.corrections import Effect, Rule, Rules, is_numerical
from alpw.codes.pwmat.etot import INPUT, Etot, split_words
from alpw.codes.pwmat.keys import KEYS, flag, number
from alpw.codes.pwmat.report import Report

STRUCTURE = "atom.config"

SCF_PARTS = ("STEPS", "LINES", "MINIMISER", "MIXING", "WIDTH", "SMEARING")
"""What the six numbers of an SCF line are."""

SCF_DEFAULTS = {
    "SCF_ITER0_1": "6 4 3 0.0 0.025 1",
    "SCF_ITER0_2": "94 4 3 1.0 0.025 1",
    "SCF_ITER1_1": "40 4 3 1.0 0.025 1",
}
"""PWmat's own lines: first iterations without mixing, further ones, those of later ionic steps."""

SCF_LINE = re.compile(r"SCF_ITER[01]_\d+")

MOTION = frozenset(
    {
        "IN.EXT_FORCE",
        "IN.MDOPT",
        "IN.RELAXOPT",
        "JOB",
        "MD_DETAIL",
        "MD_INTERACT",
        "MD_SPECIAL",
        "MD_SPECIAL2",
        "MD_SPECIAL3",
        "MD_SPECIAL4",
        "MD_VV_SCALE",
        "NSCALE_VVMD",
        "RANDOM_SEED",
        "RELAX_DETAIL",
        "RELAX_HSE",
        "RELAX_HSEM",
    }
)
"""Keys of ionic motion: they do not change the energy and the forces of a given geometry, so that labels,
relaxations and AIMD of one level of theory have equal settings; but they decide what a run is."""

_ALWAYS = ("label", "relax", "aimd")
_MIXING = "how the density is mixed; the self-consistent one is the same"
_STEPS = "number of SCF iterations; convergence is judged by itself"
_MEMORY = "where wavefunctions are kept"
_OUTPUT = "what is written"

RULES: Rules = {
    f"{INPUT}/NODES": Rule(Effect.NUMERICAL, "distribution of plane waves and k-points over the ranks"),
    f"{INPUT}/NUM_GPU": Rule(Effect.NUMERICAL, "number of accelerators"),
    f"{INPUT}/NUM_MPI_PER_GPU": Rule(Effect.NUMERICAL, "ranks that share an accelerator"),
    f"{INPUT}/NUM_BLOCKED_PSI": Rule(Effect.NUMERICAL, f"{_MEMORY}: blocks of them on the accelerator"),
    f"{INPUT}/WF_STORE2DISK": Rule(Effect.NUMERICAL, f"{_MEMORY}: on disk"),
    f"{INPUT}/WRITE2MEMORY": Rule(Effect.NUMERICAL, f"{_MEMORY}: in memory"),
    f"{INPUT}/HSE_SAVE_CPU_MEMORY": Rule(Effect.NUMERICAL, f"{_MEMORY} with exact exchange"),
    f"{INPUT}/MAX_SCF_ITER": Rule(Effect.NUMERICAL, _STEPS),
    f"{INPUT}/SCF_ITER0": Rule(Effect.NUMERICAL, f"{_STEPS} (older versions)"),
    f"{INPUT}/SCF_ITER1": Rule(Effect.NUMERICAL, f"{_STEPS} (older versions)"),
    **{
        f"{INPUT}/{line}/{part}": Rule(Effect.NUMERICAL, reason)
        for line in (f"SCF_ITER{stage}_{n}" for stage in (0, 1) for n in range(1, 10))
        for part, reason in (
            ("STEPS", _STEPS),
            ("LINES", "line minimisations of the wavefunctions in one iteration"),
            ("MINIMISER", "how wavefunctions are minimised in one iteration"),
            ("MIXING", _MIXING),
        )
    },
    f"{INPUT}/KERK_AMIN": Rule(Effect.NUMERICAL, _MIXING),
    f"{INPUT}/KERK_AMIX": Rule(Effect.NUMERICAL, _MIXING),
    f"{INPUT}/KERK_AMIX_MAG": Rule(Effect.NUMERICAL, _MIXING),
    f"{INPUT}/KERK_BMIX": Rule(Effect.NUMERICAL, _MIXING),
    f"{INPUT}/KERK_BMIX_MAG": Rule(Effect.NUMERICAL, _MIXING),
    f"{INPUT}/PULAY_MIX_OPT": Rule(Effect.NUMERICAL, _MIXING),
    f"{INPUT}/MIN_SCF_ITER": Rule(Effect.NUMERICAL, _STEPS),
    f"{INPUT}/LDAU_MIX": Rule(Effect.NUMERICAL, f"{_MIXING} (occupations of DFT+U)"),
    f"{INPUT}/PULAY_WEIGHT_SPIN": Rule(Effect.NUMERICAL, f"{_MIXING} (weight of the spin density)"),
    f"{INPUT}/PULAY_WEIGHT_NS": Rule(Effect.NUMERICAL, f"{_MIXING} (weight of the occupations of DFT+U)"),
    f"{INPUT}/NMAP_MAX": Rule(Effect.NUMERICAL, "size of a work array"),
    f"{INPUT}/CHARGE_DECOMP": Rule(Effect.NUMERICAL, f"{_OUTPUT}: charges of the atoms"),
    f"{INPUT}/PWSCF": Rule(Effect.NUMERICAL, f"{_OUTPUT}: files for another program"),
    f"{INPUT}/PWSCF_OUTPUT": Rule(Effect.NUMERICAL, f"{_OUTPUT}: files for another program"),
    **{f"{INPUT}/{key}": Rule(Effect.NUMERICAL, _OUTPUT) for key in KEYS if key.startswith("OUT.")},
    **{
        f"{INPUT}/{key}": Rule(Effect.PHYSICS, "how ions move: it decides what a run is", never_in=_ALWAYS)
        for key in MOTION - {"RELAX_DETAIL"}
    },
    f"{INPUT}/RELAX_DETAIL": Rule(
        Effect.PHYSICS,
        "how a relaxation moves; where it ends is judged by its forces",
        harmless_in=("relax",),
        never_in=("label", "aimd"),
    ),
    STRUCTURE: Rule(
        Effect.PHYSICS,
        "the structure; a relaxation may begin elsewhere, a label and AIMD may not",
        harmless_in=("relax",),
        never_in=("label", "aimd"),
    ),
}
"""Key of a setting -> its rule. Smearing, PRECISION, tolerances, cutoffs, k-points, spin and functional are
not
here: they change the physics, and no handler may touch them in a label."""


def scf_lines(etot: Etot, report: Report) -> dict[str, list[str]]:
    """The SCF lines as PWmat uses them: given, else echoed in REPORT, else PWmat's default.

    Lines of the first ionic step (SCF_ITER0) and of later ones (SCF_ITER1) are given or left to PWmat as a
    whole. Where they are left, the smearing is that of the lines that are given, or FERMIDE.

    Returns:
        Key -> six words.
    """
    lines = {key: etot.words(key) for key in etot if SCF_LINE.fullmatch(key)}
    model = lines[max(lines)][4:] if lines else None
    stages = {key[: len("SCF_ITER0")] for key in lines}
    for key, default in SCF_DEFAULTS.items():
        if key[: len("SCF_ITER0")] in stages:
            continue
        words = split_words(report.settings.get(key, ""))
        if len(words) != len(SCF_PARTS):
            words = default.split()
            if model:
                words[4:] = model
            elif "FERMIDE" in etot:
                words[4] = etot.words("FERMIDE")[0]
        lines[key] = words
    return dict(sorted(lines.items()))


def settings_of(etot: Etot, report: Report) -> dict[str, str]:
    """Every setting as ``"etot.input/KEY": value`` in one spelling; SCF lines in parts, defaults included."""
    settings = {f"{INPUT}/NODES": " ".join(map(str, etot.nodes))}
    for key in etot:
        if not SCF_LINE.fullmatch(key):
            settings[f"{INPUT}/{key}"] = canonical(etot.get(key))
    for key, words in scf_lines(etot, report).items():
        for part, word in zip(SCF_PARTS, words, strict=True):
            settings[f"{INPUT}/{key}/{part}"] = canonical(word)
    return settings


def is_level_of_theory(name: str) -> bool:
    """Whether a setting ``etot.input/KEY`` decides the energy and the forces of a given geometry."""
    key = name.removeprefix(f"{INPUT}/")
    return not is_numerical(RULES, name) and key not in MOTION


def canonical(value: str) -> str:
    """A value independent of case, separators and number format; flags become T or F."""
    return " ".join(_canonical_word(word) for word in split_words(value))


def _canonical_word(word: str) -> str:
    for convert in (lambda: f"{number(word):.12g}", lambda: "T" if flag(word) else "F"):
        with suppress(ValueError):
            return convert()
    return word.upper()
