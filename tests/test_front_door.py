import subprocess
import sys

import pytest

import satisfice


def test_the_front_door_is_small_and_everything_in_it_exists() -> None:
    assert len(satisfice.__all__) < 20
    assert [name for name in satisfice.__all__ if not hasattr(satisfice, name)] == []
    assert satisfice.__all__ == sorted(satisfice.__all__)
    with pytest.raises(AttributeError, match="nothing_here"):
        satisfice.nothing_here  # noqa: B018


@pytest.mark.parametrize("module", ["satisfice", "satisfice.core.session", "satisfice.catalog", "satisfice.cli.main"])
def test_importing_loads_no_torch(module: str) -> None:
    heavy = {"torch", "transformers", "altair", "sympy", "reasoning_gym"}
    script = f"import sys, {module}; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_core_loads_numpy_and_no_other_package() -> None:
    script = (
        "import sys; before = set(sys.modules); import satisfice;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"numpy", "satisfice"}
