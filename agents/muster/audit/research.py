"""What a file is: its language, encoding, licence hints, imports and digest. Run by research."""

import ast
import hashlib
from collections.abc import Iterator

from muster.audit.licences import copyrights, licence_hints
from muster.audit.limits import IMPORTS_PER_FILE_MAX
from muster.audit.shapes import Batch, FileSurvey, Import, SurveyResult
from muster.audit.sources import Text, read
from muster.audit.syntax import parse, statements


def survey(batch: Batch) -> SurveyResult:
    """A FileSurvey for every source of the batch, in the batch's order."""
    return {"files": [_survey_file(read(source)) for source in batch["sources"]]}


def _survey_file(file: Text) -> FileSurvey:
    tree, error = parse(file.text) if file.is_python else (None, None)
    imports = list(_imports(tree)) if tree else []
    return {
        "path": file.path,
        "language": file.language,
        "encoding": file.encoding,
        "bytes": len(file.data),
        "sha256": hashlib.sha256(file.data).hexdigest(),
        "parses": error is None,
        "licences": licence_hints(file.path, file.text),
        "copyrights": copyrights(file.text),
        "imports": imports[:IMPORTS_PER_FILE_MAX],
    }


def _imports(tree: ast.Module) -> Iterator[Import]:
    for node, place in statements(tree):
        deferred = place.in_function or place.unloaded
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _import(alias.name, [], 0, node.lineno, deferred)
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            yield _import(node.module or "", names, node.level, node.lineno, deferred)


def _import(module: str, names: list[str], level: int, line: int, deferred: bool) -> Import:
    return {"module": module, "names": names, "level": level, "line": line, "deferred": deferred}
