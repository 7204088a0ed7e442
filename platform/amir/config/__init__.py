"""Every setting of every job: typed, bounded, documented; the same in YAML and dotted options."""

from amir.config.degradations import CTDegradation, Degradations, MRIDegradation, PETDegradation
from amir.config.engine import (
    BatchSettings,
    ChallengerSettings,
    EngineSettings,
    Precision,
    ReplicaSettings,
    SwapSettings,
    TileSettings,
)
from amir.config.evaluating import (
    EvaluateSettings,
    FigureName,
    InterferenceSettings,
    InterpretSettings,
    PaperSettings,
    ReportSettings,
    TableName,
)
from amir.config.preparing import ImportSettings, IntensityScale, PrepareSettings, SplitFractions
from amir.config.promoting import ExportSettings, GateSettings, PromoteSettings
from amir.config.restoring import DemoSettings, RestoreSettings
from amir.config.section import PositiveFloat, Section
from amir.config.serving import (
    HttpSettings,
    JobSettings,
    LimitSettings,
    RateSettings,
    ServeSettings,
    StartSettings,
    TensorSettings,
    TokenSettings,
)
from amir.config.studying import StudySettings, SummarySettings
from amir.config.sweeping import Axis, ConfirmSettings, SchedulerSettings, SweepSettings
from amir.config.tracking import TrackingSettings
from amir.config.training import (
    CheckpointSettings,
    DataSettings,
    DivergenceSettings,
    LossSettings,
    ModelSettings,
    OptimizerSettings,
    StatusSettings,
    TrainSettings,
    ValidationSettings,
    WorkerSettings,
)
from amir.config.trust import Answer, Passes, TrustSettings, Upsampling

__all__ = [
    "Answer",
    "Axis",
    "BatchSettings",
    "CTDegradation",
    "ChallengerSettings",
    "CheckpointSettings",
    "ConfirmSettings",
    "DataSettings",
    "Degradations",
    "DemoSettings",
    "DivergenceSettings",
    "EngineSettings",
    "EvaluateSettings",
    "ExportSettings",
    "FigureName",
    "GateSettings",
    "HttpSettings",
    "ImportSettings",
    "IntensityScale",
    "InterferenceSettings",
    "InterpretSettings",
    "JobSettings",
    "LimitSettings",
    "LossSettings",
    "MRIDegradation",
    "ModelSettings",
    "OptimizerSettings",
    "PETDegradation",
    "PaperSettings",
    "Passes",
    "PositiveFloat",
    "Precision",
    "PrepareSettings",
    "PromoteSettings",
    "RateSettings",
    "ReplicaSettings",
    "ReportSettings",
    "RestoreSettings",
    "SchedulerSettings",
    "Section",
    "ServeSettings",
    "SplitFractions",
    "StartSettings",
    "StatusSettings",
    "StudySettings",
    "SummarySettings",
    "SwapSettings",
    "SweepSettings",
    "TableName",
    "TensorSettings",
    "TileSettings",
    "TokenSettings",
    "TrackingSettings",
    "TrainSettings",
    "TrustSettings",
    "Upsampling",
    "ValidationSettings",
    "WorkerSettings",
]
