"""What a query or product text goes through before and after the network: read from a model folder, without torch.

A folder has prompts and lengths of its own; ``EncoderConfig`` may replace them. This module is the one place where
the two meet, so that the encoder, the token counter and the fingerprint cannot disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexing.errors import ArtifactCorrupt, ConfigError
from retrieval.config import EncoderConfig
from retrieval.models import ModelModule, check_model_folder, read_optional_json

# Written by sentence-transformers until 5 as one flag per mode; the flag set to true is the mode.
LEGACY_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


NO_LIMIT = 1_000_000
"""A stated length from here on means none (transformers: ``VERY_LARGE_INTEGER`` = 1e30)."""


@dataclass(frozen=True, slots=True)
class TowerSettings:
    """Everything about a tower that is not weights or vocabulary.

    Attributes:
        query_prompt: Put before every query text.
        product_prompt: Put before every product text.
        query_max_tokens: Longest query, special tokens included; the rest is cut.
        product_max_tokens: Longest product text, special tokens included; the rest is cut.
        pooling: How token vectors become one: ``mean``, ``cls``, ...; several are joined by ``+``.
        prompt_pooled: Whether the tokens of the prompt take part in the pooling.
        normalised: Whether the model itself ends with unit length; the encoder makes it so either way.
        dimension: Length of the output vectors.
        modules: The modules in order with what shapes them, such as ``Transformer > Pooling > Dense(384, 128, Tanh)``.
    """

    query_prompt: str
    product_prompt: str
    query_max_tokens: int
    product_max_tokens: int
    pooling: str
    prompt_pooled: bool
    normalised: bool
    dimension: int
    modules: str


def read_settings(folder: Path, encoder: EncoderConfig) -> TowerSettings:
    """Return what applies when ``folder`` is opened with ``encoder``: its own settings where that is silent.

    An empty prompt and a length of 0 keep what the folder says (``prompts`` in ``config_sentence_transformers.json``;
    ``query_length``, ``document_length`` and ``max_seq_length`` in ``sentence_bert_config.json``).

    Raises:
        ConfigError: When a length is more than the network has positions, or the folder is no text encoder.
        ArtifactUntrusted: See :func:`retrieval.models.check_model_folder`.
        ArtifactCorrupt: When a file does not parse, or a setting in it is of another type.
    """
    modules = check_model_folder(folder)
    try:
        return _read_settings(folder, modules, encoder)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtifactCorrupt(
            f"the settings of the model in {folder} have another shape than sentence-transformers writes: {error!r}; "
            "save the model again"
        ) from error


def _read_settings(folder: Path, modules: tuple[ModelModule, ...], encoder: EncoderConfig) -> TowerSettings:
    own = read_optional_json(folder / "config_sentence_transformers.json")
    prompts: Mapping[str, str | None] = own.get("prompts") or {}
    query_max, product_max = _max_tokens(folder / modules[0].folder, encoder)
    pooling, prompt_pooled, pooled_width = _pooling(folder, modules)
    width = _output_width(folder, modules, pooled_width)
    return TowerSettings(
        query_prompt=_text(encoder.query_prompt or prompts.get("query") or ""),
        product_prompt=_text(encoder.product_prompt or prompts.get("document") or ""),
        query_max_tokens=query_max,
        product_max_tokens=product_max,
        pooling=pooling,
        prompt_pooled=prompt_pooled,
        normalised=modules[-1].kind == "Normalize",
        dimension=min(width, own.get("truncate_dim") or width),
        modules=" > ".join(describe_module(folder, module) for module in modules),
    )


def _max_tokens(transformer: Path, encoder: EncoderConfig) -> tuple[int, int]:
    own = read_optional_json(transformer / "sentence_bert_config.json")
    longest, positions = longest_text(transformer)
    lengths = (
        encoder.query_max_tokens or own.get("query_length") or longest,
        encoder.product_max_tokens or own.get("document_length") or longest,
    )
    for name, length in zip(("query_max_tokens", "product_max_tokens"), lengths, strict=True):
        if not length:
            raise ConfigError(f"{transformer} states no longest text; set encoder.{name}")
        if positions and length > positions:
            raise ConfigError(
                f"encoder.{name}={length} is more than the {positions} positions of the model in {transformer}"
            )
    return lengths


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a prompt must be text, got {value!r}")
    return value


def longest_text(transformer: Path) -> tuple[int, int]:
    """Return the longest text in tokens that a transformer's folder states, and its positions; 0 for none."""
    positions = _stated(read_optional_json(transformer / "config.json").get("max_position_embeddings"))
    own = read_optional_json(transformer / "sentence_bert_config.json")
    tokenizer = read_optional_json(transformer / "tokenizer_config.json")
    shared = _stated(own.get("max_seq_length")) or _stated(tokenizer.get("model_max_length"))
    return min(shared or positions, positions or shared), positions


def _stated(length: object) -> int:
    """Return a length as a file states it, 0 for none: some models write -1, transformers writes 1e30."""
    return int(length) if isinstance(length, int | float) and 0 < length < NO_LIMIT else 0


def _pooling(folder: Path, modules: tuple[ModelModule, ...]) -> tuple[str, bool, int]:
    """Return the pooling in words, whether prompts take part in it, and the width it puts out."""
    config = _module_config(folder, modules, "Pooling")
    if not config:
        raise ConfigError(f"{folder} has no Pooling module, so it gives no one vector per text")
    mode = config.get("pooling_mode") or [name for flag, name in LEGACY_POOLING.items() if config.get(flag)] or "mean"
    modes = [mode] if isinstance(mode, str) else list(mode)
    width = int(config.get("embedding_dimension") or config["word_embedding_dimension"])
    return "+".join(modes), bool(config.get("include_prompt", True)), width * len(modes)


def _output_width(folder: Path, modules: tuple[ModelModule, ...], pooled_width: int) -> int:
    dense = _module_config(folder, modules[::-1], "Dense")
    return int(dense.get("out_features", pooled_width))


def _module_config(folder: Path, modules: tuple[ModelModule, ...], kind: str) -> dict[str, Any]:
    """Return the configuration of the first module of a kind, or an empty one."""
    found = next((module for module in modules if module.kind == kind), None)
    return {} if found is None else read_optional_json(folder / found.folder / "config.json")


def describe_module(folder: Path, module: ModelModule) -> str:
    """Return a module in words: its kind, for a Dense layer with its settings."""
    if module.kind != "Dense":
        return module.kind
    config = read_optional_json(folder / module.folder / "config.json")
    return "Dense(" + ", ".join(f"{key}={value}" for key, value in sorted(config.items())) + ")"
