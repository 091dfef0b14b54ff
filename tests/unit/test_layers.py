"""Who may import whom, read from the sources; and what starting the command does not load."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = {
    "ablations": {"ablations", "mm1core", "reports", "slurm"},
    "mm1core": {"mm1core"},
    "reports": {"reports"},
    "slurm": {"slurm"},
}
"""Each folder of the house, and which folders its modules may import."""
CORE = {"torch", "lightning", "transformers", "tokenizers", "safetensors", "numpy", "PIL"}
"""All that the model core needs beside the standard library."""
OWNERS = {
    "optuna_dashboard": {"ablations/study_pages.py"},
    "mlflow": {"ablations/mlflow_access.py", "ablations/run_writer.py"},
    "optuna": {"ablations/study.py", "ablations/study_place.py", "ablations/proposals.py", "reports/importance.py"},
    "submitit": {"slurm/script.py"},
    "plotly": {"reports/plot.py"},
}
"""The modules that may import these packages."""


def imports(file: Path) -> set[str]:
    """Full names of all that a module imports, wherever in it; of a module and of what is taken from it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.update([node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)])
    return found


MODULES = {file.relative_to(ROOT): imports(file) for layer in LAYERS for file in sorted((ROOT / layer).rglob("*.py"))}


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_only_point_down(layer):
    for file, names in MODULES.items():
        if file.parts[0] == layer:
            tops = {name.partition(".")[0] for name in names}
            assert tops & LAYERS.keys() <= LAYERS[layer], f"{file} imports another floor"


def test_the_core_stands_alone():
    for file, names in MODULES.items():
        if file.parts[0] == "mm1core":
            tops = {name.partition(".")[0] for name in names}
            assert tops <= CORE | {"mm1core"} | set(sys.stdlib_module_names), f"{file} imports a package of others"


def test_the_parts_of_the_core_have_an_order():
    """Whatever a part imports, wherever in it, comes before it: data, then the world, the model, evaluation."""
    needs: dict[str, set[str]] = {}
    for file, names in MODULES.items():
        if file.parts[0] == "mm1core" and file.name != "__init__.py":
            imported = {name.split(".")[1] for name in names if name.startswith("mm1core.")}
            needs.setdefault(file.parts[1].removesuffix(".py"), set()).update(imported)
    order = list(TopologicalSorter({part: found - {part} for part, found in needs.items()}).static_order())
    places = [order.index(part) for part in ("config", "data", "world", "open", "evaluation", "train")]
    assert places == sorted(places)


@pytest.mark.parametrize("layer", ["reports", "slurm"])
def test_these_floors_need_no_torch(layer):
    for file, names in MODULES.items():
        if file.parts[0] == layer:
            assert not {name.partition(".")[0] for name in names} & {"torch", "lightning", "transformers"}, file


@pytest.mark.parametrize("package", OWNERS)
def test_each_big_package_has_its_owners(package):
    users = {file.as_posix() for file, names in MODULES.items() if package in {name.split(".")[0] for name in names}}
    assert users <= OWNERS[package]


def test_configurations_and_stages_need_the_standard_library_alone():
    """Planning imports them; so they must import nothing that is slow."""
    for name in ("config", "stages", "errors"):
        names = MODULES[Path("mm1core", f"{name}.py")]
        assert {top.partition(".")[0] for top in names} <= {"mm1core"} | set(sys.stdlib_module_names), name


def test_what_the_core_leaves_on_disk_goes_through_one_place():
    """Elsewhere a record could name a file that a power cut emptied, and a full disk would be anybody's error."""
    for file in MODULES:
        if file.parts[0] == "mm1core" and file.name not in ("storage.py", "spool.py"):
            for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
                assert not (isinstance(node, ast.Call) and writes(node)), f"{file}:{node.lineno}: use write_atomically"


def writes(call: ast.Call) -> bool:
    """Whether it opens a file to write."""
    if isinstance(call.func, ast.Attribute):
        name, mode = call.func.attr, call.args[:1]
    else:
        name, mode = getattr(call.func, "id", ""), call.args[1:2]
    opened = name == "open" and any(isinstance(one, ast.Constant) and set(str(one.value)) & set("wax+") for one in mode)
    return opened or name in ("write_text", "write_bytes")


def loaded(code: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return {name.partition(".")[0] for name in ended.stdout.splitlines()[-1].split()}


HEAVY = {"torch", "lightning", "transformers", "mlflow", "optuna", "plotly", "pandas", "numpy", "tokenizers"}


def test_help_loads_nothing_heavy():
    code = (
        "sys.argv = ['ablate', '--help']\nfrom ablations.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    assert not loaded(code) & (HEAVY | {"pydantic", "ruamel", "rich"})


def test_a_report_loads_optuna_only_to_rank_the_axes_of_a_search():
    assert not loaded("import reports.outputs") & {"optuna", "torch", "mlflow"}


def test_planning_loads_nothing_heavy():
    code = (
        "sys.argv = ['ablate', 'plan', 'sweeps/quickstart.yaml']\nfrom ablations.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    assert not loaded(code) & HEAVY
