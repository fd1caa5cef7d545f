"""The identity of a tower: everything that decides which vector a text gets, read from files, without torch.

An index answers rightly only for queries from the tower that encoded its products. Another tower of the same dimension
raises no error, it only finds the wrong products; so a bundle stores the fingerprint and refuses another one.

What each field is made of, and what is left out on purpose:

- ``weights``: SHA-256 over path and SHA-256 of every ``*.safetensors``. The same numbers in another file count as
  another model; arithmetic (fp32, bf16) is the runtime's and does not count.
- ``tokenizer``: SHA-256 of ``tokenizer.json`` as canonical JSON without ``truncation`` and ``padding``, which every
  opening sets anew, and of the lower-casing and accent options in the two files beside it.
- ``architecture``: the modules and the network's ``config.json``, without training options, names and versions.
- prompts, lengths, pooling, dimension: as they apply, whether the folder or the configuration says so.

So copying a folder keeps the fingerprint, and so does :meth:`retrieval.encoder.DualEncoder.save`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexing import storage
from indexing.errors import ConfigError
from retrieval.config import EncoderConfig, TextConfig
from retrieval.models import check_model_folder, read_optional_json, weight_files
from retrieval.text import TEMPLATE_VERSION
from retrieval.tower import read_settings

TOKENIZER_STATE = frozenset({"truncation", "padding"})
"""Keys of ``tokenizer.json`` that are the last caller's settings, not the tokenizer's."""

TOKENIZER_OPTIONS = (
    "add_bos_token", "add_eos_token", "add_prefix_space", "added_tokens_decoder", "additional_special_tokens",
    "bos_token", "cls_token", "do_basic_tokenize", "do_lower_case", "eos_token", "mask_token", "never_split",
    "pad_token", "padding_side", "sep_token", "strip_accents", "tokenize_chinese_chars", "truncation_side", "unk_token",
)  # fmt: skip
"""Keys of ``tokenizer_config.json`` from which transformers 5 rebuilds a BERT tokenizer's normaliser."""

NOT_ARITHMETIC = frozenset(
    {
        "_name_or_path", "architectures", "dtype", "gradient_checkpointing", "id2label", "initializer_range",
        "label2id", "torch_dtype", "transformers_version", "use_cache",
    }
)  # fmt: skip
"""Keys of a network's ``config.json`` that do not change its output; dropout is left out by its suffix."""


NOT_PRODUCT_SIDE = frozenset({"query_prompt", "query_max_tokens", "text_template", "lower_case"})
"""Fields that do not change the vector of a product's *text*: the last two decide the text, not what becomes of it."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The fields of a tower's identity, each a readable string."""

    fields: Mapping[str, str]

    @property
    def product_side(self) -> "Fingerprint":
        """Return the fields that decide which vector a product text gets: what stored vectors are kept under."""
        return Fingerprint({name: value for name, value in self.fields.items() if name not in NOT_PRODUCT_SIDE})

    @property
    def digest(self) -> str:
        """Return the SHA-256, in hex, of the fields as JSON with sorted keys."""
        return _sha256(_canonical(dict(self.fields)))


def tower_fingerprint(folder: Path, encoder: EncoderConfig, text: TextConfig) -> Fingerprint:
    """Return the identity of the tower that ``folder`` becomes under a configuration.

    Args:
        folder: A sentence-transformers folder.
        encoder: Prompts and lengths that replace the folder's own; its ``model`` is not read.
        text: How a product becomes the text that is encoded.

    Raises:
        ConfigError: When the folder is no usable model folder.
        ArtifactUntrusted: When it holds what can run code.
        ArtifactCorrupt: When one of its JSON files does not parse.
    """
    settings = read_settings(folder, encoder)
    transformer = folder / check_model_folder(folder)[0].folder
    return Fingerprint(
        {
            "weights": weights_digest(folder),
            "tokenizer": tokenizer_digest(transformer),
            "architecture": f"{settings.modules}; {network_settings(transformer)}",
            "pooling": settings.pooling + ("" if settings.prompt_pooled else " without the prompt"),
            "normalisation": f"unit length (L2), by the {'model' if settings.normalised else 'encoder'}",
            "dimension": str(settings.dimension),
            "query_prompt": settings.query_prompt,
            "product_prompt": settings.product_prompt,
            "query_max_tokens": str(settings.query_max_tokens),
            "product_max_tokens": str(settings.product_max_tokens),
            **text_fields(text),
        }
    )


def text_fields(text: TextConfig) -> dict[str, str]:
    """Return the fields that say how a product becomes the text that is encoded."""
    return {"text_template": _text_template(text), "lower_case": "yes" if text.lower_case else "no"}


def differences(stored: Fingerprint, folder: Fingerprint, *, stored_in: str = "index") -> list[str]:
    """Return a phrase per field that differs, such as ``pooling: mean in the index, cls in the folder``."""
    names = sorted({*stored.fields, *folder.fields})
    return [
        f"{name}: {_quoted(stored, name)} in the {stored_in}, {_quoted(folder, name)} in the folder"
        for name in names
        if stored.fields.get(name) != folder.fields.get(name)
    ]


def _quoted(fingerprint: Fingerprint, name: str) -> str:
    value = fingerprint.fields.get(name)
    if value is None:
        return "nothing"
    return value or "none"


def weights_digest(folder: Path) -> str:
    """Return the field ``weights`` of a checked model folder."""
    lines = [f"{path.relative_to(folder).as_posix()} {storage.digest(path).sha256}\n" for path in weight_files(folder)]
    return "sha256:" + _sha256("".join(lines))


def tokenizer_digest(transformer: Path) -> str:
    """Return the field ``tokenizer`` of the folder of a transformer.

    Raises:
        ConfigError: When it has no ``tokenizer.json``.
        ArtifactCorrupt: When a file of the tokenizer does not parse.
    """
    path = transformer / "tokenizer.json"
    if not path.is_file():
        raise ConfigError(
            f"{transformer} has no tokenizer.json; open the model with sentence-transformers once and save it again"
        )
    definition = {key: value for key, value in read_optional_json(path).items() if key not in TOKENIZER_STATE}
    options = read_optional_json(transformer / "tokenizer_config.json")
    definition["options"] = {key: options[key] for key in TOKENIZER_OPTIONS if options.get(key) is not None}
    definition["special"] = read_optional_json(transformer / "special_tokens_map.json")
    definition["added"] = read_optional_json(transformer / "added_tokens.json")
    definition["lower"] = bool(read_optional_json(transformer / "sentence_bert_config.json").get("do_lower_case"))
    return "sha256:" + _sha256(_canonical(definition))


def network_settings(transformer: Path) -> str:
    """Return what shapes a transformer's arithmetic: keys of its ``config.json``, and which output is read."""
    config = read_optional_json(transformer / "config.json")
    shaping = {
        key: value
        for key, value in sorted(config.items())
        if value is not None and key not in NOT_ARITHMETIC and "dropout" not in key
    }
    modalities = read_optional_json(transformer / "sentence_bert_config.json").get("modality_config")
    shaping |= {"modalities": _canonical(modalities)} if isinstance(modalities, dict) else {}
    return ", ".join(f"{key}={value}" for key, value in shaping.items())


def _text_template(text: TextConfig) -> str:
    parts = f"{' | '.join(text.fields)}, joined by {text.separator!r}, at most {text.max_chars} characters"
    if any(name.startswith("attributes") for name in text.fields):
        parts += f", at most {text.max_attributes} attributes"
    return parts + (", labelled" if text.labels else "") + f" (template version {TEMPLATE_VERSION})"


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
