"""report.html in a browser: it asks for nothing, complains of nothing, fits a desk and a phone, and can be read."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.records import Product, Qrels
from shortlist.evaluation import EvaluationOptions, Provenance, SystemRun, evaluate_runs, write_evaluation
from shortlist.evaluation.changes import changes_since, last_report
from shortlist.evaluation.cost.records import (
    CostReport,
    FilteredPoint,
    Frontier,
    FrontierPoint,
    IndexCurve,
    IndexPoint,
    Latency,
    Machine,
    Memory,
    MemoryPart,
    Noise,
    Percentiles,
    Price,
    Skipped,
)
from shortlist.evaluation.facts import CatalogueFacts
from shortlist.evaluation.records import Estimate, Evaluation, Interval

Show = Callable[..., Any]
PAGES = ("full", "hostile", "bare", "two_queries")
WIDTHS = (1280, 360, 320)

MARKUP = '<script src="https://evil.example/x.js">alert(1)</script><img src=http://evil.example/p.png onerror=alert(2)>'
RIGHT_TO_LEFT = "\u202eعربة تسوق حمراء\u202c שלום"
LONG_WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2
EMOJI = "👩‍👩‍👧‍👦 usb‑c 🔌 cable 🧵"
HOSTILE = (MARKUP, RIGHT_TO_LEFT, LONG_WORD, EMOJI, "{{ 7 * 7 }} {% raw %}", "a\u0000b \ud800")

# --- evaluations ------------------------------------------------------------------------------------------------------


def drawn(queries: int, systems: Mapping[str, float], *, products: int = 30) -> tuple[Qrels, dict[str, SystemRun]]:
    """Draw judgments, and a run per system that is as noisy as its number says."""
    generator = np.random.default_rng(11)
    grades = generator.choice(4, size=(queries, products), p=[0.55, 0.2, 0.15, 0.1])
    grades[:, 0] = 3
    qrels = {
        f"q{q}": {f"p{p}": int(grades[q, p]) for p in range(products) if p % 7} | {"p0": 3} for q in range(queries)
    }
    runs = {}
    for name, noise in systems.items():
        scores = grades + generator.normal(scale=noise, size=grades.shape)
        answers = {
            f"q{q}": [(f"p{p}", float(scores[q, p])) for p in np.argsort(-scores[q], kind="stable")]
            for q in range(queries)
        }
        times = generator.gamma(20, 0.5 / noise, size=queries)
        runs[name] = SystemRun(answers, {f"q{q}": float(times[q]) for q in range(queries)})
    return qrels, runs


def latency(p50: float, *, noisy: bool = False) -> Latency:
    control = Percentiles(0.5, 0.55, 0.7)
    return Latency(calls=180, p50=p50, p95=p50 * 1.4, p99=p50 * 2, control=control, noisy=noisy)


def cost_report() -> CostReport:
    """Return a measurement as large as a real one: 24 ways to answer, four indexes, twelve filters."""
    ways = [(system, depth, layers) for system, depths in (("bm25", (100,)), ("dense", (100,)), ("hybrid", (20, 100)),
            ("hybrid_rerank", (10, 20, 50, 100))) for depth in depths for layers in ((1, 2, 3) if depth and
            system == "hybrid_rerank" else (0,))]  # fmt: skip
    points = []
    for number, (system, depth, layers) in enumerate(ways):
        quality = 0.6 + 0.05 * ["bm25", "dense", "hybrid", "hybrid_rerank"].index(system) + 0.01 * math.log(depth)
        p50 = {"bm25": 0.4, "dense": 6.0, "hybrid": 7.0}.get(system, 8.0 + 0.8 * depth * layers)
        points.append(
            FrontierPoint(
                name=f"{system} depth {depth}" + (f" layers {layers} of 3" if layers else ""),
                system=system,
                index="" if system == "bm25" else "hnsw",
                own_index=system != "bm25",
                depth=depth,
                layers=layers,
                all_layers=3 if layers else 0,
                precision="" if system == "bm25" else "fp32",
                quality=Estimate(quality, Interval(quality - 0.04, quality + 0.04)),
                latency=latency(p50, noisy=number == 3),
                machine_s=p50 / 1000,
                cost_per_million=p50 / 40,
                memory_bytes=300_000_000 + 1_000_000 * depth,
                optimal=layers in (0, 3) and depth != 20,
                dominated_by="" if layers in (0, 3) and depth != 20 else "hybrid depth 100",
                against_best=Estimate(quality - 0.8, Interval(quality - 0.85, quality - 0.75)),
            )
        )
    curves = [
        IndexCurve(
            kind=kind,
            own=kind == "hnsw",
            parameter=parameter,
            fixed={"links": 32.0},
            k=100,
            queries=90,
            count=19_406,
            build_s=3.5,
            size_bytes=30_000_000,
            bytes_per_vector=1536.0,
            mapped_bytes_per_vector=1536.0,
            points=tuple(
                IndexPoint(
                    value=value,
                    chosen=value in (0, 200),
                    recall=1.0 if not value else 1 - 0.3 * 16 / value - shift,
                    latency=latency(0.2 + value / 500),
                    queries_per_s=40_000 / (4 + value / (20 + 100 * shift)),
                )
                for value in values
            ),
        )
        for kind, parameter, values, shift in (
            ("flat", "", (0,), 0.0),
            ("hnsw", "ef_search", (100, 200, 400, 800), 0.0),
            ("ivf_sq8", "probes", (50, 100, 200, 400), 0.02),
            ("ivf_pq", "probes", (50, 100, 200, 400), 0.05),
        )
    ]
    filters = [
        FilteredPoint(
            kind=kind,
            own=kind == "hnsw",
            filter=how,
            label=f"{how} 1 in {part}",
            eligible=19_406 // part,
            share=1 / part,
            k=100,
            queries=90,
            recall=1.0 if kind == "flat" else 1 - part / 4000,
            violations=0,
            short=0,
            latency=latency(1.0),
        )
        for kind in ("flat", "hnsw")
        for how in ("random", "category")
        for part in (2, 20, 400)
    ]
    return CostReport(
        machine=Machine(
            processor="A Processor of 2.6 GHz", cores=2, memory_bytes=2**34, system="Linux 6.1", device="cpu",
            threads=2, load=0.3,
        ),
        noise=Noise(
            task="a product of two matrices", rule="20 % above the quiet time", calls=4000, quiet=0.49,
            control=Percentiles(0.5, 0.6, 0.9), spread=0.2, margin=0.05, noisy=1, points=40,
        ),
        indexes=tuple(curves),
        selectivity=tuple(filters),
        frontier=Frontier(
            measure="nDCG@10", queries=60, timed=30, margin=0.05, best=points[-1].name,
            cheapest_as_good="hybrid depth 100", points=tuple(points),
        ),
        memory=Memory(
            how="proportional share of every page", answered=30,
            parts=(MemoryPart("libraries", 250_000_000, 90_000_000), MemoryPart("index", 4_000_000, 30_000_000)),
        ),
        price=Price(
            per_hour=0.0946, currency="USD", cores=2, utilisation=0.5, source="a list price",
            formula="machine_s / 3600 * per_hour / utilisation",
        ),
        repeats=3,
        seed=7,
        skipped=(Skipped("bf16", "this processor has no such instructions"),),
    )  # fmt: skip


def full() -> Evaluation:
    qrels, runs = drawn(60, {"bm25": 2.0, "dense": 1.4, "hybrid": 1.2, "hybrid_rerank": 0.9})
    calibrated = {
        query_id: [(product_id, min(1.0, max(0.0, 0.1 + score / 4))) for product_id, score in answer]
        for query_id, answer in runs["hybrid"].run.items()
    }
    runs["hybrid"] = replace(runs["hybrid"], run=calibrated, probability_of=2)
    departments = ("Computers and tablets > Laptops", "Phones", "Audio", "Furniture and living > Sofas")
    facts = CatalogueFacts(
        product_ids={f"p{p}" for p in range(5000)},
        titles={f"p{p}": f"Acme wireless thing {p}" for p in range(30)},
        categories={f"p{p}": departments[p % 4] for p in range(30)},
        brands={("acme",)},
        vocabulary={"wireless", "acme", "thing", "mouse", "couch"},
    )
    texts = ("acme wireless thing 20", "couch", "wireles mouse", "acme couch")
    evaluation = evaluate_runs(
        "shop",
        qrels,
        runs,
        options=EvaluationOptions(trials=500),
        products_for_display=lambda p: Product(p, f"Acme wireless thing {p[1:]}, black, with a cable", brand="Acme"),
        query_texts={query_id: texts[number % 4] for number, query_id in enumerate(qrels)},
        facts=facts,
        provenance=Provenance(
            source="data/shop", bundle="artifacts/shop", generation="2026-11-22T180033Z-4697cb", fingerprint="f" * 64,
            digests={"products.parquet": "a" * 64}, settings={"index.kind": "hnsw", "fusion.constant": "60.0"},
            configuration={"catalog.kind": "tabular", "k": "10"}, command="shortlist evaluate --source data/shop",
        ),
    )  # fmt: skip
    return replace(evaluation, cost=cost_report())


def hostile() -> Evaluation:
    qrels, runs = drawn(40, {f"run_{LONG_WORD}": 1.5, "<b>bold</b>": 1.0, "dense{{x}}": 1.2})
    renamed = {name.replace("/", ""): run for name, run in runs.items()}
    facts = CatalogueFacts(
        product_ids={f"p{p}" for p in range(30)},
        titles={f"p{p}": HOSTILE[p % 6] for p in range(30)},
        categories={f"p{p}": HOSTILE[p % 4] for p in range(30)},
    )
    return evaluate_runs(
        MARKUP,
        qrels,
        renamed,
        options=EvaluationOptions(trials=500),
        products_for_display=lambda p: Product(p, HOSTILE[int(p[1:]) % 6], brand=HOSTILE[(int(p[1:]) + 1) % 6]),
        query_texts={query_id: HOSTILE[number % 6] for number, query_id in enumerate(qrels)},
        facts=facts,
        provenance=Provenance(source=MARKUP, bundle="/" + "deep/" * 60, settings={LONG_WORD: MARKUP}, command=MARKUP),
    )


def bare() -> Evaluation:
    qrels, runs = drawn(30, {"only": 1.0})
    return evaluate_runs("bare", qrels, {"only": SystemRun(runs["only"].run)}, options=EvaluationOptions(trials=100))


def two_queries() -> Evaluation:
    qrels, runs = drawn(2, {"one": 1.0, "two": 1.0})
    return evaluate_runs(
        "small", qrels, {"one": runs["one"], "two": SystemRun({})}, options=EvaluationOptions(trials=50)
    )


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return name -> report.html; the full one and the hostile one replace an earlier report of their folder."""
    folder = tmp_path_factory.mktemp("pages")
    for make in (full, hostile, bare, two_queries):
        evaluation, out = make(), folder / make.__name__
        if make in (full, hostile):
            write_evaluation(_earlier(evaluation), out)
        last = last_report(out)
        write_evaluation(evaluation, out, changes=None if last is None else changes_since(last, evaluation))
    return {name: folder / name / "report.html" for name in PAGES}


