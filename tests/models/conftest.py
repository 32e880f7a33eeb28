"""The small Llama with random weights that the tests of engines use."""

from tests.engines.conftest import one_thread, tiny

__all__ = ["one_thread", "tiny"]
