"""Curves of a training run: a TensorBoard log while it lasts, and a plot of the losses at its end."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from indexing.errors import EnvironmentProblem
from retrieval.contrastive import TrainingReport, Watch

SMOOTH = 0.9
"""Share of the past in the smoothed loss of the plot."""


@contextmanager
def curves(folder: Path) -> Iterator[Watch]:
    """Log every step below ``folder/tensorboard``.

    Yields:
        What training tells of its steps.

    Raises:
        EnvironmentProblem: When tensorboard or matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401 - looked for before the hours, not after them
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise EnvironmentProblem(
            f"the logs of shortlist train need a package that is not installed ({error}); "
            "install the extra: pip install 'shortlist[train]'"
        ) from error
    writer = SummaryWriter(str(folder / "tensorboard"))

    def watch(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    try:
        yield watch
    finally:
        writer.close()


def draw(report: TrainingReport, path: Path) -> None:
    """Draw the loss of every step, smoothed over it, and the looks at held-out queries on a second axis, as SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "shortlist", "svg.fonttype": "none"}):  # equal curves give equal files
        figure = Figure(figsize=(7, 3.5), layout="constrained")
        axes = figure.subplots()
        steps = range(1, report.steps + 1)
        axes.plot(steps, report.losses, linewidth=0.6, alpha=0.4, color="tab:blue")
        axes.plot(steps, _smoothed(report.losses), color="tab:blue")
        axes.set_xlabel("step")
        axes.set_ylabel("loss (thick: smoothed)")
        if report.dev:
            second = axes.twinx()
            second.plot(
                [point.step for point in report.dev], [point.ndcg for point in report.dev], "o-", color="tab:orange"
            )
            second.set_ylabel("nDCG@10, held-out queries")
        figure.savefig(path, format="svg", metadata={"Date": None})


def _smoothed(values: Sequence[float]) -> list[float]:
    found: list[float] = []
    for value in values:
        found.append(value if not found else SMOOTH * found[-1] + (1 - SMOOTH) * value)
    return found
