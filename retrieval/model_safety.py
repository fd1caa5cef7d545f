"""What a model folder may say to the libraries that open it: values, never code. Imports no torch.

The files of a model name classes, functions and methods, and its libraries import or call what they name
(CVE-2026-4372: ``_attn_implementation_internal``; sentence-transformers issue 3801: ``modules.json``). So every file
that they read is read here first, and what is not known to be harmless is refused. Weights are safetensors; everything
that could be a pickle is refused wherever it lies.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from indexing import storage
from indexing.errors import ArtifactUntrusted, ConfigError

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pt2", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz")
"""Formats that can run code when they are read (CVE-2025-32434, CVE-2026-24747: ``weights_only`` is no boundary)."""

CODE_KEYS = frozenset(
    {
        "auto_map", "auto_mapping", "custom_pipelines", "quantization_config", "trust_remote_code",
        "_target_", "_partial_", "_recursive_", "_args_",
    }
)  # fmt: skip
"""Keys that name code to fetch, to import or to call, for transformers, peft or Hydra."""

PRIVATE_KEYS = frozenset({"_name_or_path", "_commit_hash", "_attn_implementation_autoset", "__version__"})
"""Keys with a leading underscore that only tell where a model came from; all others are refused."""

READ_FILES = (
    "config.json", "config_sentence_transformers.json", "sentence_bert_config.json", "tokenizer_config.json",
    "special_tokens_map.json", "generation_config.json", "processor_config.json", "preprocessor_config.json",
)  # fmt: skip
"""Files whose values libraries act on. A vocabulary is data, and a card is text."""

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""They name a base model elsewhere, and the library that reads them imports what they name."""

OLD_SETTINGS = (
    "sentence_roberta_config.json", "sentence_distilbert_config.json", "sentence_camembert_config.json",
    "sentence_albert_config.json", "sentence_xlm-roberta_config.json", "sentence_xlnet_config.json",
)  # fmt: skip
"""What sentence-transformers reads where ``sentence_bert_config.json`` is missing, and nothing here does."""

MODEL_TYPES = frozenset(
    {
        "albert", "bert", "big_bird", "camembert", "convbert", "deberta", "deberta-v2", "distilbert", "electra",
        "ernie", "eurobert", "gemma3_text", "gte", "llama", "longformer", "mistral", "mobilebert", "modernbert",
        "mpnet", "mt5", "nomic_bert", "qwen2", "qwen3", "rembert", "roberta", "t5", "umt5", "xlm-roberta",
        "xlm-roberta-xl",
    }
)  # fmt: skip
"""Networks that encode plain text, by the names of transformers 5; each is implemented there."""

SETTINGS_KEYS = frozenset(
    {
        "transformer_task", "modality_config", "module_output_name", "unpad_inputs", "query_length", "document_length",
        "query_expansion", "max_seq_length", "do_lower_case",
    }
)  # fmt: skip
"""Keys of ``sentence_bert_config.json`` that are settings; the others (``model_args``, ...) are handed to loaders."""

ACTIVATION = re.compile(r"torch\.nn\.modules\.(activation|linear)\.[A-Z]\w*")
"""Activations as sentence-transformers writes them; it calls what ``activation_fn`` names, if it begins with torch."""

MODULE_CLASS = re.compile(r"sentence_transformers(\.[a-z_]+)*\.(Transformer|Pooling|Dense|Normalize)")

SIZES = (
    ("vocab_size", "hidden_size"), ("num_hidden_layers", "hidden_size"), ("intermediate_size", "hidden_size"),
    ("max_position_embeddings", "hidden_size"), ("type_vocab_size", "hidden_size"), ("vocab_size", "embedding_size"),
    ("hidden_size", "num_attention_heads"),
)  # fmt: skip
"""Keys of ``config.json`` whose product is numbers that a network allocates, or that its weights hold."""

MOST_LAYERS = 1000
"""A thousand empty layers take seconds to make; the deepest text encoder has a tenth of that."""

SPARE_NUMBERS = 1 << 28
"""Numbers a network may allocate beyond what its weights hold (1 GiB): positions that are computed, not stored."""

_CODE_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_CLASS_NAME = re.compile(r"[A-Z]\w*")
_DEPTH = 20  # no settings file is nested deeper than five


def refuse_pickles(folder: Path) -> None:
    """Refuse a folder that holds a file of a format that can run code, anywhere below it.

    Raises:
        ArtifactUntrusted: Naming the file.
    """
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICKLE_SUFFIXES:
            raise ArtifactUntrusted(
                f"{path.relative_to(folder).as_posix()} in {folder} can run code when it is read; "
                f"only safetensors weights are, so delete it or convert it"
            )