def _earlier(evaluation: Evaluation) -> Evaluation:
    """Return an evaluation of the same queries in which the first system was the second."""
    first, second, *others = evaluation.systems.values()
    systems = {first.name: replace(second, name=first.name)} | {of.name: of for of in others}
    settings = replace(evaluation.provenance, settings={"index.kind": "flat"})
    return replace(evaluation, systems=systems, baseline=others[0].name if others else first.name, candidate="",
                   comparisons={}, by_slice=(), best=(), worst=(), provenance=settings)  # fmt: skip


# --- nothing from elsewhere, nothing to complain of -------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing_but_itself_and_the_console_stays_empty(show: Show, pages: dict[str, Path], name: str):
    page = show(pages[name])
    asked = [url for url in page.requests if not url.startswith("data:")]
    assert asked == [pages[name].as_uri()]
    assert page.complaints == []
    assert page.run("document.querySelectorAll('script, img, iframe, link[rel=stylesheet]').length") == 0
    assert page.run("document.querySelectorAll('section').length") >= 3


def test_a_page_that_asks_for_a_picture_or_complains_is_noticed(show: Show, tmp_path: Path):
    """The two checks above can fail."""
    (tmp_path / "bad.html").write_text("<!doctype html><img src='http://192.0.2.1/p.png'><script>null.x</script>")
    page = show(tmp_path / "bad.html")
    assert "http://192.0.2.1/p.png" in page.requests
    assert any("TypeError" in complaint for complaint in page.complaints)


