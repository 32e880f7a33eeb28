"""The soak, shortened: `python -m tests.gateway.soak` is the long one."""

import pytest
from tests.gateway.soak import soak


@pytest.mark.slow
def test_many_clients_of_which_some_leave() -> None:
    found = soak(clients=40, seconds=12, deaths_every_s=1.0)
    assert found["others"] == {}
    assert found["deaths_of_upstreams"] > 3
    assert found["right"] > 10
    assert found["left"] > 2
    assert {*found["streams_at_upstreams"], *found["running"]} == {0}
    assert found["tasks"][-1] <= found["tasks"][0]
    assert found["pieces_of_text"][-1] <= 4096
    assert found["memory_mb"][-1] < found["memory_mb"][0] + 30
