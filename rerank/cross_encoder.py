"""The cross-encoder: one raw score for a query and a product text read together."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from indexing.errors import ArtifactCorrupt, ConfigError
from indexing.forks import claim_threads
from rerank.config import CrossEncoderConfig
from rerank.corrected import fusion_of
from rerank.final import FinalFusion
from rerank.folder import ADVICE, check_cross_encoder_folder
from rerank.fusion import FloatVector
from rerank.model import first_layers, layer_stack, load_cross_encoder
from rerank.pairs import EncodedPair, Pair, PairTokenizer, features
from retrieval.config import Backend, Precision, RuntimeConfig
from retrieval.lanes.choice import choose_backend, open_lane, settle_precision
from retrieval.lanes.lane import Lane, LaneInput
from retrieval.lanes.torch_lane import BATCH_TOKENS, TorchLane
from retrieval.models import model_folder
from retrieval.runtime import budget, choose_device, set_threads

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


class CrossEncoderReranker:
    """A sentence-transformers CrossEncoder with one output, made safe to share between threads.

    Scores are raw: the logit before any sigmoid, computed in float32 whatever the precision of the layers below, since
    a sigmoid of a bfloat16 number ties every good candidate at 1.0. A pair's score does not depend on the other pairs
    beyond 1e-5 in fp32, and equal pairs of one call get equal scores.

    Attributes:
        lane: What runs the network.
    """

    def __init__(
        self,
        model: "CrossEncoder",
        *,
        folder: Path,
        fusion: FinalFusion,
        max_tokens: int = 0,
        device: str = "cpu",
        precision: Precision = Precision.fp32,
        batch_tokens: int = 0,
        backend: Backend = Backend.torch,
        threads: int = 1,
    ) -> None:
        """Wrap a loaded model; ``open`` is the way in for a folder on disk.

        A model whose weights will still change is for ``torch`` alone: another backend keeps those it was made from.

        Raises:
            ConfigError: If the model puts out another number of scores than one, or ``max_tokens`` exceeds what it
                reads.
        """
        _require_one_output(model, folder)
        self.model = model.to(device).eval()
        self.folder = folder
        self.fusion = fusion
        self.tokenizer = PairTokenizer(
            model.tokenizer.backend_tokenizer, max_tokens=_longest(model, max_tokens, folder)
        )
        self._device = device
        self._batch_tokens = batch_tokens
        self._backend = backend
        self._threads = threads
        self.lane: Lane = self._open_lane(settle_precision(precision, device))

    @classmethod
    def open(cls, config: CrossEncoderConfig, runtime: RuntimeConfig) -> "CrossEncoderReranker":
        """Open a CrossEncoder folder from disk; nothing is ever downloaded.

        Raises:
            ConfigError: If the folder is missing, has no trained head or not one output, or stores no weight when the
                configuration asks for the stored one.
            ArtifactUntrusted: If it holds something that can carry code.
            ArtifactCorrupt: If a file does not parse or a weight of the network is not finite.
            EnvironmentProblem: If the device asked for is not there.
            ForkSafetyError: If this process was forked from one that has used native threads.
        """
        claim_threads()
        folder = model_folder(config.model)
        check_cross_encoder_folder(folder)
        fusion = fusion_of(config, folder)
        device = choose_device(runtime)
        choose_backend(runtime, device)  # what is not there is said before a model is loaded for nothing
        set_threads(runtime)
        return cls(
            load_cross_encoder(folder),
            folder=folder,
            fusion=fusion,
            max_tokens=config.max_tokens,
            device=device,
            precision=runtime.precision,
            batch_tokens=runtime.batch_tokens,
            backend=runtime.backend,
            threads=budget(runtime),
        )

    @property
    def layers(self) -> int:
        """Number of transformer layers.

        Raises:
            ConfigError: If the network does not show which they are.
        """
        return len(layer_stack(self.model))

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all its weights."""
        return sum(weight.numel() * weight.element_size() for weight in self.model.parameters())

    def variant(self, *, layers: int = 0, precision: Precision | None = None) -> "CrossEncoderReranker":
        """Return the same cross-encoder in another arithmetic, or with its first layers alone under the same head.

        Nobody trained the head to read those layers: their scores show what depth is worth, not what a smaller model
        could do. Weights are shared, and so is the lock under which they run.

        Args:
            layers: From the input up; 0 keeps all.
            precision: ``None`` keeps this one's.

        Raises:
            ConfigError: If there are fewer layers, or the network does not show which they are.
            EnvironmentProblem: If this processor cannot compute so.
        """
        other = CrossEncoderReranker(
            first_layers(self.model, layers) if layers else self.model,
            folder=self.folder,
            fusion=self.fusion,
            max_tokens=self.tokenizer.max_tokens,
            device=self._device,
            precision=precision or self.lane.precision,
            batch_tokens=self._batch_tokens,
            backend=self._backend,
            threads=self._threads,
        )
        if isinstance(other.lane, TorchLane) and isinstance(self.lane, TorchLane):
            other.lane.lock = self.lane.lock
        return other

    def score(self, query: str, texts: Sequence[str]) -> FloatVector:
        """Score product texts for one query, float32 [n] in the order given, higher is better; empty for no texts.

        Raises:
            ArtifactCorrupt: If the model puts out NaN or infinity.
        """
        return self.score_many([(query, text) for text in texts])

    def visible(self, query: str, text: str) -> Pair:
        """Return what of a query and a product text the model reads before the pair is cut."""
        return self.tokenizer.visible(query, text)

    def score_many(self, pairs: Sequence[Pair]) -> FloatVector:
        """Score (query, product text) pairs, float32 [n] in the order given; see ``score``."""
        claim_threads()
        distinct = list(dict.fromkeys(pairs))  # equal pairs in batches of other widths would differ in the last digit
        scores = self.score_encoded(self.tokenizer.encode(distinct))
        by_pair = dict(zip(distinct, scores, strict=True))
        return np.array([by_pair[pair] for pair in pairs], dtype=np.float32)

    def score_encoded(self, pairs: Sequence[EncodedPair]) -> FloatVector:
        """Score pairs that are token ids already, float32 [n] in the order given; see ``score``."""
        given = LaneInput([pair.tokens for pair in pairs], [pair.segments for pair in pairs])
        scores = self.lane.run(given)[:, 0]
        if not np.isfinite(scores).all():
            raise ArtifactCorrupt(
                f"the cross-encoder in {self.folder} scored {int((~np.isfinite(scores)).sum())} of {len(pairs)} pairs "
                f"NaN or infinite with precision={self.lane.precision.name}; try runtime.precision=fp32, or {ADVICE}"
            )
        return scores

    def _open_lane(self, precision: Precision) -> Lane:
        runtime = RuntimeConfig(device=self._device, precision=precision, backend=self._backend)
        named = str(self.folder)

        def openvino_lane() -> Lane:
            from rerank.lanes import openvino_scorer

            return openvino_scorer(
                self.model,
                precision=precision,
                threads=self._threads,
                batch_tokens=self._batch_tokens or BATCH_TOKENS,
                named=named,
            )

        def packed_lane() -> Lane:
            from rerank.lanes import packed_scorer

            return packed_scorer(self.model, precision=precision, batch_tokens=self._batch_tokens, named=named)

        def torch_lane() -> Lane:
            return TorchLane(
                partial(_forward, self.model, self._device),
                width=1,
                device=self._device,
                precision=precision,
                batch_tokens=self._batch_tokens,
            )

        return open_lane(
            runtime,
            self._device,
            {Backend.torch: torch_lane, Backend.openvino: openvino_lane, Backend.packed: packed_lane},
        )