def test_texts_of_the_catalogue_are_shown_as_they_are_typed(show: Show, pages: dict[str, Path]):
    page = show(pages["hostile"])
    shown = page.run("document.body.innerText")
    assert MARKUP in shown
    assert "{{ 7 * 7 }}" in shown
    assert page.run("document.title").startswith(MARKUP)
    assert page.run("document.querySelectorAll('b b, script').length") == 0


# --- it fits ----------------------------------------------------------------------------------------------------------

# What a reader is not shown on purpose, or shown shortened: it has no place to overflow.
MISPLACED = """
(() => {
  const problems = [];
  const reach = document.documentElement.scrollWidth;
  if (reach > innerWidth) problems.push(`scrolls: ${reach}`);
  for (const element of document.body.querySelectorAll('*')) {
    if (element.closest('.unseen, .stack thead') && innerWidth < 761 || element.closest('.unseen')) continue;
    if (element.closest('defs, title')) continue;
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const where = `${element.tagName}.${element.className.baseVal ?? element.className} ` +
      JSON.stringify(element.textContent.trim().slice(0, 40));
    if (box.left < -0.5 || box.right > innerWidth + 0.5) problems.push(`outside: ${where} ${box.left} ${box.right}`);
    const card = element.closest('section, header, footer')?.getBoundingClientRect();
    if (card && (box.left < card.left - 1 || box.right > card.right + 1)) problems.push(`leaves its card: ${where}`);
    if (!(element instanceof SVGElement) && element.scrollWidth > element.clientWidth + 1 && element.clientWidth &&
        !element.matches('.title')) problems.push(`wider than its box: ${where} ${element.scrollWidth}`);
  }
  return problems;
})()
"""

