"""Figures about the source tree: files, lines, imports inside functions, `Any`, dataclass fields without a docstring.

python -m tests.helpers.structure        # print the figures
"""

from __future__ import annotations

import ast
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("qr_env", "judges", "agents", "runs")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
AXES = re.compile(r"(?:_?[a-z0-9]\w*?)_([A-Z0-9][A-Z0-9p]*(?:_[A-Z0-9][A-Z0-9p]*)*)")  # "rows_NK" → "NK"


def source_files(package: str | None = None) -> list[Path]:
    """Python files of one package, or of all four, relative to the repository."""
    names = PACKAGES if package is None else (package,)
    return sorted(path.relative_to(ROOT) for name in names for path in (ROOT / name).rglob("*.py"))


def syntax_tree(file: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def imported_packages(node: ast.AST) -> set[str]:
    """Top-level packages that one import statement names; empty for any other node."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return set()


def own_imports_in_functions(file: Path) -> list[str]:
    """Imports of the four packages inside functions, as "file:line"."""
    inside = {
        node.lineno
        for function in ast.walk(syntax_tree(file))
        if isinstance(function, FUNCTIONS)
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom)) and imported_packages(node) & set(PACKAGES)
    }
    return [f"{file}:{line}" for line in sorted(inside)]


def any_annotations(file: Path) -> list[str]:
    """Annotations that are exactly `Any`, as "file:line"."""
    found = []
    for node in ast.walk(syntax_tree(file)):
        annotation = node.returns if isinstance(node, FUNCTIONS) else getattr(node, "annotation", None)
        if isinstance(annotation, ast.Name) and annotation.id == "Any":
            found.append(f"{file}:{annotation.lineno}")
    return sorted(found)


def dataclasses_of(file: Path) -> Iterator[ast.ClassDef]:
    """Classes decorated with `dataclass`."""
    for node in ast.walk(syntax_tree(file)):
        if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(one) for one in node.decorator_list):
            yield node


def undocumented_fields(file: Path) -> list[str]:
    """Public dataclass fields without a string below them, as "file:line Class.field"."""
    found = []
    for kind in dataclasses_of(file):
        for node, following in zip(kind.body, [*kind.body[1:], None], strict=True):
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            if not documented and not node.target.id.startswith("_"):
                found.append(f"{file}:{node.lineno} {kind.name}.{node.target.id}")
    return found


def axis_letters() -> set[str]:
    """Letters of the table of axes in the docstring of `qr_env/common/types.py`."""
    table = ast.get_docstring(syntax_tree(Path("qr_env/common/types.py"))) or ""
    return set(re.findall(r"^    ([A-Z])  ", table, re.MULTILINE))


def unknown_axes(file: Path) -> list[str]:
    """Array names whose suffix has an underscore or a letter that is not in the table, as "file name"."""
    letters = axis_letters()
    parts = {ast.Name: "id", ast.arg: "arg", ast.Attribute: "attr"}
    names = {getattr(node, parts[type(node)]) for node in ast.walk(syntax_tree(file)) if type(node) in parts}
    suffixes = {name: AXES.fullmatch(name) for name in names}
    return [
        f"{file} {name}"
        for name, match in sorted(suffixes.items())
        if match and not set(re.sub(r"[0-9]|(?<=T)p", "", match[1])) <= letters
    ]


def files_per_folder(suffix: str = ".py") -> Counter[Path]:
    """Number of Python files in each folder, `__init__.py` and `__main__.py` left out."""
    names = (path for path in [*source_files(), *test_files()] if path.suffix == suffix)
    return Counter(path.parent for path in names if path.name not in ("__init__.py", "__main__.py"))


def test_files() -> list[Path]:
    """Python files of the tests."""
    return sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))


def function_lengths() -> list[int]:
    """Lines of every function of the four packages."""
    return [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for file in source_files()
        for node in ast.walk(syntax_tree(file))
        if isinstance(node, FUNCTIONS)
    ]


def main() -> None:
    """Print the figures."""
    files = source_files()
    lines = {file: len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in files}
    longest = max(lines, key=lambda file: lines[file])
    folder, most = files_per_folder().most_common(1)[0]
    lambdas = sum(isinstance(node, ast.Lambda) for file in files for node in ast.walk(syntax_tree(file)))
    undocumented = [field for file in files for field in undocumented_fields(file)]
    print(f"files {len(files)}, lines {sum(lines.values()):,}, longest {longest} ({lines[longest]} lines)")
    print(f"fullest folder {folder} ({most} files)")
    print(f"functions: median {statistics.median(function_lengths())} lines; lambdas {lambdas}")
    for name, found in (
        ("own imports inside functions", [one for file in files for one in own_imports_in_functions(file)]),
        ("annotations that are exactly Any", [one for file in files for one in any_annotations(file)]),
        ("dataclass fields without a docstring", undocumented),
    ):
        by_package = dict(Counter(one.partition("/")[0] for one in found))
        print(f"{name}: {len(found)} {by_package}")


if __name__ == "__main__":
    main()
