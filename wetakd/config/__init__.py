"""The study file: one tree of frozen models, every field with its type, default and meaning.

Unknown keys are errors, and so is a value out of range. Objects are built from these models elsewhere and are never
stored in them. How a file is read is in `wetakd.config.study_file`.
"""

from wetakd.config.data_config import (
    CallableData,
    CifarData,
    DataConfig,
    DigitsData,
    FolderData,
    ParquetData,
    SplitsConfig,
    TransformConfig,
    ViewsConfig,
)
from wetakd.config.field_types import Model
from wetakd.config.network_config import (
    ELSEWHERE,
    DistillationConfig,
    ModelConfig,
    NetworkConfig,
    PlacementConfig,
    RecipeConfig,
    StudentConfig,
)
from wetakd.config.study_block import (
    ContrastConfig,
    HalvingConfig,
    LimitsConfig,
    MlflowConfig,
    StudyBlock,
    Sweep,
    WeightsConfig,
)
from wetakd.config.study_config import STUDENT, TEACHER, StudyConfig, block_of
from wetakd.config.sweep import student_at, sweep_points
from wetakd.config.sweep_point import EMPTY_POINT, SweepPoint

__all__ = [
    "ELSEWHERE",
    "EMPTY_POINT",
    "STUDENT",
    "TEACHER",
    "CallableData",
    "CifarData",
    "ContrastConfig",
    "DataConfig",
    "DigitsData",
    "DistillationConfig",
    "FolderData",
    "HalvingConfig",
    "LimitsConfig",
    "MlflowConfig",
    "Model",
    "ModelConfig",
    "NetworkConfig",
    "ParquetData",
    "PlacementConfig",
    "RecipeConfig",
    "SplitsConfig",
    "StudentConfig",
    "StudyBlock",
    "StudyConfig",
    "Sweep",
    "SweepPoint",
    "TransformConfig",
    "ViewsConfig",
    "WeightsConfig",
    "block_of",
    "student_at",
    "sweep_points",
]
