from dataclasses import fields
from pathlib import Path

import pytest

from indexing.config import AutoConfig, HnswConfig, IndexConfig
from indexing.errors import ConfigError
from retrieval.catalog import open_catalog
from retrieval.config import BadRows, EsciCatalog, IcecatCatalog, Precision, TabularCatalog
from shortlist.compose import load_config
from shortlist.config import BuildConfig, CompareConfig, Convention, EvaluateConfig, SearchConfig, System
from shortlist.cost import CostConfig, CostSweepConfig, IndexKind
from shortlist.schemas import GROUPS, JOBS, config_dir
from shortlist.training_config import DemoConfig

REQUIRED = {"reranker=cross_encoder": ["reranker.model=somewhere"]}
"""Members with a value that only the user can give."""


def members(group: str) -> list[str]:
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


def cases() -> list[tuple[str, str]]:
    found = []
    for job, schema in JOBS.items():
        for field in fields(schema):
            group = "trainer" if field.name in ("trainer", "retriever") else field.name
            settings = ("retriever", "reranker")
            plain = {"demo": settings, "train": settings, "tune": ("index",)}.get(job, ())  # set, not chosen
            if group in GROUPS and field.name not in plain:
                fitting = [m for m in members(group) if group != "trainer" or fits(job, m)]
                found += [(job, f"{field.name}={member}") for member in fitting]
    return found + [("train", f"experiment={member}") for member in members("experiment")]


def fits(job: str, trainer: str) -> bool:
    return trainer == {"train_retriever": "contrastive", "train_reranker": "cross_encoder"}.get(job)


@pytest.mark.parametrize(("job", "choice"), cases())
def test_every_member_of_every_group_composes(job: str, choice: str):
    config = load_config(JOBS[job], [choice, *REQUIRED.get(choice, [])])
    assert type(config) is JOBS[job]


def test_every_yaml_file_is_a_primary_or_a_member_that_a_case_covers():
    files = {path.relative_to(config_dir()).as_posix() for path in config_dir().rglob("*") if path.is_file()}
    primaries = {f"{job}.yaml" for job in JOBS}
    covered = {
        f"{'trainer' if choice.startswith('trainer') else choice.split('=')[0]}/{choice.split('=')[1]}.yaml"
        for _, choice in cases()
    }
    assert files == primaries | covered


def test_the_number_of_cases_does_not_shrink_unseen():
    assert len(cases()) == 172


def test_every_member_extends_a_schema():
    for path in config_dir().glob("*/*.yaml"):
        begins = "# @package _global_" if path.parent.name == "experiment" else "- schema_"
        assert begins in path.read_text(), path


def test_every_index_schema_has_a_member():
    assert {schema.__name__ for schema in IndexConfig.__subclasses__()} == {
        schema.__name__ for schema in GROUPS["index"].values()
    }
    assert members("index") == sorted(GROUPS["index"])


def test_choices_and_settings_arrive_as_typed_objects():
    config = load_config(
        BuildConfig,
        ["catalog=icecat", "catalog.on_bad_rows=quarantine", "index=hnsw", "index.links=16", "runtime.precision=bf16"],
    )
    assert isinstance(config.catalog, IcecatCatalog)
    assert config.catalog.on_bad_rows is BadRows.quarantine
    assert config.index == HnswConfig(links=16)
    assert config.runtime.precision is Precision.bf16


def test_a_build_chooses_its_arithmetic_unless_told():
    assert load_config(BuildConfig).runtime.precision is Precision.auto
    assert load_config(BuildConfig, ["runtime=default"]).runtime.precision is Precision.fp32


def test_defaults_are_those_of_the_schemas():
    config = load_config(BuildConfig)
    assert config.index == AutoConfig()
    assert config.catalog == TabularCatalog(name="parquet", keep=["*"])


def test_a_field_map_may_name_new_keys():
    config = load_config(BuildConfig, ["catalog.fields.title=product_title", "catalog.query_fields.text=q"])
    assert config.catalog.fields == {"title": "product_title"}
    assert config.catalog.query_fields == {"text": "q"}


def test_esci_grades_can_be_set_to_those_of_the_released_script():
    config = load_config(BuildConfig, ["catalog=esci", "catalog.grades.S=1", "catalog.grades.C=10"])
    assert isinstance(config.catalog, EsciCatalog)
    assert config.catalog.grades == {"E": 100, "S": 1, "C": 10, "I": 0}


def test_conventions_are_given_by_name_in_lower_case():
    assert load_config(EvaluateConfig).convention is Convention.linear
    assert load_config(EvaluateConfig, ["convention=w_dt"]).convention is Convention.w_dt
    assert all(convention.name == convention.name.lower() for convention in Convention)


def test_home_depots_split_is_frozen_by_rule_in_its_configuration():
    config = load_config(EvaluateConfig, ["catalog=homedepot", "catalog.split=dev"]).catalog
    assert isinstance(config, TabularCatalog)
    assert (config.name, config.split, config.split_modulus, config.split_dev) == ("homedepot", "dev", 10, [0])


@pytest.mark.shared
def test_home_depots_dev_split_has_its_published_size(shared_data: Path):
    config = load_config(EvaluateConfig, ["catalog=homedepot", "catalog.split=dev"]).catalog
    catalog = open_catalog(config, shared_data / "homedepot")
    good = {judgment.query_id for judgment in catalog.judgments() if judgment.grade > 0}
    assert len(good) == 1_056
    assert set(catalog.splits().values()) == {"dev", "train"}