# Two texts of a plot that share more than a pixel in both directions cannot be read.
OVERLAPPING = """
(() => {
  const problems = [];
  for (const plot of document.querySelectorAll('svg.plot')) {
    if (plot.parentElement.closest('svg.plot')) continue;
    const texts = [...plot.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
    texts.forEach(([a, one], number) => texts.slice(number + 1).forEach(([b, other]) => {
      const across = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const down = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
      if (across > 1 && down > 3) problems.push(`${plot.getAttribute('aria-label')}: ${a} and ${b}`);
    }));
  }
  return problems;
})()
"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_nothing_overflows_and_no_texts_of_a_plot_overlap(show: Show, pages: dict[str, Path], name: str, width: int):
    page = show(pages[name], width=width)
    assert page.run("innerWidth") == width
    assert page.run(MISPLACED) == []
    assert page.run(OVERLAPPING) == []


def test_what_overflows_or_overlaps_is_noticed(show: Show, tmp_path: Path):
    """The two checks above can fail."""
    (tmp_path / "bad.html").write_text(
        "<!doctype html><meta name=viewport content='width=device-width'><section style='width:200px'>"
        "<div style='width:900px'>wide</div><svg class=plot><text y=20>one</text><text y=20>two</text></svg></section>"
    )
    page = show(tmp_path / "bad.html", width=360)
    assert any(problem.startswith("scrolls") for problem in page.run(MISPLACED))
    assert page.run(OVERLAPPING) == ["null: one and two"]


# --- it can be read ---------------------------------------------------------------------------------------------------

# WCAG 2.2, 1.4.3: contrast of text, 4.5 to 1, of large text 3 to 1; relative luminance as defined there.
FAINT = """
(() => {
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const channel = value => value <= 0.04045 * 255 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18] : [255, 255, 255];
  };
  const behind = text => {
    const shade = [...text.classList].find(name => /^l\\d$/.test(name));
    return shade ? numbers(getComputedStyle(text.ownerSVGElement.querySelector(`rect.${shade}`)).fill) : ground(text);
  };
  const found = {};
  for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest('.unseen, title') || !element.getBoundingClientRect().width) continue;
    const style = getComputedStyle(element), isDrawn = element instanceof SVGElement;
    const colours = [numbers(isDrawn ? style.fill : style.color), isDrawn ? behind(element) : ground(element)];
    const [low, high] = colours.map(light).sort((a, b) => a - b);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
    const ratio = (high + 0.05) / (low + 0.05);
    const kind = `${element.tagName}.${element.className.baseVal ?? element.className}`;
    if (ratio < (isLarge ? 3 : 4.5)) found[kind] = `${ratio.toFixed(2)} ${colours.join(' on ')}`;
  }
  return found;
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_every_text_stands_out_from_its_ground(show: Show, pages: dict[str, Path], scheme: str, width: int):
    page = show(pages["full"], width=width, scheme=scheme)
    dark = page.run("getComputedStyle(document.body).backgroundColor") == "rgb(15, 18, 22)"
    assert dark == (scheme == "dark")
    assert page.run(FAINT) == {}


def test_a_faint_text_is_noticed(show: Show, tmp_path: Path):
    """The check above can fail."""
    (tmp_path / "bad.html").write_text("<!doctype html><body style='background:#fff'><p style='color:#999'>faint</p>")
    assert list(show(tmp_path / "bad.html").run(FAINT)) == ["P."]