def _forward(model: "CrossEncoder", device: str, given: LaneInput) -> torch.Tensor:
    """What a lane runs. It has the model and not the reranker, which has the lane: no ring (ADR 0011)."""
    pairs = [EncodedPair(*pair) for pair in zip(given.rows, given.segments or (), strict=True)]
    return forward_scores(model, pairs, device)[:, None]


def forward_scores(model: "CrossEncoder", pairs: Sequence[EncodedPair], device: str) -> torch.Tensor:
    """Run the model on one batch of at least one pair; raw scores, float32 [n], with their gradient where it is on."""
    batch = features(pairs, pad_token=model.tokenizer.pad_token_id, device=device)
    if "token_type_ids" not in model.tokenizer.model_input_names:
        del batch["token_type_ids"]
    scores: torch.Tensor = model(batch)["scores"]
    return scores.float().squeeze(-1)


def _require_one_output(model: "CrossEncoder", folder: Path) -> None:
    if model.num_labels != 1:
        raise ConfigError(f"{folder} puts out {model.num_labels} scores per pair, expected 1; {ADVICE}")


def _longest(model: "CrossEncoder", asked: int, folder: Path) -> int:
    """Return the longest pair in tokens: as asked, or the model's own; never more than it has positions for."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if asked and positions and asked > positions:
        raise ConfigError(f"max_tokens={asked} is more than the {positions} positions of the cross-encoder in {folder}")
    longest = asked or min((length for length in (model.max_seq_length, positions) if length), default=0)
    if not longest:
        raise ConfigError(f"the cross-encoder in {folder} states no longest pair; set reranker.max_tokens")
    return int(longest)
