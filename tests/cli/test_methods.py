"""The catalogue on the command line: all of it, one family, one method."""

import json

import pytest
from typer.testing import CliRunner

from satisfice.catalog import METHODS, methods
from satisfice.cli.main import app
from satisfice.core.errors import UnknownName


def said(*words: str) -> str:
    done = CliRunner().invoke(app, ["methods", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_catalogue_is_listed() -> None:
    shown = said()
    for row in methods():
        assert row["id"] in shown
    rows = json.loads(said("--json"))
    assert {"full", "fixed-budget", "first-cue", "deer"} <= {row["id"] for row in rows}
    for row in rows:
        assert {"id", "family", "paper", "needs", "fidelity", "fields"} <= set(row)


def test_one_family_can_be_asked_for() -> None:
    rows = json.loads(said("--family", "sampling", "--json"))
    assert {row["family"] for row in rows} == {"sampling"}
    assert "deer" not in said("--family", "sampling")
    with pytest.raises(UnknownName, match="Did you mean 'stopping'"):
        CliRunner().invoke(app, ["methods", "--family", "stoping"], catch_exceptions=False)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_one_method_is_shown_whole(name: str) -> None:
    row = next(row for row in methods() if row["id"] == name)
    shown = said(name)
    for field in row["fields"]:
        assert f"  {field['name']}" in shown
    assert row["summary"] in shown
    assert row["where"] in shown
    assert f"evidence: {row['fidelity']}" in shown
    for model, preset in row["presets"].items():
        assert f"{name}@{model}: {preset['spec']}, fixed by the study {preset['study']}" in shown


def test_an_alias_is_a_name_too() -> None:
    assert said("cap") == said("fixed-budget")
    with pytest.raises(UnknownName, match="Did you mean 'deer'"):
        CliRunner().invoke(app, ["methods", "deeer"], catch_exceptions=False)
