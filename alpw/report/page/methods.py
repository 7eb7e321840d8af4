"""What a campaign did, in sentences with its numbers, as the methods section of a paper has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

CODES = {"xtb": "tblite", "cp2k": "CP2K", "vasp": "VASP", "pwmat": "PWmat", "ase": "an ASE calculator"}

TRAINERS = {"deepmd": "deepmd-kit", "matpl": "PWMLFF or MatPL"}

OPTIMIZERS = {
    "ADAM": "Adam",
    "ADAMW": "Adam with decaying weights",
    "LKF": "the layer-wise extended Kalman filter (LKF)",
    "GKF": "the extended Kalman filter with one dense covariance (GKF)",
}

DEFINITIONS = {
    "dpgen": "the root mean square distance of the members' forces from their mean",
    "legacy": "the largest distance of a member's force from their mean",
}

DECISIVE = {
    "committee": "The largest deviation at an atom of a frame decides its class.",
    "kpu": "The mean over the atoms of a frame decides its class.",
    "both": "The class of a frame is the worse of two: by the largest deviation at one of its atoms, and by "
    "the mean KPU over them.",
}

Block = Mapping[str, Any]


def number(value: float, digits: int = 3) -> str:
    """A number as text, without an exponent where none is needed."""
    return f"{value:.{digits}g}"


def listed(values: Iterable[Any]) -> str:
    """Values in words: a, b and c."""
    words = [number(value, 5) if isinstance(value, float) else str(value) for value in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "none"


def layers(widths: Sequence[int]) -> str:
    """Widths of the layers of a net, such as 25-50-100."""
    return "-".join(map(str, widths))


def counted(count: int, what: str, plural: str | None = None) -> str:
    """A number with its noun."""
    return f"{count:,} {what if count == 1 else plural or what + 's'}"


def model_sentences(train: Block) -> Iterator[str]:
    """The network and its training."""
    trainer = train.get("trainer", "alpw")
    model = f"The model is a Deep Potential for {listed(train['atom_type'])}"
    if trainer == "deepmd" and train.get("deepmd_input"):
        # What deepmd-kit reads instead of the other keys; these say nothing about the model.
        yield f"{model}, trained by deepmd-kit, from the user's input {train['deepmd_input']}."
        return
    descriptor, fitting = train["descriptor"], train["fitting_net"]
    made = "" if trainer == "alpw" else f" by {TRAINERS.get(trainer, trainer)}"
    yield (
        f"{model} with the smooth two-body embedding descriptor se_e2_a, trained{made} in "
        f"{train.get('precision', 'float64')}: cutoff {number(descriptor['rcut'])} Å, smoothed from "
        f"{number(descriptor['rcut_smth'])} Å, embedding nets of {layers(descriptor['neuron'])} neurons with "
        f"{descriptor['axis_neuron']} axis neurons, fitting nets of {layers(fitting['neuron'])}."
    )
    embedding = descriptor.get("type_embedding")
    if embedding:
        yield f"Elements enter by a type embedding of {embedding.get('tebd_dim')} numbers."
    yield _training(train)


def _training(train: Block) -> str:
    optimizer = train["optimizer"]
    name = optimizer["optimizer"]
    steps, epochs = optimizer.get("steps"), optimizer.get("epochs")
    length = f"{steps:,} steps" if steps else f"{epochs:,} epochs"
    size = counted(optimizer["batch_size"], "frame")
    text = f"Each training takes {length} of {OPTIMIZERS.get(name, name)} with {size} per step"
    if name in ("LKF", "GKF"):
        text += f" (λ = {optimizer['kalman_lambda']:g}, ν = {optimizer['kalman_nue']:g}"
        text += f", blocks of up to {optimizer['block_size']:,} weights)" if name == "LKF" else ")"
    else:
        text += f", the learning rate falling from {optimizer['learning_rate']:g} to {optimizer['stop_lr']:g}"
    trained = [kind for kind in ("energy", "force", "virial") if optimizer.get(f"train_{kind}")]
    start = ", and goes on from the weights of the iteration before" if train.get("use_pre_model") else ""
    return f"{text}, on {listed(_PLURAL[kind] for kind in trained)}{start}."


_PLURAL = {"energy": "energies", "force": "forces", "virial": "virials"}


def reference_sentences(dft: Block, levels: Sequence[Mapping[str, Any]], labels: int) -> Iterator[str]:
    """The code and its level of theory."""
    settings = levels[0]["settings"] if levels else {}
    code = CODES.get(dft["dft_style"], dft["dft_style"])
    version = settings.get("version")
    name = f"{code} {version}" if version and dft["dft_style"] != "ase" else code
    if dft["dft_style"] == "ase" and dft.get("calculator"):
        name = f"the ASE calculator {dft['calculator']}"
    method = settings.get("method") or settings.get("functional")
    at = f" at the level {method}" if method and isinstance(method, str) else ""
    if not labels:
        yield f"Reference energies, forces and virials come from {name}{at}; there is no label yet."
        return
    made = f"were computed with {name}{at}"
    yield f"Reference energies, forces and virials of {counted(labels, 'structure')} {made}."
    computed = [level for level in levels if level["settings"]]
    if len(computed) == 1:
        yield f"All labels have the same settings (SHA-256 {computed[0]['hash'][:12]}…)."


def initial_sentences(param: Block, imported: int) -> Iterator[str]:
    """Where the first data set comes from."""
    initial = param.get("initial")
    if imported:
        yield f"Learning begins with {counted(imported, 'frame')} that had been labelled before."
    elif initial:
        scales = initial.get("scale") or [1.0]
        scaled = "" if scales == [1.0] else f" with cells scaled by {listed(scales)}"
        yield (
            f"Learning begins with {initial['perturb']} perturbed copies of each start structure{scaled}: "
            f"random strains of up to {number(100 * initial['cell_pert_fraction'])} % and displacements of "
            f"{number(initial['atom_pert_distance'])} Å root mean square."
        )


def uncertainty_sentences(strategy: Block) -> Iterator[str]:
    """Measure, thresholds and choice."""
    measure = strategy.get("uncertainty", "committee")
    members = strategy["model_num"]
    committee = (
        f"a committee of {members} models that differ by their first weights and the order of the data; the "
        f"deviation of an atom's force is {DEFINITIONS.get(strategy.get('deviation', ''), 'their spread')}"
    )
    kpu = "the Kalman prediction uncertainty (KPU) of one model's forces, from the covariance of its weights"
    words = {"committee": committee, "kpu": kpu, "both": f"{committee}; beside it {kpu}"}
    yield f"Uncertainty is measured by {words[measure]}. {DECISIVE[measure]}"
    yield from _thresholds(strategy, measure)
    how = {
        "random": "at random",
        "highest": "the most uncertain first",
        "diverse": "by farthest points in the space of the model's own descriptor",
    }
    method = strategy.get("select_method", "random")
    total = strategy.get("max_select_total")
    held = strategy.get("validation_frames")
    text = (
        f"Up to {strategy['max_select']} candidates per block and structure"
        + (f", {total} per iteration," if total else "")
        + f" are labelled in each iteration, chosen {how.get(method, method)} where there are more"
    )
    if held:
        text += f"; {held} further frames are drawn from all that have not failed, labelled and held out"
    yield text + "."


def _thresholds(strategy: Block, measure: str) -> Iterator[str]:
    lower, upper = strategy.get("lower_model_devi_f"), strategy.get("upper_model_devi_f")
    target = strategy.get("target_force_error")
    relative = measure != "committee" and strategy.get("kpu_mode", "relative") == "relative"
    if target:
        yield (
            "Thresholds follow in each iteration from a calibration on fresh labels, so that accepted "
            f"frames have a force error of {number(target)} eV/Å."
        )
        return
    if (measure != "kpu" or not relative) and lower is not None and upper is not None:
        yield (
            f"Below {number(lower)} eV/Å a frame counts as accurate, from {number(upper)} eV/Å on as failed, "
            "between them as a candidate."
        )
    if relative:
        yield (
            f"The interval of KPU is relative: from {number(strategy['kpu_lower'])} times the mean "
            f"at the beginning of the trajectories to {number(strategy['kpu_upper'])} times the "
            "lower bound."
        )


def exploration_sentences(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What dynamics were run, from the runs themselves."""
    done = [run for run in runs if run.get("n_frames")]
    if not done:
        yield (
            "Exploration by molecular dynamics has not begun." if not runs else "No trajectory gave a frame."
        )
        return
    temperatures = sorted({run["temperature"] for run in done if run.get("temperature") is not None})
    pressures = sorted({run["pressure"] for run in done if run.get("pressure") is not None})
    ensembles = sorted({str(run["ensemble"]).upper() for run in done if run.get("ensemble")})
    steps = sorted({run["timestep"] * 1e3 for run in done if run.get("timestep")})
    time = sum((run["n_frames"] - 1) * run.get("stride", 0) * (run.get("timestep") or 0) for run in done)
    text = (
        f"New structures came from {counted(len(done), 'trajectory', 'trajectories')} of LAMMPS, driven by "
        f"the first model: {number(time)} ps and {sum(run['n_frames'] for run in done):,} frames in all"
    )
    if ensembles:
        text += f", {listed(ensembles)}"
    if temperatures:
        text += f" at {_range(temperatures)} K"
    if pressures:
        text += f" and {_range(pressures)} bar"
    if steps:
        text += f", with steps of {listed(number(step) for step in steps)} fs"
    yield text + "."


def _range(values: Sequence[float]) -> str:
    return listed(values) if len(values) <= 6 else f"{number(values[0], 5)} to {number(values[-1], 5)}"


def stopping_sentence(strategy: Block) -> str:
    """When the campaign was to end."""
    ratio = f"{100 * strategy['accurate_ratio']:.4g} %"
    text = f"The campaign converges when {ratio} of the frames of its last stage are accurate"
    error = strategy.get("max_force_rmse") or strategy.get("target_force_error")
    if error:
        text += f" and the force error on labels not seen before is at most {number(error)} eV/Å"
    after = strategy.get("converge_after", 1)
    text += f", {after} iterations in a row" if after > 1 else ""
    budgets = {"max_iterations": "iterations", "max_labels": "labels", "max_core_hours": "core-hours"}
    limits = [f"{strategy[key]:,} {what}" for key, what in budgets.items() if strategy.get(key)]
    return text + (f"; its budget is {listed(limits)}." if limits else ".")