def require_harmless(folder: Path) -> None:
    """Refuse a module's folder whose settings name code, or make a library look elsewhere.

    Args:
        folder: The folder of a model, or of one of its modules.

    Raises:
        ArtifactUntrusted: Naming file, key and value.
        ArtifactCorrupt: A settings file does not parse.
        ConfigError: It holds an adapter, or settings under a name of sentence-transformers 2.
    """
    for name in (*ADAPTER_FILES, *OLD_SETTINGS):
        if (folder / name).exists() and not (name in OLD_SETTINGS and (folder / "sentence_bert_config.json").exists()):
            what = "an adapter; merge it into its base" if name in ADAPTER_FILES else "settings of an old form"
            raise ConfigError(f"{folder / name}: {what}: open the model with sentence-transformers 6 and save it again")
    for name in READ_FILES:
        path = folder / name
        if path.is_file():
            settings = storage.read_json(path, foreign=True)
            _refuse_code(settings, path)
            if name in _RULES and isinstance(settings, dict):
                _RULES[name](settings, path)


def _refuse_code(settings: object, path: Path) -> None:
    for key, value in _entries(settings, path, depth=0):
        if key in CODE_KEYS or (key.startswith("_") and key not in PRIVATE_KEYS):
            raise ArtifactUntrusted(f"{path} has the key {key}, which names code to load; no model of ours has one")
        if isinstance(value, str) and _CODE_PATH.fullmatch(value) and not _is_harmless(key, value):
            raise ArtifactUntrusted(f"{path}: {key} names {value}, and a model's settings may not name code")


def _entries(value: object, path: Path, *, depth: int, key: str = "") -> Iterator[tuple[str, object]]:
    """Yield every value in JSON with the key it stands under."""
    if depth > _DEPTH:
        raise ArtifactUntrusted(f"{path} is nested more than {_DEPTH} deep, which no model's settings are")
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            yield from _entries(inner, path, depth=depth + 1, key=name)
    elif isinstance(value, list):
        for inner in value:
            yield key, inner
            yield from _entries(inner, path, depth=depth + 1, key=key)


def _is_harmless(key: str, value: str) -> bool:
    """Whether a dotted name is only looked at: an activation, a type of numbers, a file, where the model is from."""
    looked_at = key in ("_name_or_path", "name_or_path") or key.endswith("_file")
    return looked_at or bool(ACTIVATION.fullmatch(value) or re.fullmatch(r"torch\.b?float\d+", value))


def _check_network(config: Mapping[str, Any], path: Path) -> None:
    """Check ``config.json`` of a transformer; a pooling's or a Dense layer's has no model type."""
    if "model_type" in config and str(config["model_type"]) not in MODEL_TYPES:
        raise ArtifactUntrusted(
            f"{path}: model_type {config['model_type']!r} is no network of plain text that is known here; known: "
            f"{', '.join(sorted(MODEL_TYPES))}"
        )
    named = config.get("architectures") or []
    if not isinstance(named, list) or not all(isinstance(name, str) and _CLASS_NAME.fullmatch(name) for name in named):
        raise ArtifactUntrusted(f"{path}: architectures must name classes of transformers, got {named!r:.100}")
    _check_sizes(config, path)


def _check_sizes(config: Mapping[str, Any], path: Path) -> None:
    """Refuse a network that would take more memory than its weights account for; it is made before they are read."""
    most = SPARE_NUMBERS + sum(weights.stat().st_size for weights in path.parent.glob("*.safetensors"))
    for names in SIZES:
        sizes = [config[name] for name in names if config.get(name) is not None]
        if not all(type(size) is int for size in sizes) or math.prod(max(size, 1) for size in sizes) > most:
            raise ArtifactUntrusted(f"{path}: {' x '.join(names)} is {sizes}, which the weights do not account for")
    if (config.get("num_hidden_layers") or 1) > MOST_LAYERS:
        raise ArtifactUntrusted(f"{path}: num_hidden_layers is {config['num_hidden_layers']}, at most {MOST_LAYERS}")


def _check_settings(settings: Mapping[str, Any], path: Path) -> None:
    unknown = sorted(key for key in settings if key not in SETTINGS_KEYS and settings[key] not in ({}, None))
    if unknown:
        raise ArtifactUntrusted(
            f"{path} hands {unknown[0]} to the libraries that load the model; no model of ours does"
        )
    modalities = settings.get("modality_config") or {}
    if not isinstance(modalities, dict) or not all(map(_is_plain_modality, modalities.values())):
        raise ArtifactUntrusted(f"{path}: modality_config may call the method forward alone, got {modalities!r:.200}")


def _is_plain_modality(modality: object) -> bool:
    if not isinstance(modality, dict) or not modality.keys() <= {"method", "method_output_name"}:
        return False
    return modality.get("method") == "forward" and isinstance(modality.get("method_output_name"), str | None)


def _check_tokenizer(config: Mapping[str, Any], path: Path) -> None:
    for key in ("tokenizer_class", "processor_class"):
        value = config.get(key)
        if value is not None and not (isinstance(value, str) and _CLASS_NAME.fullmatch(value)):
            raise ArtifactUntrusted(f"{path}: {key} must name a class of transformers, got {value!r:.100}")


_RULES: dict[str, Callable[[Mapping[str, Any], Path], None]] = {
    "config.json": _check_network,
    "sentence_bert_config.json": _check_settings,
    "tokenizer_config.json": _check_tokenizer,
}
