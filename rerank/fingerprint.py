"""The identity of a cross-encoder: everything that decides which score a pair gets, read from files, without torch.

Nothing in an index depends on the cross-encoder, so another one raises no error and gives other rankings. A bundle
stores the fingerprint and refuses another one, field by field as for the query tower (`retrieval.fingerprint`).
"""

from pathlib import Path

from indexing.errors import ArtifactCorrupt
from rerank.cascade import student_config
from rerank.config import CrossEncoderConfig
from rerank.corrected import fusion_of
from rerank.folder import check_cross_encoder_folder
from rerank.pairs import MAX_PRODUCT_CHARS
from retrieval.fingerprint import Fingerprint, network_settings, tokenizer_digest, weights_digest
from retrieval.models import ModelModule, check_model_folder, read_optional_json
from retrieval.text import MAX_QUERY_CHARS
from retrieval.tower import describe_module, longest_text


def reranker_fingerprint(folder: Path, config: CrossEncoderConfig, student: Path | None = None) -> Fingerprint:
    """Return the identity of the reranker that ``folder`` becomes under a configuration.

    Args:
        folder: A CrossEncoder folder.
        config: Length and weight that replace the folder's own, and how many candidates a student passes on; its
            folders are not read.
        student: Folder of the student that sees candidates first; its fields have ``student_`` before their names.

    Raises:
        ConfigError: When the folder is no usable cross-encoder, or stores no weight when the stored one is asked for.
        ArtifactUntrusted: When it holds what can run code.
        ArtifactCorrupt, ArtifactIncompatible: When one of its JSON files does not parse or cannot be used.
    """
    if student is not None:
        front = reranker_fingerprint(student, student_config(config, student))
        return Fingerprint(
            {
                **reranker_fingerprint(folder, config).fields,
                **{f"student_{name}": value for name, value in front.fields.items()},
                "student_passes": str(config.passes),
            }
        )
    check_cross_encoder_folder(folder)
    modules = check_model_folder(folder)
    transformer = folder / modules[0].folder
    described = " > ".join(describe_module(folder, module) for module in modules)
    return Fingerprint(
        {
            "weights": weights_digest(folder),
            "tokenizer": tokenizer_digest(transformer),
            "architecture": f"{described}; {network_settings(transformer)}",
            "pooling": _pooling(folder, modules),
            "labels": str(_labels(transformer)),
            "activation": _activation(folder),
            "max_tokens": str(config.max_tokens or longest_text(transformer)[0]),
            "max_chars": f"{MAX_QUERY_CHARS} of the query, {MAX_PRODUCT_CHARS} of the product",
            "final_weight": fusion_of(config, folder).identity,
        }
    )


def _pooling(folder: Path, modules: tuple[ModelModule, ...]) -> str:
    """Return the settings of the pooling; one without (a classification head) has its own."""
    folders = [folder / module.folder for module in modules if module.kind == "Pooling"]
    settings = read_optional_json(folders[0] / "config.json") if folders else {}
    return ", ".join(f"{key}={value}" for key, value in sorted(settings.items())) or "the head's"


def _labels(transformer: Path) -> int:
    """Return how many scores the network puts out per pair, as its configuration says."""
    config = read_optional_json(transformer / "config.json")
    labels = config.get("id2label")
    if labels is not None and not isinstance(labels, dict):
        raise ArtifactCorrupt(f"{transformer / 'config.json'}: id2label must be an object, got {labels!r:.80}")
    return len(labels) if labels else int(config.get("num_labels") or 1)


def _activation(folder: Path) -> str:
    """Return what other programs apply to the score; the reranker here takes the score as it is."""
    own = read_optional_json(folder / "config_sentence_transformers.json")
    return str(own.get("activation_fn") or "none")
