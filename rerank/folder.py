"""What a cross-encoder folder must hold, checked before a library opens it. Imports no torch.

sentence-transformers opens a dual encoder's folder as a CrossEncoder too, with a head of random numbers: every pair
then scores about the same (.504 after the sigmoid, measured with all-MiniLM-L6-v2). So a folder without a trained head
is refused.
"""

from pathlib import Path

from indexing import storage
from indexing.errors import ArtifactCorrupt, ConfigError
from retrieval.models import ModelModule, check_model_folder

FUSION_FILE = "final_fusion.json"
"""The final fusion's weight and what it was chosen from, beside the model's own files; libraries ignore it."""

HEAD_PREFIXES = ("classifier.", "score.")
"""Where transformers' sequence-classification models keep their last layer (BERT, RoBERTa, DistilBERT, ELECTRA:
classifier; Qwen and other decoders: score)."""

ADVICE = "train one with: shortlist train-reranker"


def check_cross_encoder_folder(folder: Path) -> None:
    """Make sure that ``folder`` is a cross-encoder with a trained head and that opening it runs no foreign code.

    Both shapes that sentence-transformers 6 saves are taken: a sequence-classification transformer, and transformer,
    pooling and a Dense layer that puts out ``scores``.

    Raises:
        ConfigError: When it is no sentence-transformers folder, or has no head (a dual encoder, for example).
        ArtifactUntrusted: When it holds something that can carry code.
        ArtifactCorrupt: When a JSON file in it does not parse.
    """
    if not (folder / "modules.json").is_file():
        raise ConfigError(
            f"{folder} is not a cross-encoder as sentence-transformers 6 saves it: it has no modules.json; "
            f"open it once with sentence_transformers.CrossEncoder and save it with save_pretrained, or {ADVICE}"
        )
    modules = check_model_folder(folder)
    last = modules[-1]
    if len(modules) == 1 and _has_classifier(folder / last.folder):
        return
    if last.kind == "Dense" and _puts_out_scores(folder, last):
        return
    kinds = ", ".join(module.kind for module in modules)
    raise ConfigError(f"{folder} has no trained scoring head (its modules: {kinds}), so it would score noise; {ADVICE}")


def stored_weight(folder: Path) -> float:
    """Return the final fusion's weight that was stored with the model.

    Raises:
        ConfigError: When none is stored, as in a folder that ``train-reranker`` did not write.
        ArtifactCorrupt: When the file does not hold a weight in [0, 1].
    """
    path = folder / FUSION_FILE
    if not path.is_file():
        raise ConfigError(
            f"{folder} has no {FUSION_FILE}, so no weight was chosen for it on held-out queries; "
            f"set reranker.weight, or {ADVICE}"
        )
    weight = storage.read_json(path).get("weight")
    if not isinstance(weight, int | float) or not 0 <= weight <= 1:
        raise ArtifactCorrupt(f"{path}: expected a weight in [0, 1], got {weight!r}; {ADVICE}")
    return float(weight)


def _has_classifier(transformer: Path) -> bool:
    architectures = storage.read_json(transformer / "config.json", foreign=True).get("architectures") or [""]
    if not architectures[0].endswith("ForSequenceClassification"):
        return False
    return any(name.startswith(HEAD_PREFIXES) for name in _tensor_names(transformer))


def _puts_out_scores(folder: Path, dense: ModelModule) -> bool:
    config = storage.read_json(folder / dense.folder / "config.json", foreign=True)
    if config.get("module_output_name") != "scores":
        return False
    return "linear.weight" in _tensor_names(folder / dense.folder)


def _tensor_names(module: Path) -> list[str]:
    """Return the names of all tensors in a module's folder."""
    from safetensors import SafetensorError, safe_open

    names: list[str] = []
    for path in sorted(module.glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as tensors:
                names += tensors.keys()
        except SafetensorError as error:
            raise ArtifactCorrupt(f"{path} does not read as safetensors: {error}; {ADVICE}") from error
    return names
