"""Broken requests, shortened: `make fuzz` is the long form."""

import pytest
from tests.gateway.fuzz import fuzz


@pytest.mark.slow
def test_no_broken_request_breaks_anything() -> None:
    found = fuzz(1200, seed=7)
    assert found["examples"] == []
    assert found["requests"] == 1200
    assert {"200", "400"} <= found["statuses"].keys()
