"""The names that configuration is composed by: jobs and members of groups with their schemas, and the YAML files."""

from pathlib import Path

from indexing.config import (
    AutoConfig,
    FlatConfig,
    HnswConfig,
    HnswSq8Config,
    IvfPqConfig,
    IvfRabitqConfig,
    IvfSq8Config,
)
from rerank.config import CrossEncoderConfig, CrossEncoderTrainerConfig, RerankerConfig
from retrieval.config import (
    BeirCatalog,
    ConvexConfig,
    EncoderConfig,
    EsciCatalog,
    IcecatCatalog,
    LexicalConfig,
    RrfConfig,
    RuntimeConfig,
    TabularCatalog,
    TextConfig,
    WandsCatalog,
    ZscoreConfig,
)
from retrieval.training_config import ContrastiveConfig
from shortlist.config import (
    BuildConfig,
    CheckConfig,
    CompactConfig,
    CompareConfig,
    EvaluateConfig,
    ExportConfig,
    SearchConfig,
    TuneConfig,
    UpsertConfig,
)
from shortlist.cost import CostConfig, CostSweepConfig
from shortlist.training_config import (
    CalibrateConfig,
    DemoConfig,
    TrainConfig,
    TrainRerankerConfig,
    TrainRetrieverConfig,
)

JOBS: dict[str, type] = {
    "check": CheckConfig,
    "build": BuildConfig,
    "search": SearchConfig,
    "upsert": UpsertConfig,
    "compact": CompactConfig,
    "tune": TuneConfig,
    "evaluate": EvaluateConfig,
    "compare": CompareConfig,
    "export": ExportConfig,
    "train_retriever": TrainRetrieverConfig,
    "train_reranker": TrainRerankerConfig,
    "calibrate": CalibrateConfig,
    "train": TrainConfig,
    "demo": DemoConfig,
}
"""Primary configuration (the name of its YAML) -> schema."""

GROUPS: dict[str, dict[str, type]] = {
    "catalog": {
        "tabular": TabularCatalog,
        "icecat": IcecatCatalog,
        "wands": WandsCatalog,
        "esci": EsciCatalog,
        "beir": BeirCatalog,
    },
    "text": {"text": TextConfig},
    "encoder": {"encoder": EncoderConfig},
    "lexical": {"bm25": LexicalConfig},
    "index": {
        "auto": AutoConfig,
        "flat": FlatConfig,
        "hnsw": HnswConfig,
        "hnsw_sq8": HnswSq8Config,
        "ivf_sq8": IvfSq8Config,
        "ivf_pq": IvfPqConfig,
        "ivf_rabitq": IvfRabitqConfig,
    },
    "fusion": {"rrf": RrfConfig, "zscore": ZscoreConfig, "convex": ConvexConfig},
    "reranker": {"none": RerankerConfig, "cross_encoder": CrossEncoderConfig},
    "runtime": {"runtime": RuntimeConfig},
    "cost": {"none": CostConfig, "sweep": CostSweepConfig},
    "trainer": {"contrastive": ContrastiveConfig, "cross_encoder": CrossEncoderTrainerConfig},
}
"""Configuration group -> schema name -> dataclass; stored as ``<group>/schema_<name>``."""

EXPERIMENT = "experiment"
"""The group of whole recipes: YAML that sets keys of the job ``train`` and has no schema of its own."""

PATH_KEYS = ("encoder.model", "reranker.model", "reranker.student", "trainer.base", "reranker.base")
"""Keys whose values are paths of the user's, which may hold any character."""

OPEN_MAPPINGS = ("catalog.fields.", "catalog.query_fields.", "catalog.judgment_fields.", "catalog.grades.")
"""Keys below these are the user's own, so they may be new."""


def config_dir() -> Path:
    """Return the folder of YAML files: ``shortlist/conf`` in a wheel, ``conf`` beside the package in a checkout."""
    here = Path(__file__).resolve().parent
    packaged = here / "conf"
    return packaged if packaged.is_dir() else here.parent / "conf"
