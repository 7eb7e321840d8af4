"""The block ``train`` of param.json: the Deep Potential and how it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from ase.data import atomic_numbers, chemical_symbols
from pydantic import BeforeValidator

from alpw.config.model import Descriptor, FittingNet
from alpw.config.optimizer import Optimizer
from alpw.config.section import InputFile, Problem, Section, choices, setting


def _symbol(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < len(chemical_symbols):
        return chemical_symbols[value]
    if isinstance(value, str) and atomic_numbers.get(value.strip().capitalize(), 0) > 0:
        return value.strip().capitalize()
    raise ValueError(f"{value!r} is not an element; give its symbol or its atomic number")


def _without_blanks(value: Any) -> Any:
    # The predecessor writes "" and null for no file.
    return [entry for entry in value if entry not in ("", None)] if isinstance(value, list) else value or []


Element = Annotated[str, BeforeValidator(_symbol)]


class Train(Section):
    """The block ``train``; the predecessor's ``model.descriptor`` and ``model.fitting_net`` are the same."""

    section: ClassVar[str] = "train"
    imports: ClassVar[str] = "train_input_file"

    train_input_file: InputFile | None = setting(
        None, meaning="train json of PWMLFF or MatPL with further keys of this block; those given here win"
    )
    trainer: Annotated[Literal["alpw", "deepmd", "matpl"], choices("alpw", "deepmd", "matpl")] = setting(
        "alpw",
        meaning=(
            "who trains and explores: alpw, this program; deepmd, deepmd-kit; matpl, PWMLFF or MatPL; the "
            "last two by the commands of resource.json"
        ),
    )
    deepmd_input: InputFile | None = setting(
        None, meaning="input of `dp train` that trainer deepmd takes instead of the keys of this block"
    )
    model_type: Annotated[Literal["DP"], choices("DP")] = setting("DP", meaning="kind of model")
    atom_type: list[Element] = setting(
        meaning="elements by symbol or atomic number; their order is the order of the model's types",
        min_length=1,
    )
    descriptor: Descriptor = setting(Descriptor(), meaning="descriptor block")
    fitting_net: FittingNet = setting(FittingNet(), meaning="fitting net block")
    optimizer: Optimizer = setting(Optimizer(), meaning="optimizer block")
    precision: Annotated[Literal["float64", "float32"], choices("float64", "float32")] = setting(
        "float64", meaning="floating point type of the model"
    )
    seed: int = setting(
        None, meaning="seed of initial weights and shuffling; absent: the seed of the campaign", ge=0
    )
    init_models: Annotated[list[InputFile], BeforeValidator(_without_blanks)] = setting(
        [], meaning="models whose weights the first training starts from, one per member of the committee"
    )
    use_pre_model: bool = setting(
        True, meaning="each member starts from its own weights of the iteration before; false: from scratch"
    )
    together: bool = setting(False, meaning="true: one process trains all members of the committee at once")
    threads: int = setting(1, meaning="threads of one training", ge=1)

    def problems(self) -> Iterator[Problem]:
        if self.together and self.trainer != "alpw":
            text = f"trainer '{self.trainer}' trains each member by itself; remove it"
            yield Problem(("together",), text)
        if len(set(self.atom_type)) < len(self.atom_type):
            yield Problem(("atom_type",), f"{self.atom_type} names an element twice")
        sel = self.descriptor.sel
        if sel is not None and len(sel) not in (1, len(self.atom_type)):
            n = len(self.atom_type)
            text = f"has {len(sel)} entries; allowed are 1, or {n} as in atom_type"
            yield Problem(("descriptor", "sel"), text)
        one, other = self.descriptor.activation, self.fitting_net.activation
        if one != other:
            text = (
                f"'{other}' differs from '{one}' of the descriptor; all nets have one, give it in both blocks"
            )
            yield Problem(("fitting_net", "activation"), text)

    def remarks(self) -> Iterator[Problem]:
        for key in ("descriptor", "optimizer"):
            for loc, message in getattr(self, key).remarks():
                yield Problem((key, *loc), message)
