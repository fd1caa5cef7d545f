"""Curves of a training run: a TensorBoard log while it lasts, and a plot of the losses (SVG) at its end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from indexing.errors import EnvironmentProblem
from retrieval.contrastive import Watch

SMOOTH = 0.9
"""Share of the past in the smoothed loss of the plot."""


@contextmanager
def curves(folder: Path) -> Iterator[Watch]:
    """Log every step below ``folder/tensorboard`` and draw ``folder/losses.svg`` when the block ends well.

    Yields:
        What training tells of its steps.

    Raises:
        EnvironmentProblem: When tensorboard or matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise EnvironmentProblem(
            f"the logs of shortlist train need a package that is not installed ({error}); "
            "install the extra: pip install 'shortlist[train]'"
        ) from error
    mpl.use("svg")
    seen: dict[str, list[tuple[int, float]]] = {}
    writer = SummaryWriter(str(folder / "tensorboard"))

    def watch(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            seen.setdefault(name, []).append((step, value))
            writer.add_scalar(name, value, step)

    try:
        yield watch
        draw(seen, folder / "losses.svg")
    finally:
        writer.close()


def draw(seen: Mapping[str, list[tuple[int, float]]], path: Path) -> None:
    """Draw the loss of every step, smoothed over it, and the looks at held-out queries on a second axis."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "shortlist", "svg.fonttype": "none"}):  # equal curves give equal files
        figure = Figure(figsize=(7, 3.5), layout="constrained")
        axes = figure.subplots()
        steps, losses = zip(*seen.get("loss", [(0, 0.0)]), strict=True)
        axes.plot(steps, losses, linewidth=0.6, alpha=0.4, color="tab:blue")
        axes.plot(steps, _smoothed(losses), color="tab:blue", label="loss (smoothed)")
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        if seen.get("dev_ndcg"):
            second = axes.twinx()
            looks, values = zip(*seen["dev_ndcg"], strict=True)
            second.plot(looks, values, "o-", color="tab:orange")
            second.set_ylabel("nDCG@10, held-out queries")
        figure.savefig(path, metadata={"Date": None})


def _smoothed(values: tuple[float, ...]) -> list[float]:
    found: list[float] = []
    for value in values:
        found.append(value if not found else SMOOTH * found[-1] + (1 - SMOOTH) * value)
    return found
