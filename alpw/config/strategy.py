"""The block ``strategy`` of param.json: what is uncertain, what is labelled, and when it is enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, model_validator

from alpw.config.section import Problem, Section, choices, folder_of, setting

Level = Annotated[float, Field(gt=0)]
Threshold = Annotated[float | None, Field(gt=0)]

COMMITTEE, KPU, BOTH = "committee", "kpu", "both"

UPPER_ERROR_FACTOR = 5.0
"""default of ``upper_force_error``, in units of ``target_force_error``"""


LOWER = setting(
    None, meaning="from this force deviation on a frame is a candidate (also lower_model_deiv_f)", unit="eV/Å"
)
UPPER = setting(
    None, meaning="from this force deviation on a frame is not trusted (also upper_model_deiv_f)", unit="eV/Å"
)
TARGET = setting(
    None,
    meaning="calibrated thresholds: force error that accurate frames shall have on the whole; absent: not",
    unit="eV/Å",
)
OVERRIDES = ("lower_model_devi_f", "upper_model_devi_f", "target_force_error")
"""thresholds that an entry of ``sys_configs`` and a block of ``md_jobs`` may have of their own"""


class Strategy(Section):
    """How uncertain frames are chosen, and when a campaign is finished."""

    section: ClassVar[str] = "strategy"

    uncertainty: Annotated[Literal["committee", "kpu", "both"], choices(COMMITTEE, KPU, BOTH)] = setting(
        "committee",
        meaning=(
            "measure of uncertainty: spread of a committee, Kalman prediction uncertainty of one "
            "model, or both"
        ),
    )
    model_num: int = setting(4, meaning="members of the committee; kpu has one model", ge=1, le=100)
    lower_model_devi_f: Threshold = LOWER
    upper_model_devi_f: Threshold = UPPER
    target_force_error: Threshold = TARGET
    upper_force_error: Threshold = setting(
        None,
        meaning=(
            "calibrated thresholds: expected force error of a frame that is not trusted; absent: five targets"
        ),
        unit="eV/Å",
    )
    lower_model_devi_e: Threshold = setting(
        None,
        meaning="a committee's energy deviation that makes a candidate as well; absent: none",
        unit="eV/atom",
    )
    upper_model_devi_e: Threshold = setting(
        None, meaning="a committee's energy deviation that is not trusted; absent: any is", unit="eV/atom"
    )
    lower_model_devi_v: Threshold = setting(
        None,
        meaning="a committee's virial deviation that makes a candidate as well; absent: none",
        unit="eV/atom",
    )
    upper_model_devi_v: Threshold = setting(
        None, meaning="a committee's virial deviation that is not trusted; absent: any is", unit="eV/atom"
    )
    kpu_mode: Annotated[Literal["relative", "absolute"], choices("relative", "absolute")] = setting(
        "relative",
        meaning=(
            "thresholds of KPU without target_force_error: relative, kpu_lower and kpu_upper times "
            "its value at "
            "the beginning of the trajectories; absolute, lower_model_devi_f and upper_model_devi_f"
        ),
    )
    kpu_lower: Level = setting(5.0, meaning="relative KPU: lower threshold by the value at the beginning")
    kpu_upper: Level = setting(10.0, meaning="relative KPU: upper threshold by the lower one")
    kpu_draws: int = setting(64, meaning="draws of the weights from which KPU is computed", ge=8, le=4096)
    max_select: int = setting(100, meaning="largest number of frames labelled per block and structure", ge=1)
    max_select_total: int | None = setting(
        None,
        meaning="largest number of frames labelled per iteration, without validation; absent: no limit",
        ge=1,
    )
    select_method: Annotated[
        Literal["random", "highest", "diverse"], choices("random", "highest", "diverse")
    ] = setting(
        "random",
        meaning=(
            "candidates that are taken where there are too many: random; highest, the most "
            "uncertain; diverse, "
            "those whose atoms' surroundings are farthest from each other and from the training set"
        ),
    )
    direct: bool = setting(False, meaning="true is another name of select_method diverse")
    strata: int = setting(
        1, meaning="draw candidates evenly from so many equal parts of the interval of their deviation", ge=1
    )
    min_feature_distance: float = setting(
        0.0,
        meaning=(
            "a frame that is closer to a training frame, or to one that is taken, is a duplicate; in "
            "units of the "
            "spread of the descriptors of both and of the candidates"
        ),
        ge=0,
    )
    min_distance: dict[str, Level] = setting(
        {},
        meaning='smallest distances by pair of elements, such as {"Si-O": 1.2}; a frame below is left',
        unit="Å",
    )
    volume_range: list[Level] | None = setting(
        None,
        meaning="smallest and largest volume per atom; a frame outside is left",
        unit="Å^3",
        min_length=2,
        max_length=2,
    )
    max_force: Threshold = setting(
        None,
        meaning="a frame in which the model gives an atom a larger force is left; absent: any",
        unit="eV/Å",
    )
    accurate_ratio: float = setting(
        0.95, meaning="converged when this part of the explored frames is accurate", gt=0, le=1
    )
    max_force_rmse: Threshold = setting(
        None,
        meaning=(
            "converged when the force error of the models on labels that they have not seen is not "
            "larger either; "
            "absent: target_force_error, without it not asked"
        ),
        unit="eV/Å",
    )
    converge_after: int = setting(1, meaning="so many iterations in a row must have converged", ge=1)
    max_iterations: int | None = setting(
        None, meaning="largest number of iterations; absent: one per entry of md_jobs", ge=1
    )
    max_labels: int | None = setting(
        None, meaning="no iteration is begun with so many labels or more; absent: no limit", ge=1
    )
    max_core_hours: Threshold = setting(
        None, meaning="no iteration is begun after so many core-hours; absent: no limit", unit="h"
    )
    validation_frames: int = setting(
        4, meaning="frames per iteration drawn at random, labelled and held out of training", ge=0
    )
    quorum: float = setting(
        1.0,
        meaning=(
            "part of an iteration's labels that the next one waits for; what comes later is trained on later"
        ),
        gt=0,
        le=1,
    )
    max_failed_ratio: float = setting(
        0.5, meaning="a campaign stalls when a larger part of an iteration's labels failed", ge=0, le=1
    )
    final_factor: float = setting(
        1.0, meaning="the last training is longer than the others by this factor", ge=1, le=1000
    )
    final_everything: bool = setting(
        False, meaning="the last training uses the held-out frames as well; its error is then not measured"
    )
    deviation: Annotated[Literal["dpgen", "legacy"], choices("dpgen", "legacy")] = setting(
        "dpgen",
        meaning=(
            "force deviation of an atom over the models: dpgen, the root mean square distance from the mean "
            "force; legacy, the largest distance"
        ),
    )
    stop_after: int | None = setting(
        None,
        meaning="end a trajectory after so many frames in a row above the upper threshold; absent: never",
        ge=1,
    )
    compress: bool = setting(False, meaning="explore with models whose embedding nets are tables")
    compress_order: Literal[3, 5] = setting(5, meaning="order of the polynomials of these tables")
    compress_dx: float = setting(0.01, meaning="spacing of these tables in the scaled s", ge=1e-4, le=1)

    @model_validator(mode="before")
    @classmethod
    def _one_model(cls, value: Any, info: ValidationInfo) -> Any:
        """KPU needs no committee, whatever its size would be."""
        kpu = isinstance(value, dict) and str(value.get("uncertainty")).strip().lower() == KPU
        return {**value, "model_num": 1} if kpu and folder_of(info) else value

    @property
    def choice(self) -> str:
        """How frames are chosen where there are too many: ``random``, ``highest`` or ``diverse``."""
        return "diverse" if self.direct else self.select_method

    @property
    def has_committee(self) -> bool:
        """Whether the spread of several models is measured."""
        return self.uncertainty != KPU

    @property
    def has_kpu(self) -> bool:
        """Whether the Kalman prediction uncertainty of the first model is measured."""
        return self.uncertainty != COMMITTEE

    def problems(self) -> Iterator[Problem]:
        for kind in "fev":
            yield from in_order(self, f"lower_model_devi_{kind}", f"upper_model_devi_{kind}")
        if self.has_committee and self.model_num < 3:
            yield Problem(("model_num",), f"{self.model_num}; a committee has 3 members or more")
        yield from self._missing_thresholds()
        if self.kpu_upper <= 1:
            text = f"{self.kpu_upper:g} must be above 1: it multiplies the lower threshold"
            yield Problem(("kpu_upper",), text)
        if self.upper_force_error is not None:
            if self.target_force_error is None:
                yield Problem(("upper_force_error",), "it needs target_force_error")
            elif self.upper_force_error <= self.target_force_error:
                text = f"{self.upper_force_error:g} must be larger than target_force_error"
                yield Problem(("upper_force_error",), text)
        if self.has_kpu and self.compress:
            yield Problem(("compress",), "KPU needs the weights of the embedding nets; set it to false")
        if self.direct and self.select_method != "diverse" and "select_method" in self.model_fields_set:
            yield Problem(("direct",), f"means 'diverse', and select_method is {self.select_method!r}")
        if self.volume_range and self.volume_range[0] >= self.volume_range[1]:
            yield Problem(
                ("volume_range",), f"{self.volume_range}: the first must be smaller than the second"
            )
        for pair in self.min_distance:
            if len(pair.split("-")) != 2:
                yield Problem(("min_distance", pair), "a pair is written with a hyphen, such as Si-O")

    def _missing_thresholds(self) -> Iterator[Problem]:
        """Absolute thresholds are needed by whatever has no other rule."""
        absolute = self.has_committee or self.kpu_mode == "absolute"
        if self.target_force_error is None and absolute:
            for key in ("lower_model_devi_f", "upper_model_devi_f"):
                if getattr(self, key) is None:
                    yield Problem(
                        (key,), "required; or give target_force_error, from which thresholds follow"
                    )

    def remarks(self) -> Iterator[Problem]:
        unused: dict[str, tuple[bool, str]] = {
            **dict.fromkeys(("compress_order", "compress_dx"), (not self.compress, "compress is not true")),
            **dict.fromkeys(
                ("kpu_mode", "kpu_lower", "kpu_upper", "kpu_draws"),
                (not self.has_kpu, "uncertainty is committee"),
            ),
            **dict.fromkeys(
                (
                    "lower_model_devi_e",
                    "upper_model_devi_e",
                    "lower_model_devi_v",
                    "upper_model_devi_v",
                    "deviation",
                ),
                (not self.has_committee, "uncertainty is kpu"),
            ),
        }
        for key, (useless, why) in unused.items():
            if useless and key in self.model_fields_set:
                yield Problem((key,), f"has no effect: {why}")


def in_order(section: Section, lower: str, upper: str) -> Iterator[Problem]:
    """The problem of a lower threshold that is not below its upper one."""
    low, high = getattr(section, lower), getattr(section, upper)
    if low is not None and high is not None and low >= high:
        unit = "eV/Å" if lower.endswith("_f") else "eV/atom"
        yield Problem((lower,), f"{low} must be smaller than the upper threshold {high} ({unit})")


def override(strategy: Strategy, *sections: Section) -> dict[str, float | None]:
    """Thresholds as the strategy has them, with what more special blocks say instead.

    Args:
        strategy: of the campaign.
        sections: blocks with the fields `OVERRIDES`, from the more general to the more special; one that
            names a target is calibrated, one that names absolute thresholds alone is not.
    """
    found = {key: getattr(strategy, key) for key in OVERRIDES}
    for section in sections:
        given = {key: getattr(section, key) for key in OVERRIDES}
        said = {key: value for key, value in given.items() if value is not None}
        if said and "target_force_error" not in said:
            found["target_force_error"] = None
        found |= said
    return found
