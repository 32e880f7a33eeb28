"""The ledger of one problem."""

from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.ledger import Ledger

tokens = st.integers(0, 10**6)


@given(tokens, tokens, tokens, tokens, tokens)
def test_spent_is_what_was_sampled_and_nothing_else(
    kept: int, probe: int, dropped: int, injected: int, prefilled: int
) -> None:
    ledger = Ledger(kept=kept, probe=probe, dropped=dropped, injected=injected, prefilled=prefilled)
    assert ledger.spent == kept + probe + dropped
    assert ledger.as_row()["spent"] == ledger.spent
    assert {name: ledger.as_row()[name] for name in vars(ledger)} == vars(ledger)


def test_a_ledger_of_nothing() -> None:
    assert set(Ledger().as_row().values()) == {0}
