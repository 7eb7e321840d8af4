"""KPU against one backward pass per force component: CPU time and memory, one thread.

The default network (26651 weights, blocks of 5120) on silicon of 64 and 512 atoms. The peer makes one
differentiable force call, then for every force component a backward pass and its quadratic form g^T P g; a
part of the components is timed and scaled to all. As its quadratic forms could also be taken together at the
end, like ours, that is a second ratio, and derivatives alone against backward passes alone a third. P is not
in memory while the uncertainty is sampled. Each size runs in a process of its own.

python benchmarks/kpu.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import cpu_seconds, peak_memory, run_python, silicon
from torch import Tensor

from alpw.potential import DeepPotential, DeepPotentialConfig
from alpw.potential.covariance import Covariance
from alpw.potential.environment import Environment
from alpw.potential.weights import block_sizes, fingerprint, to_vector
from alpw.uncertainty.jacobian import force_jacobian_chunks
from alpw.uncertainty.kpu import SampledKPU, Samples, exact_kpu
from alpw.uncertainty.linearised import Linearised

DRAWS = 32
TARGETS = {"64": {"exact": 4.0, "sampled": 10.0}, "512": {"exact": 10.0}}


def potential() -> DeepPotential:
    """The default network with a normalisation for silicon."""
    model = DeepPotential(DeepPotentialConfig(elements=("Si",), sel=60))
    with torch.no_grad():
        model.descriptor.dstd.copy_(torch.tensor([[0.12, 0.08, 0.08, 0.08]]))
    return model


def covariance_of(model: DeepPotential) -> Covariance:
    """Correlated weights with standard deviations from 1e-4 to 1."""
    rng = torch.Generator().manual_seed(1)
    factors = []
    for size in block_sizes([parameter.numel() for parameter in model.parameters()], 5120):
        factor = torch.randn(size, size, generator=rng, dtype=torch.float64).div_(size**0.5)
        factor *= torch.logspace(-4, 0, size, dtype=torch.float64)
        factors.append(factor)
    return Covariance(tuple(factors), fingerprint(model), "lkf")


def draws_of(model: DeepPotential, precision: torch.dtype) -> Samples:
    """Draws as cheap to make as possible: their values do not matter for the time."""
    n_weights = sum(parameter.numel() for parameter in model.parameters())
    draws = torch.randn(DRAWS, n_weights, generator=torch.Generator().manual_seed(2), dtype=precision)
    return Samples(draws, fingerprint(model), "lkf", 2)


def brute_force(
    model: DeepPotential, environment: Environment, covariance: Covariance, components: list[int]
) -> tuple[dict[str, float], Tensor]:
    """CPU time of one force call, and per component of backward pass and quadratic form; the variances."""
    parameters = list(model.parameters())
    forces: list[Tensor] = []
    began = cpu_seconds(
        lambda: forces.append(model.evaluate(environment, create_graph=True).forces.flatten())
    )
    gradients: list[Tensor] = []

    def backward() -> None:
        for component in components:
            gradient = torch.autograd.grad(
                forces[0][component], parameters, retain_graph=True, allow_unused=True
            )
            gradients.append(to_vector(gradient, parameters))

    variances: list[Tensor] = []
    backward_seconds = cpu_seconds(backward)
    quadratic_seconds = cpu_seconds(
        lambda: variances.extend(covariance.quadratic(gradient[None]) for gradient in gradients)
    )
    n = len(components)
    seconds = {"call": began, "backward": backward_seconds / n, "quadratic": quadratic_seconds / n}
    return seconds, torch.cat(variances)


def measure(cells: int, n_components: int, repeats: int) -> dict[str, Any]:
    """All timings of one size, in seconds of CPU time; memory in GB."""
    torch.set_num_threads(1)
    model = potential()
    atoms = silicon(1, cells=cells)[0]
    environment = model.environment(model.neighbors(atoms).graph())
    model.evaluate(environment)
    result: dict[str, Any] = {"atoms": len(atoms), "neighbors": len(environment.graph.i) / len(atoms)}
    start = peak_memory()
    result["force_call"] = cpu_seconds(lambda: model.evaluate(environment), 3)
    for precision in ("float64", "float32"):
        sampler = SampledKPU(model, draws_of(model, getattr(torch, precision)))
        result[f"sampled_{precision}"] = cpu_seconds(lambda s=sampler: s.uncertainty(environment), repeats)
    result["sampled_memory"] = peak_memory() - start

    covariance = covariance_of(model)
    start = peak_memory()
    exact = exact_kpu(model, covariance, environment)
    result["exact_float64"] = cpu_seconds(lambda: exact_kpu(model, covariance, environment), repeats)
    result["exact_memory"] = peak_memory() - start

    def derivatives() -> None:
        for _ in force_jacobian_chunks(Linearised(model, environment, torch.float64)):
            pass

    result["derivatives"] = cpu_seconds(derivatives, repeats)
    chosen = np.linspace(0, 3 * len(atoms) - 1, n_components).astype(int).tolist()
    seconds, variances = brute_force(model, environment, covariance, chosen)
    result |= {f"peer_{name}": value for name, value in seconds.items()}
    found = torch.from_numpy(exact.variances.ravel()[chosen])
    result["difference"] = float(((found - variances) / variances).abs().max())

    covariance = covariance.to(dtype=torch.float32)
    rough = exact_kpu(model, covariance, environment)
    result["exact_float32"] = cpu_seconds(lambda: exact_kpu(model, covariance, environment), repeats)
    result["float32_difference"] = float(np.abs(rough.u_force / exact.u_force - 1).max())
    return result


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """How many times faster than the peer."""
    n = 3 * found["atoms"]
    backward = found["peer_call"] + n * found["peer_backward"]
    whole = backward + n * found["peer_quadratic"]
    # The same quadratic forms as ours, in one product of matrices.
    together = backward + found["exact_float64"] - found["derivatives"]
    return {
        "exact": whole / found["exact_float64"],
        "exact_float32": whole / found["exact_float32"],
        "exact_quadratic_together": together / found["exact_float64"],
        "derivatives": backward / found["derivatives"],
        "sampled": whole / found["sampled_float32"],
        "sampled_float64": whole / found["sampled_float64"],
        "sampled_quadratic_together": together / found["sampled_float32"],
    }


def compare(quick: bool) -> dict[str, Any]:
    """Both sizes, one after the other."""
    here = Path(__file__).resolve()
    result: dict[str, Any] = {}
    for cells, components in ((2, 24 if quick else 192), (4, 6 if quick else 48)):
        arguments = ["--cells", str(cells), "--components", str(components)]
        found = run_python(here, [*arguments, "--repeats", "1" if quick else "3"])
        result[str(found["atoms"])] = {**found, "ratios": ratios(found)}
    result["targets"] = TARGETS
    result["targets_met"] = all(
        result[size]["ratios"][name] >= target
        for size, targets in TARGETS.items()
        for name, target in targets.items()
    )
    return result


def report(result: dict[str, Any]) -> str:
    """The table."""
    sizes = [result[size] for size in TARGETS]
    rows = [
        ("one component: backward pass (s)", "peer_backward", "10.4f"),
        ("one component: quadratic form (s)", "peer_quadratic", "10.4f"),
        ("all derivatives, structured (s)", "derivatives", "10.2f"),
        ("exact, float64 (s)", "exact_float64", "10.2f"),
        ("exact, float32 (s)", "exact_float32", "10.2f"),
        (f"sampled, {DRAWS} draws, float64 (s)", "sampled_float64", "10.2f"),
        (f"sampled, {DRAWS} draws, float32 (s)", "sampled_float32", "10.2f"),
        ("memory besides P: exact (GB)", "exact_memory", "10.2f"),
        ("memory, no P: sampled (GB)", "sampled_memory", "10.2f"),
        ("largest difference, exact to peer", "difference", "10.1e"),
        ("largest difference, float32", "float32_difference", "10.1e"),
    ]
    lines = [f"{'':44}" + "".join(f"{size['atoms']:>10}" for size in sizes)]
    lines += [f"{name:44}" + "".join(format(size[key], form) for size in sizes) for name, key, form in rows]
    names = {
        "exact": "exact over peer",
        "exact_float32": "exact, float32, over peer",
        "exact_quadratic_together": "exact over peer with one final product",
        "derivatives": "derivatives over backward passes",
        "sampled": "sampled, float32, over peer",
        "sampled_float64": "sampled, float64, over peer",
        "sampled_quadratic_together": "sampled over peer with one final product",
    }
    lines += [
        f"{name:44}" + "".join(f"{size['ratios'][key]:9.1f}x" for size in sizes)
        for key, name in names.items()
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer components and one repeat")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--cells", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--components", type=int, default=24, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cells:
        print(json.dumps(measure(arguments.cells, arguments.components, arguments.repeats)))
        return
    result = compare(arguments.quick)
    print(json.dumps(result) if arguments.json else report(result))


if __name__ == "__main__":
    main()