def test_every_plot_has_words_for_those_who_do_not_see_it(show: Show, pages: dict[str, Path]):
    page = show(pages["full"])
    untold = page.run(
        "[...document.querySelectorAll('svg.plot')].filter(plot => !plot.getAttribute('aria-label') && "
        "plot.getAttribute('aria-hidden') !== 'true' && !plot.parentElement.closest('svg.plot')).length"
    )
    assert untold == 0
    # A hidden plot is one cell of a row that says the same in text.
    lonely = "[...document.querySelectorAll('svg.plot[aria-hidden=true]:not(.key)')].filter(plot => " \
             "!plot.closest('tr.axis') && !/\\d/.test(plot.closest('tr')?.textContent ?? '')).length"  # fmt: skip
    assert page.run(lonely) == 0
    assert page.run("[...document.querySelectorAll('.strip')].every(strip => strip.getAttribute('aria-label'))") is True
    assert page.run("document.querySelectorAll('h1').length") == 1
    assert page.run(
        "[...document.querySelectorAll('tbody tr:not(.axis)')].every(row => row.querySelector('th[scope=row]'))"
    )
    targets = page.run("[...document.querySelectorAll('nav a')].map(link => link.hash.slice(1))")
    assert targets == ["systems", "changed", "kinds", "cost", "scores", "queries", "origins"]
    assert page.run(f"{targets!r}.every(name => document.getElementById(name))") is True


def test_the_keyboard_reaches_a_query_and_opens_it(show: Show, pages: dict[str, Path]):
    page = show(pages["full"], is_open=False)
    page.run("document.querySelectorAll('details.example')[0].querySelector('summary').focus()")
    page.press("Tab")
    second = "document.querySelectorAll('details.example')[1]"
    assert page.run(f"document.activeElement === {second}.querySelector('summary')") is True
    assert page.run(f"{second}.open") is False
    page.press("Enter")
    assert page.run(f"{second}.open") is True
    outline = page.run(f"getComputedStyle({second}.querySelector('summary')).outlineStyle")
    assert outline == "solid"


def test_tables_stay_tables_for_a_screen_reader_where_a_phone_shows_cards(show: Show, pages: dict[str, Path]):
    """A style that turns rows into a grid may take away what they are."""

    def roles(width: int) -> Counter[str]:
        nodes = show(pages["full"], width=width).send("Accessibility.getFullAXTree")["nodes"]
        return Counter(node["role"]["value"] for node in nodes if not node["ignored"])

    desk, phone = roles(1280), roles(360)
    kinds = ("table", "row", "rowheader", "columnheader", "cell")
    assert desk["cell"] > desk["row"] > desk["table"] > 10
    assert [phone[kind] for kind in kinds] == [desk[kind] for kind in kinds]


# --- what is there and what is not ------------------------------------------------------------------------------------


def test_every_section_of_a_full_report_is_drawn(show: Show, pages: dict[str, Path]):
    page = show(pages["full"])
    sections = page.run("[...document.querySelectorAll('section[id]')].map(section => section.id)")
    assert sections == ["systems", "changed", "kinds", "cost", "scores", "queries", "origins"]
    assert page.run("document.querySelectorAll('#cost .panels svg.plot[role=img]').length") == 3
    assert page.run("document.querySelectorAll('#scores svg.plot[role=img]').length") == 1
    heights = page.run("[...document.querySelectorAll('svg.plot')].map(plot => plot.getBoundingClientRect().height)")
    assert min(heights) >= 14


def test_a_report_of_one_system_leaves_out_what_it_cannot_say(show: Show, pages: dict[str, Path]):
    page = show(pages["bare"])
    sections = page.run("[...document.querySelectorAll('section[id]')].map(section => section.id)")
    assert sections == ["systems", "scores", "origins"]
    assert "One system alone: nothing to compare." in page.run("document.body.innerText")
    assert "p50 ms" not in page.run("document.body.innerText")


def test_a_phone_reads_the_headings_that_a_desk_sees_above_the_columns(show: Show, pages: dict[str, Path]):
    cell = "getComputedStyle(document.querySelector('.systems td'), '::before').content"
    assert show(pages["full"], width=1280).run(cell) == "none"
    assert show(pages["full"], width=360).run(cell).strip('"').replace("\u200b", "") == "nDCG@10"
