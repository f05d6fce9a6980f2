"""The shape of the product: no circle of imports, nothing imported undeclared, no file and no function too long."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ups_app", "ups_engine")
LONGEST_FILE, LONGEST_FUNCTION = 300, 60


@pytest.fixture(scope="module")
def graph():
    """Every import inside the product: at the top, inside functions, and for types alone."""
    return grimp.build_graph(*PACKAGES, include_external_packages=True)


def imported_by_name(module: str) -> set[str]:
    """Modules that `importlib` finds by a name put together from a package and a variable: all of that package."""
    path = ROOT / Path(*module.split("."))
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")
    packages = re.findall(r'import_module\(f"([\w.]+)\.\{', source)
    return {
        f"{package}.{file.stem}" for package in packages for file in (ROOT / package.replace(".", "/")).glob("*.py")
    }


def test_no_imports_go_in_a_circle(graph):
    own = {module for module in graph.modules if module.split(".")[0] in PACKAGES}
    imports = {module: graph.find_modules_directly_imported_by(module) & own for module in own}
    for module in own:
        imports[module] |= imported_by_name(module) & own - {module}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as circle:
        pytest.fail(" <- ".join(circle.args[1]))


def test_what_is_imported_is_declared(graph):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {re.match(r"[\w-]+", line)[0].lower().replace("_", "-") for line in project["dependencies"]}
    distributions = importlib.metadata.packages_distributions()
    for name in {module.split(".")[0] for module in graph.modules} - {*PACKAGES, *sys.stdlib_module_names}:
        assert declared & {found.lower().replace("_", "-") for found in distributions[name]}, f"{name} is not declared"


def test_files_and_functions_fit_in_the_head():
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            source, name = path.read_text("utf-8"), str(path.relative_to(ROOT))
            if (lines := source.count("\n")) > LONGEST_FILE:
                long[name] = lines
            for found in ast.walk(ast.parse(source)):
                if isinstance(found, functions) and (lines := found.end_lineno - found.lineno + 1) > LONGEST_FUNCTION:
                    long[f"{name}: {found.name}"] = lines
    assert long == {}
