"""What users may import, and what importing it costs."""

import importlib
import json
import subprocess
import sys

import pytest

import shortlist

PACKAGES = ("indexing", "retrieval", "rerank", "shortlist")
PUBLIC = [
    "ArtifactError",
    "CacheConfig",
    "ConfigError",
    "EngineClosed",
    "EnvironmentProblem",
    "Explanation",
    "ForkSafetyError",
    "Hit",
    "InvalidQuery",
    "Product",
    "ReloadRejected",
    "SearchEngine",
    "SearchResult",
    "ShortlistError",
    "SourceDataError",
    "Verdict",
    "__version__",
]
HEAVY = {"bm25s", "datasets", "faiss", "hydra", "matplotlib", "omegaconf", "pyarrow", "scipy", "sentence_transformers"}
HEAVY |= {"tokenizers", "torch", "transformers"}


def modules_after(program: str) -> set[str]:
    """Run ``program`` in a fresh interpreter and return the top-level names of the modules it left loaded."""
    program += "\nimport json, sys\nprint('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_public_names_of_shortlist_are_these():
    assert shortlist.__all__ == PUBLIC


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_exists_and_the_list_is_sorted(package):
    module = importlib.import_module(package)
    exported = list(getattr(module, "__all__", []))
    assert exported == sorted(exported)
    for name in exported:
        assert getattr(module, name) is not None
    assert module.__doc__, f"{package} says nothing about itself"


def test_an_unknown_name_is_refused_by_name():
    with pytest.raises(AttributeError, match="module 'shortlist' has no attribute 'SearchEngin'"):
        shortlist.SearchEngin  # noqa: B018 - the access itself is what fails


def test_importing_shortlist_loads_nothing_heavy():
    loaded = modules_after("import shortlist")
    assert "shortlist" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["search", "--help"]])
def test_help_loads_no_torch_and_no_faiss(words):
    loaded = modules_after(f"from shortlist.cli import main\nassert main({words!r}) == 0")
    assert "shortlist" in loaded
    assert loaded & {"torch", "faiss", "sentence_transformers", "transformers", "datasets", "matplotlib"} == set()


def test_importing_the_records_and_the_metrics_loads_nothing_heavy():
    loaded = modules_after(
        "import retrieval.metrics, retrieval.records, retrieval.config, indexing.errors, rerank.config"
    )
    assert loaded & HEAVY == set()
