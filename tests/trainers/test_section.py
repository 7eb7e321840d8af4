"""From the input files to a network, its training and its frames."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from alpw.config import Optimizer, Train, load_train
from alpw.config.keys import translate
from alpw.errors import InputError
from alpw.formats import write_extxyz, write_pwdata
from alpw.potential import DeepPotential, DeepPotentialConfig, TrainingOptions, train
from alpw.structures.frame import Label, LabelledFrame
from alpw.trainers.section import longer, model_config, read_frames, training_options


def section(tmp_path, **keys: Any) -> Train:
    """A train block as a user writes it."""
    content, found = translate(Train, {"atom_type": ["Si"], "seed": 1, **keys}, tmp_path / "param.json")
    assert found.problems == []
    return Train.model_validate(content)


def silicon(n: int, seed: int = 0) -> list[LabelledFrame]:
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.05, rng=rng)
        frames.append(LabelledFrame(atoms, Label(-40.0, rng.normal(size=(8, 3)), None)))
    return frames


def test_a_longer_training_has_more_epochs_or_steps_and_nobody_to_stop_it_by_trained_frames(tmp_path):
    optimizer = {"epochs": 3, "steps": 10, "patience": 2}
    block = section(tmp_path, optimizer=optimizer)
    found = training_options(longer(block, 2.5), 1)
    assert (found.epochs, found.steps, found.patience) == (8, 25, 2)
    assert training_options(longer(block, 1.0), 1) == training_options(block, 1)
    assert longer(block, 1.0, held_out=False).optimizer.patience is None


class TestNetwork:
    def test_defaults_are_those_of_the_model(self, tmp_path):
        assert model_config(section(tmp_path), 1) == DeepPotentialConfig(("Si",))

    def test_every_setting_arrives(self, tmp_path):
        block = section(
            tmp_path,
            atom_type=["Ge", "Si"],
            precision="float32",
            descriptor={
                "rcut": 5.0,
                "rcut_smth": 1.0,
                "neuron": [8, 16],
                "axis_neuron": 4,
                "resnet_dt": True,
                "activation": "gelu",
                "type_one_side": True,
                "sel": [30, 40],
                "type_embedding": {"kind": "learned", "tebd_dim": 3, "physical_property": ["pauling"]},
            },
            fitting_net={"neuron": [20, 30], "resnet_dt": False, "activation": "gelu"},
        )
        found = model_config(block, 7)
        default = DeepPotentialConfig(("Si",))
        # Only models that deepmd-kit made subtract a mean.
        for entry in (entry for entry in fields(DeepPotentialConfig) if entry.name != "set_davg_zero"):
            assert getattr(found, entry.name) != getattr(default, entry.name), entry.name
        assert found.elements == ("Ge", "Si") and found.seed == 7

    @pytest.mark.parametrize("kind", ["physical", "learned"])
    def test_a_type_embedding_makes_a_model(self, tmp_path, kind):
        block = section(tmp_path, atom_type=["Ge", "Si"], type_embedding=kind)
        model = DeepPotential(model_config(block, 1))
        assert len(model.fitting) == 1
        length = {"physical": 5, "learned": 8}[kind]
        assert model.descriptor.type_vectors.table.shape == (2, length)

    @pytest.mark.parametrize(
        ("keys", "sel"),
        [
            ({}, None),
            ({"max_neigh_num": 100}, (100, 100)),
            ({"descriptor": {"sel": 100}}, (100, 100)),
            ({"descriptor": {"sel": [40, 60]}}, (40, 60)),
            # The predecessor has slots for each element with type embedding, too; DPA-1 counts all together.
            ({"max_neigh_num": 100, "type_embedding": True}, 200),
            ({"descriptor": {"sel": 100, "type_embedding": True}}, 100),
            ({"descriptor": {"sel": [40, 60], "type_embedding": True}}, 100),
        ],
    )
    def test_the_capacity(self, tmp_path, keys, sel):
        assert model_config(section(tmp_path, atom_type=["Ge", "Si"], **keys), 1).sel == sel

    def test_too_many_neighbours_are_named_by_frame_atom_and_number(self, tmp_path):
        block = section(tmp_path, max_neigh_num=10, Rmax=5.0)
        with pytest.raises(InputError, match=r"frames\[0\]: atom \d has \d+ Si neighbours .* allows 10"):
            train(DeepPotential(model_config(block, 1)), silicon(1), options=training_options(block, 1))


class TestTraining:
    def test_adam_has_the_defaults_of_the_library(self, tmp_path):
        found = training_options(section(tmp_path), 1)
        # The predecessor's decay, which only AdamW uses.
        assert found == TrainingOptions(threads=1, weight_decay=1e-4)

    @pytest.mark.parametrize(("name", "variance"), [("LKF", 0.01), ("GKF", 1.0)])
    def test_a_kalman_filter_has_the_defaults_of_the_library(self, tmp_path, name, variance):
        found = training_options(section(tmp_path, optimizer={"optimizer": name}), 1)
        assert found == TrainingOptions(optimizer=name.lower(), threads=1)
        assert found.initial_variance == variance

    @pytest.mark.parametrize("name", ["ADAMW", "LKF"])
    def test_every_setting_arrives(self, tmp_path, name):
        adam = {
            "learning_rate": 0.01,
            "stop_lr": 1e-5,
            "weight_decay": 0.1,
            "start_pre_fac_force": 2.0,
            "end_pre_fac_force": 3.0,
            "start_pre_fac_etot": 4.0,
            "end_pre_fac_etot": 5.0,
            "start_pre_fac_virial": 6.0,
            "end_pre_fac_virial": 7.0,
        }
        kalman = {
            "kalman_lambda": 0.9,
            "kalman_nue": 0.99,
            "block_size": 10,
            "p0_weight": 0.3,
            "p_precision": "float32",
            "nselect": 12,
            "groupsize": 4,
            "scale_by_atoms": True,
            "pre_fac_force": 3.0,
            "pre_fac_etot": 4.0,
            "pre_fac_virial": 5.0,
        }
        common = {"epochs": 3, "steps": 4, "batch_size": 2, "patience": 5}
        trained = {"train_energy": False, "train_force": False, "train_virial": True}
        own = kalman if name == "LKF" else adam
        block = section(tmp_path, threads=2, optimizer={"optimizer": name, **common, **trained, **own})
        found = training_options(block, 9, warm_start=True)
        changed = {key for key, value in vars(found).items() if value != getattr(TrainingOptions(), key)}
        assert len(changed) == 1 + len(common) + len(trained) + len(own) + len(
            {"seed", "threads", "warm_start"}
        )
        assert (found.seed, found.threads, found.warm_start, found.optimizer) == (9, 2, True, name.lower())

    def test_keys_of_another_optimizer_change_nothing(self, tmp_path):
        silent = dict.fromkeys(("start_pre_fac_force", "end_pre_fac_etot", "learning_rate"), 0.5)
        one, other = ({"optimizer": "LKF"}, {"optimizer": "LKF", **silent})
        assert training_options(section(tmp_path, optimizer=one), 1) == training_options(
            section(tmp_path, optimizer=other), 1
        )

    def test_the_library_accepts_whatever_the_input_file_accepts(self, tmp_path):
        for key, info in Optimizer.model_fields.items():
            for mark in info.metadata:
                limit = getattr(mark, "ge", getattr(mark, "le", None))
                if limit is None:
                    continue
                keys = {"optimizer": "LKF", key: type(info.default or 1)(limit)}
                # One atom drawn has to be a group of one.
                keys |= {"groupsize": 1} if key == "nselect" else {}
                training_options(section(tmp_path, optimizer=keys), 1)


class TestFrames:
    def test_valid_folders_of_a_training_set_are_held_out(self, tmp_path):
        frames = silicon(7)
        write_pwdata(tmp_path / "set", frames[:4], valid=frames[4:6])
        write_extxyz(tmp_path / "more.xyz", frames[6:])
        write_extxyz(tmp_path / "valid.xyz", silicon(2, seed=1))
        content = {"atom_type": [14], "train_data": ["set", "more.xyz"], "valid_data": "valid.xyz"}
        (tmp_path / "train.json").write_text(json.dumps(content))
        training, validation = read_frames(load_train(tmp_path / "train.json"))
        assert (len(training), len(validation)) == (5, 4)
