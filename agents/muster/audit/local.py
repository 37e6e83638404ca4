"""The whole audit in this process (or a few worker processes), without a mesh.

It is the reference: a mesh run over the same sources must come to byte-identical findings.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from muster.audit import analysis, clones, modules, processing, research
from muster.audit.collect import manifest
from muster.audit.limits import BATCH_BYTES_MAX
from muster.audit.merge import findings
from muster.audit.planning import batches_of, plan
from muster.audit.report_shapes import Findings, Parts
from muster.audit.shapes import (
    Batch,
    Collection,
    FilePrints,
    GraphRequest,
    LintResult,
    Manifest,
    MeasureResult,
    PrintsResult,
    SurveyResult,
)

BatchAnswers = tuple[SurveyResult, MeasureResult, LintResult, PrintsResult]


def audit(
    collection: Collection, *, workers: int = 1, batch_bytes_max: int = BATCH_BYTES_MAX
) -> Findings:
    """The findings about a collection. `workers` above 1 starts that many processes."""
    content = manifest(collection)
    planned = plan({"files": content["files"], "batch_bytes_max": batch_bytes_max})
    batches = batches_of(collection["sources"], planned)
    if workers == 1:
        return findings(_parts(content, [answer(batch) for batch in batches]))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return findings(_parts(content, list(pool.map(answer, batches))))


def answer(batch: Batch) -> BatchAnswers:
    """What all per-file steps say about one batch."""
    return (
        research.survey(batch),
        processing.measure(batch),
        analysis.lint(batch),
        clones.fingerprint(batch),
    )


def _parts(content: Manifest, answers: list[BatchAnswers]) -> Parts:
    prints: list[FilePrints] = [f for _, _, _, found in answers for f in found["files"]]
    surveys = [surveyed for surveyed, _, _, _ in answers]
    return {
        "manifest": content,
        "survey": surveys,
        "measure": [measured for _, measured, _, _ in answers],
        "lint": [linted for _, _, linted, _ in answers],
        "clones": clones.match({"files": prints}),
        "imports": modules.graph(graph_request(content, surveys)),
    }


def graph_request(content: Manifest, surveys: list[SurveyResult]) -> GraphRequest:
    """The import graph's input, from what research found out."""
    files = [f for result in surveys for f in result["files"]]
    request: GraphRequest = {"files": [{"path": f["path"], "imports": f["imports"]} for f in files]}
    if any(f["path"] == "__init__.py" for f in content["files"]):
        request["package"] = content["target"]["name"]
    return request
