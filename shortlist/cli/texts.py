"""Reports as people read them on a terminal."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rerank.confidence import ConfidenceReport
    from rerank.fusion import WeightChoice
    from rerank.training import RerankerReport
    from retrieval.contrastive import TrainingReport
    from retrieval.records import SearchResult
    from retrieval.survey import Survey
    from shortlist.building.report import BuildReport
    from shortlist.jobs.calibrate import CalibrationReport


def build_text(report: "BuildReport") -> str:
    """Return what ``build`` prints."""
    recall, tokens = report.index["recall"], report.tokens
    return "\n".join(
        [
            f"published {report.version} in {report.bundle}",
            f"  products  {report.products}; quarantined rows {report.quarantined}, left out as deleted "
            f"{report.deleted}, restored {report.restored}",
            f"  vectors   {report.encoded} texts encoded, {report.reused} products reused a stored vector",
            f"  tokens    {tokens['tokens']}; texts truncated {tokens['truncated']}, unknown tokens "
            f"{tokens['unknown']}",
            *(f"  precision {each['kind']} ({each['reason']})" for each in [report.precision] if each),
            f"  index     {report.index['kind']} ({report.index['reason']})",
            f"  recall    {recall['value']:.4f} @{recall['k']} against exact search, {recall['queries']} queries "
            f"({recall['queries_from']})",
            "  seconds   " + ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in report.seconds.items()),
            *(f"  warning: {warning}" for warning in report.warnings),
        ]
    )


def hits_text(result: "SearchResult") -> str:
    """Return what ``search`` prints."""
    corrected = " (corrected; spelling=false searches for what was typed)" if result.respelt else ""
    lines = [f"{result.query!r}{corrected} in {result.generation}"]
    if result.abstained:
        lines.append(f"  no good match (probability {result.match_probability:.0%}); the nearest are:")
    for hit in result.hits:
        stages = "  ".join(f"{stage} {score:.3f}" for stage, score in hit.stages.items())
        price = f"  {hit.product.price:.2f}" if hit.product.price is not None else ""
        good = f"  good match {hit.probability:.0%}" if hit.probability is not None else ""
        lines += [f"{hit.rank:>3}. {hit.product.title}{price}{good}"]
        lines += [f"     {hit.product_id}  {hit.score:.4f}  ({stages})"]
    if not result.hits:
        lines.append("  no product fulfils the query and its filters")
    lines.append("  ".join(f"{stage} {elapsed:.1f} ms" for stage, elapsed in result.timings_ms.items()))
    lines += [f"skipped to keep the deadline: {stage}" for stage in result.degraded]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in result.warnings)])


def retriever_text(report: "TrainingReport") -> str:
    """Return what ``train-retriever`` prints."""
    lines = [
        f"trained on {report.pairs} pairs of {report.queries} queries: {report.steps} steps, {report.seconds:.0f} s"
    ]
    if report.dev_before is not None and report.dev_after is not None:
        stopped = ", stopped early" if report.stopped_early else ""
        lines.append(
            f"dev nDCG@10 ({report.dev_queries} queries) {report.dev_before:.4f} -> {report.dev_after:.4f}, "
            f"best after epoch {report.best_epoch:g}{stopped}"
        )
    if report.missing:
        lines.append(f"warning: {report.missing} judgments are of products that the catalogue does not hold")
    return "\n".join(lines)


def reranker_text(report: "RerankerReport") -> str:
    """Return what ``train-reranker`` prints."""
    lines = [f"trained on {report.pairs} pairs of {report.queries} queries, {report.seconds:.0f} s"]
    if report.choice is not None:
        lines.append(_choice_line(report.choice))
    return "\n".join([*lines, *(_confidence_lines(report.confidence) if report.confidence is not None else [])])


def calibration_text(report: "CalibrationReport") -> str:
    """Return what ``calibrate`` prints."""
    before = f"weight {report.weight_before:g} before"
    return "\n".join([f"{_choice_line(report.choice)}; {before}", *_confidence_lines(report.confidence)])


def _choice_line(choice: "WeightChoice") -> str:
    return (
        f"final fusion: weight {choice.weight:g} for the cross-encoder, chosen on {choice.queries} held-out queries"
        + (" (it did not win there, so it will not be asked)" if choice.weight == 0 else "")
        + f"; nDCG@10 {choice.nested_gain:+.4f} over the first stage (cross-validated, standard error "
        f"{choice.nested_error:.4f})"
    )


def _confidence_lines(report: "ConfidenceReport") -> list[str]:
    lines = []
    if report.pairs is not None:
        low, high = report.pairs.skill_interval
        lines.append(
            f"probabilities of hits: Brier skill {report.pairs.skill:.3f} [{low:.3f}, {high:.3f}], calibration error "
            f"{report.pairs.calibration_error:.3f}, {report.pairs.pairs} pairs of {report.queries} held-out queries"
        )
    for name, evidence in (("reranked", report.reranked), ("first stage", report.first_stage)):
        if evidence is not None:
            lines.append(
                f"no good match ({name}): AUC {evidence.auc:.3f}; said of {evidence.noticed:.0%} of {evidence.misses} "
                f"answers without one and of {evidence.withheld:.1%} of {evidence.answers} with one"
            )
    return [*lines, *(f"not learned: {reason}" for reason in report.missing)]


def survey_text(survey: "Survey") -> str:
    """Return what ``check`` prints."""
    report = survey.report
    lines = [
        f"{survey.name}: {report.rows} rows, {report.accepted} accepted, {report.quarantined} set aside, "
        f"{survey.duplicates} duplicate ids",
        f"  texts     {survey.shared_texts} equal another product's, {survey.empty_texts} empty",
        "  missing   " + ", ".join(f"{name} {share:.1%}" for name, share in survey.empty_shares.items() if share > 0),
    ]
    if survey.price_range is not None:
        lines.append(f"  price     {survey.price_range[0]:.2f} to {survey.price_range[1]:.2f}")
    if survey.dim:
        lines.append(f"  vectors   {survey.dim} dimensions come with the catalogue")
    if survey.tokens is not None and survey.lengths is not None:
        tokens, lengths = survey.tokens, survey.lengths
        lines.append(
            f"  tokens    {lengths.p50} in the median text, {lengths.p95} at p95, {lengths.longest} in the longest; "
            f"{tokens.truncated_share:.1%} of texts truncated, {tokens.unknown_share:.2%} of tokens unknown"
        )
    for problem, count in report.problems.items():
        lines.append(f"  problem   {problem}: {count} rows")
    for bad in report.examples:
        lines.append(f"            {bad.file} row {bad.row}: {'; '.join(bad.problems)}")
    return "\n".join([*lines, *(f"  warning: {warning}" for warning in survey.warnings)])
