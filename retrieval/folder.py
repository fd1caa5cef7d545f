"""Write sentence-transformers folders: a faithful copy of one that was opened, with the settings that applied."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexing import storage
from indexing.errors import StorageError
from indexing.storage.filesystem import explained
from retrieval.models import check_model_folder, model_files, read_optional_json
from retrieval.runtime import without_bars
from retrieval.tower import TowerSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

COPY_BYTES = 1 << 20
"""Bytes held in memory while a file is copied; larger gains nothing."""


def copy_model_folder(source: Path, target: Path, *, settings: TowerSettings) -> None:
    """Copy what a model folder needs and note prompts and lengths where sentence-transformers reads them.

    What `retrieval.models.model_files` lists is taken; exports beside it (``onnx/``, ``openvino/``) are not. Nothing is
    hard-linked: whoever saves a model over the source rewrites its files in place.

    Args:
        source: A sentence-transformers folder.
        target: Must not exist, or be empty.
        settings: What ``source`` was opened with.

    Raises:
        StorageError: When ``target`` holds something, or the file system refuses.
    """
    require_empty(target)
    replaced = settings_files(source, settings)
    storage.make_folder(target)
    for path in model_files(source):
        name = path.relative_to(source)
        storage.make_folder((target / name).parent)
        if name.as_posix() not in replaced:
            _copy(path, target / name)
    for changed, content in replaced.items():
        storage.write_json(target / changed, content)


def write_model_folder(
    model: "SentenceTransformer", target: Path, *, settings: TowerSettings, records: Mapping[str, Any]
) -> None:
    """Write a changed model as a plain sentence-transformers folder, published whole or not at all.

    Args:
        model: The model; prompts, lengths and a closing Normalize are set on it, so that sentence-transformers gives
            the vectors that :class:`retrieval.encoder.DualEncoder` gives.
        target: Must not exist, or be empty.
        settings: Prompts and lengths to write.
        records: Further JSON files at the top, name -> content.

    Raises:
        StorageError: When ``target`` holds something, or the file system refuses.
    """
    require_empty(target)
    _apply_settings(model, settings)
    staging = target.with_name(f".{target.name}.{os.getpid()}.staging")
    storage.remove_folder(staging)
    storage.make_folder(staging)
    try:
        _save(model, staging)
        for name, content in records.items():
            storage.write_json(staging / name, content)
        storage.adopt_folder(staging)
        storage.remove_folder(target)
        storage.publish_folder(staging, target)
    finally:
        storage.remove_folder(staging)


def require_empty(folder: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        StorageError: When it does.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{folder} exists and is not empty; remove it or write somewhere else")


def settings_files(source: Path, settings: TowerSettings) -> dict[str, dict[str, Any]]:
    """Return the JSON files, by name, in which ``source`` must change to say ``settings``; none when it does already.

    sentence-transformers 6 keeps prompts by role in ``config_sentence_transformers.json`` and lengths by role in
    ``sentence_bert_config.json``; its ``encode_query`` and ``encode_document`` follow both.
    """
    transformer = check_model_folder(source)[0].folder
    prompts = _with_prompts(read_optional_json(source / "config_sentence_transformers.json"), settings)
    lengths = _with_lengths(read_optional_json(source / transformer / "sentence_bert_config.json"), settings)
    wanted = {
        "config_sentence_transformers.json": prompts,
        (transformer / "sentence_bert_config.json").as_posix(): lengths,
    }
    return {name: content for name, content in wanted.items() if content != read_optional_json(source / name)}


def _apply_settings(model: "SentenceTransformer", settings: TowerSettings) -> None:
    from sentence_transformers.base.modules import Normalize

    model.prompts |= {"query": settings.query_prompt, "document": settings.product_prompt}
    model[0].query_length = settings.query_max_tokens
    model[0].document_length = settings.product_max_tokens
    model.max_seq_length = settings.product_max_tokens
    if not isinstance(model[-1], Normalize):
        model.append(Normalize())


def _save(model: "SentenceTransformer", folder: Path) -> None:
    from safetensors import SafetensorError

    try:
        with explained("write", folder), without_bars():
            model.save(str(folder), create_model_card=False)
    except SafetensorError as cause:  # what it makes of an OSError
        raise StorageError(f"could not write the weights into {folder}: {cause}; is the disk full?") from cause


def _with_prompts(config: dict[str, Any], settings: TowerSettings) -> dict[str, Any]:
    own = config.get("prompts") or {}
    roles = {"query": settings.query_prompt, "document": settings.product_prompt}
    if all((own.get(role) or "") == prompt for role, prompt in roles.items()):
        return config
    return config | {"prompts": own | roles}


def _with_lengths(config: dict[str, Any], settings: TowerSettings) -> dict[str, Any]:
    return config | {"query_length": settings.query_max_tokens, "document_length": settings.product_max_tokens}


def _copy(source: Path, target: Path) -> None:
    with explained("copy", source), source.open("rb") as original, storage.writer(target) as copy:
        while content := original.read(COPY_BYTES):
            copy.write(content)
