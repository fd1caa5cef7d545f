import pytest

from indexing.config import HnswConfig, IndexConfig
from indexing.errors import ArtifactIncompatible, ArtifactUntrusted
from retrieval.config import FusionConfig, Precision, RuntimeConfig, TextConfig
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


@pytest.mark.parametrize(
    ("group", "base", "values", "message"),
    [
        ("text", TextConfig, {"fields": "title"}, "fields must be of type list, got 'title'"),
        ("text", TextConfig, {"fields": [7]}, r"fields must be of type list, got \[7\]"),
        ("text", TextConfig, {"max_chars": "9"}, "max_chars must be of type int, got '9'"),
        ("text", TextConfig, {"max_chars": True}, "max_chars must be of type int, got True"),
        ("text", TextConfig, {"labels": 1}, "labels must be of type bool, got 1"),
        ("fusion", FusionConfig, {"kind": "rrf", "dense": "1"}, "dense must be of type float, got '1'"),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_field(group, base, values, message):
    with pytest.raises(ArtifactIncompatible, match=message):
        thaw(group, {"kind": group} | values, base)


def test_a_whole_number_is_taken_where_the_schema_says_float():
    assert thaw("fusion", {"kind": "rrf", "dense": 2}, FusionConfig).dense == 2
