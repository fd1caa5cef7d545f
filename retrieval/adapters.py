"""Low-rank additions to a tower's linear layers: a percent of the weights to train, and a plain model afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from indexing.errors import EnvironmentProblem
from retrieval.encoder import DualEncoder

ALPHA_PER_RANK = 2
"""Additions are scaled by alpha / rank; 2 is what the LoRA paper's authors and peft's examples use most."""


@contextmanager
def low_rank(tower: DualEncoder, rank: int) -> Iterator[None]:
    """Train additions of this rank instead of the weights inside the block, and merge them into the weights at its end.

    Where the block fails nothing is merged and the additions go. A rank of 0 changes nothing.

    Args:
        tower: The model; its own weights are frozen in the block.
        rank: Rank of every addition.

    Raises:
        EnvironmentProblem: When ``peft`` is not installed.

    Source: Hu et al., LoRA, ICLR 2022, equation 3.
    """
    if not rank:
        yield
        return
    try:
        from peft import LoraConfig, LoraModel
    except ImportError as error:
        raise EnvironmentProblem(
            f"trainer.lora_rank={rank} needs the package peft: pip install 'shortlist[train]'"
        ) from error
    network = tower.model[0].auto_model
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    config = LoraConfig(r=rank, lora_alpha=ALPHA_PER_RANK * rank, lora_dropout=0.0, target_modules="all-linear")
    adapted = LoraModel(network, config, "default")  # without the wrapper that files and prompts would need
    try:
        yield
    except BaseException:
        adapted.unload()
        raise
    else:
        adapted.merge_and_unload()
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
