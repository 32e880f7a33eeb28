"""What Tab offers: names from the catalogue, also after a comma."""

import os
import subprocess
import sys

import pytest

from satisfice.catalog import methods
from satisfice.cli import complete


def test_policies_are_completed_behind_the_last_comma_outside_of_parentheses() -> None:
    policies = complete.methods_of("policy", several=True)
    assert set(policies("dee")) == {
        row["id"] for row in methods() if row["kind"] == "policy" and row["id"].startswith("dee")
    }
    assert "full,deer(threshold=0.9, mean=min),cap" in policies("full,deer(threshold=0.9, mean=min),ca")
    assert policies("full,deer(threshold=0.9, me") == []


def test_every_kind_has_its_own_names() -> None:
    for kind in {row["kind"] for row in methods()}:
        offered = set(complete.methods_of(kind)(""))
        assert offered - {"cap"} == {row["id"] for row in methods() if row["kind"] == kind}
    assert "stopping" in complete.families("st")
    assert complete.models("smol") == ["smollm2", "smollm2+reasoning"]
    assert complete.tasks("gcd:easy,gcd:h") == ["gcd:easy,gcd:hard"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("satisfice ben", "bench"),
        ("satisfice bench --pol", "--policies"),
        ("satisfice bench --policies full,dee", "full,deer"),
        ("satisfice bench --split e", "eval"),
        ("satisfice methods first-f", "first-finish"),
        ("satisfice train --shaper kimi", "kimi-length"),
    ],
)
def test_the_shell_is_answered(typed: str, offered: str) -> None:
    asked = {"_SATISFICE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    code = "import sys; from satisfice.cli.main import main; sys.argv = ['satisfice']; main()"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True)
    assert offered in done.stdout.split()
