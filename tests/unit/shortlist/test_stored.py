import pytest

from indexing.config import HnswConfig, IndexConfig
from indexing.errors import ArtifactIncompatible, ArtifactUntrusted
from retrieval.config import Precision, RuntimeConfig
from shortlist.stored import freeze, thaw


def test_a_configuration_survives_being_stored():
    config = HnswConfig(links=16, recall_target=0.5)
    assert thaw("index", freeze("index", config), IndexConfig) == config


def test_the_registry_name_is_stored_and_no_class_path():
    assert freeze("index", HnswConfig())["kind"] == "hnsw"


def test_enums_are_stored_by_name():
    assert freeze("runtime", RuntimeConfig(precision=Precision.bf16))["precision"] == "bf16"


def test_an_unknown_kind_is_refused():
    with pytest.raises(ArtifactUntrusted, match=r"index kind 'os.system' is unknown; known: auto, flat"):
        thaw("index", {"kind": "os.system"}, IndexConfig)


def test_an_unknown_key_is_refused():
    with pytest.raises(ArtifactUntrusted, match=r"index flat holds unknown keys \['_target_'\]"):
        thaw("index", {"kind": "flat", "_target_": "os.system"}, IndexConfig)


def test_a_value_that_the_schema_refuses_is_refused():
    with pytest.raises(ArtifactIncompatible, match=r"index\.links must be at least 1, got 0"):
        thaw("index", {"kind": "hnsw", "links": 0}, IndexConfig)
