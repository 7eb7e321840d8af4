"""The input files of ALPW: param.json and resource.json.

>>> from alpw.config import load_param
>>> load_param("param.json").strategy.model_num  # doctest: +SKIP
4
"""

from alpw.config.control import ControlFile
from alpw.config.dft import Dft
from alpw.config.explore import Explore, MdJob, SysConfig
from alpw.config.init_bulk import InitBulk
from alpw.config.json_file import InputErrors
from alpw.config.load import (
    inputs_hash,
    load_init,
    load_init_inputs,
    load_inputs,
    load_param,
    load_resource,
)
from alpw.config.model import Descriptor, FittingNet, TypeEmbedding
from alpw.config.optimizer import Optimizer
from alpw.config.param import Initial, Param, Strategy
from alpw.config.resource import InitResource, Resource, ResourceBlock
from alpw.config.schema import json_schema
from alpw.config.structures import StartConfig
from alpw.config.train import Train
from alpw.config.train_file import TrainInput, load_train

__all__ = [
    "ControlFile",
    "Descriptor",
    "Dft",
    "Explore",
    "FittingNet",
    "InitBulk",
    "InitResource",
    "Initial",
    "InputErrors",
    "MdJob",
    "Optimizer",
    "Param",
    "Resource",
    "ResourceBlock",
    "StartConfig",
    "Strategy",
    "SysConfig",
    "Train",
    "TrainInput",
    "TypeEmbedding",
    "inputs_hash",
    "json_schema",
    "load_init",
    "load_init_inputs",
    "load_inputs",
    "load_param",
    "load_resource",
    "load_train",
]