def test_a_comparison_takes_slices_by_name():
    assert load_config(CompareConfig).slices == ["*"]
    assert load_config(CompareConfig, ["slices=[typos,brand]", "alpha=.01"]).slices == ["typos", "brand"]


def test_systems_are_given_by_name():
    assert load_config(EvaluateConfig, ["systems=[bm25,hybrid]"]).systems == [System.bm25, System.hybrid]


def test_the_demo_takes_overrides_of_both_trainers():
    config = load_config(DemoConfig, ["retriever.epochs=1", "reranker.epochs=9"])
    assert (config.retriever.epochs, config.reranker.epochs) == (1, 9)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("index=hnws", "index=hnws does not exist; did you mean 'hnsw'"),
        ("index=zzz", r"index can be: auto, flat, hnsw, hnsw_sq8, ivf_pq, ivf_rabitq, ivf_sq8"),
        ("idnex=flat", "unknown configuration key 'idnex'; did you mean 'index'"),
        ("index.recall_targt=1", "unknown configuration key 'index.recall_targt'; did you mean 'index.recall_target'"),
        ("+typo=1", "unknown configuration key 'typo'"),
        ("+index._target_=os.system", "_target_"),
        ("index.recall_k=abc", "index.recall_k=abc: .*'abc'.*could not be converted to Integer"),
        ("index.recall_target=3", r"index.recall_target must be in \[0, 1\], got 3"),
        ("runtime.device=tpu", "runtime.device must be auto, cpu or cuda, got 'tpu'"),
        ("reranker=cross_encoder", "reranker.model is required: give reranker.model=VALUE"),
        ("nonsense", "'nonsense' is not of the form key=value"),
        ("encoder.query_prompt=${oc.env:HOME}", "holds an interpolation, which is not taken"),
        ("hydra.run.dir=/tmp/x", "unknown configuration key 'hydra.run.dir': Hydra itself cannot be configured"),
        ("+hydra/launcher=basic", "unknown configuration key 'hydra/launcher'"),
        ("fusion.dense=inf", "fusion.dense must be a number, got inf"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_key_and_a_suggestion(override: str, message: str):
    with pytest.raises(ConfigError, match=message):
        load_config(BuildConfig, [override])


@pytest.mark.parametrize(
    ("schema", "overrides", "message"),
    [
        (SearchConfig, ["k=0"], "k must be at least 1, got 0"),
        (SearchConfig, ["k=10", "depth=5"], "depth=5 is below k=10: .*raise depth to at least 10"),
        (CompareConfig, ["alpha=2"], r"alpha must be in \(0, 1\) and margin 0 or more, got 2.0 and 0.0"),
        (CompareConfig, ["trials=0"], "min_queries and trials must be at least 1, got 10 and 0"),
        (EvaluateConfig, ["systems=[bm25,bm25]"], "systems must name each system once"),
        (EvaluateConfig, ["run_depth=10"], "run_depth=10 must reach depth=100"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(schema: type, overrides: list[str], message: str):
    with pytest.raises(ConfigError, match=message):
        load_config(schema, overrides)


def test_composing_leaves_nothing_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    load_config(BuildConfig)
    assert list(tmp_path.iterdir()) == []


def test_a_model_s_path_may_hold_what_hydra_s_grammar_reads():
    path = """/models/a, b=c (d)'s "best" one"""
    assert load_config(BuildConfig, [f"encoder.model={path}"]).encoder.model == path


def test_cost_is_off_unless_asked_for_and_its_members_fill_the_same_schema():
    assert load_config(EvaluateConfig).cost == CostConfig()
    assert load_config(EvaluateConfig, ["cost=standard"]).cost == CostSweepConfig()
    quick = load_config(EvaluateConfig, ["cost=quick", "cost.repeats=5", "cost.kinds=[ivf_pq]"]).cost
    assert (quick.repeats, quick.kinds, quick.precisions) == (5, [IndexKind.ivf_pq], [Precision.fp32, Precision.bf16])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("cost.repeats=0", r"cost\.repeats must be at least 1, got 0"),
        ("cost.ef_search=[0]", r"cost\.ef_search must all be at least 1, got \[0\]"),
        ("cost.filter_shares=[0]", r"cost\.filter_shares must all be in \(0, 1\], got \[0.0\]"),
        ("cost.probe_shares=[1.5]", r"cost\.probe_shares must all be in \(0, 1\], got \[1.5\]"),
        ("cost.layers=[-1]", r"cost\.layers must all be 0 \(every layer\) or more, got \[-1\]"),
        ("cost.precisions=[]", r"cost\.precisions must name fp32, bf16 or int8, got none"),
        ("cost.precisions=[fp32,auto]", r"cost\.precisions must name what is compared .*, got auto"),
        ("cost.depths=[]", r"cost\.depths and cost\.layers go together"),
        ("cost.kinds=[flat,flat]", r"cost\.kinds must name each value once"),
        ("cost.precisions=[fp32,fp32]", r"cost\.precisions must name each value once"),
        ("cost.utilisation=0", r"cost\.utilisation in \(0, 1\]"),
        ("cost.depths=[9]", r"cost\.depths must all reach k=10, got \[9\]"),
        ("cost.currency=EUR", r"cost\.currency=EUR needs cost\.price_per_hour in that currency"),
        ("cost.kinds=[annoy]", r"cost\.kinds"),
        ("cost.repeat=1", r"unknown configuration key 'cost\.repeat'; did you mean 'cost\.repeats'\?"),
    ],
)
def test_a_cost_that_cannot_be_meant_is_refused(override: str, message: str):
    with pytest.raises(ConfigError, match=message):
        load_config(EvaluateConfig, ["cost=standard", override])
