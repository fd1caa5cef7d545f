"""Why a product is, or is not, in an answer: the stage that lost it, and the reasons for where it stands."""

from time import perf_counter

from shortlist.explain.absent import deletion, like, set_aside, unheard_of
from shortlist.explain.reasons import find_reasons
from shortlist.explain.records import Explanation, Otherwise, Outcome, Stage, Twin, Verdict
from shortlist.explain.stages import RANKING, Question, walk
from shortlist.explain.wording import headline
from shortlist.generation import Generation, require_tower

__all__ = ["Explanation", "Otherwise", "Outcome", "Question", "Stage", "Twin", "Verdict", "explain"]


def explain(generation: Generation, question: Question, product_id: str) -> Explanation:
    """Explain what one generation did with a product, in the catalogue or not, when it was asked a question.

    Raises:
        InvalidQuery: A filter that ``search`` refuses, or a text query that nothing can encode.
        ArtifactError, StorageError: There is no such product, and journal or quarantined rows do not read.
    """
    start = perf_counter()
    require_tower(generation)
    if product_id not in generation.products:
        return _absent(generation, question, product_id)
    row = generation.products.row_of(product_id)
    walked = walk(generation, question, row)
    stages_ms = (perf_counter() - start) * 1000
    reasons = find_reasons(generation, question, walked, row)
    return Explanation(
        query=question.text,
        product_id=product_id,
        product=generation.products.get(row),
        generation=generation.name,
        verdict=walked.verdict,
        headline=headline(
            walked.verdict, walked.stages, k=question.k, conditions=walked.conditions, otherwise=walked.otherwise
        ),
        k=question.k,
        rank=walked.rank,
        stages=walked.stages,
        conditions=walked.conditions,
        parts=walked.parts,
        words=reasons.words,
        cosine=reasons.cosine,
        passages=reasons.passages,
        attribution=reasons.attribution,
        twins=reasons.twins,
        otherwise=walked.otherwise,
        timings_ms={"stages": stages_ms, **reasons.timings_ms, "total": (perf_counter() - start) * 1000},
    )


def _absent(generation: Generation, question: Question, product_id: str) -> Explanation:
    """Say why the catalogue does not hold a product: deleted, set aside at the build, or never heard of."""
    generation.eligible(question.filters)  # a filter that cannot be applied is refused whatever the product
    products = generation.products
    suggestions: tuple[str, ...] = ()
    if (record := deletion(generation.bundle, product_id)) is not None:
        verdict, reason = Verdict.deleted, f"deleted, by record {record} of the journal; an upsert brings it back"
    elif (row := set_aside(generation.bundle, product_id)) is not None:
        verdict, reason = Verdict.quarantined, str(row)
    else:
        suggestions = like(product_id, [products.product_id(other) for other in products.there.tolist()])
        verdict, reason = Verdict.not_in_catalogue, unheard_of(len(products.there), suggestions)
    return Explanation(
        query=question.text,
        product_id=product_id,
        product=None,
        generation=generation.name,
        verdict=verdict,
        headline=f"not in the catalogue: {reason}",
        k=question.k,
        rank=None,
        stages=(
            Stage("catalogue", Outcome.lost, of=len(products.there)),
            *(Stage(name, Outcome.not_reached) for name in ("filter", *RANKING)),
        ),
        suggestions=suggestions,
    )
