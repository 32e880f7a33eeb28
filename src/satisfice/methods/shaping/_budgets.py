"""Token budgets that prompts state."""

from satisfice.core.engine import random_key
from satisfice.core.errors import BadInput


def drawn_budget(prompt: str, least: int, most: int) -> int:
    """Return the budget of a prompt, by its lasting name, in tokens: uniform from `least` to `most`, always the same.

    >>> drawn_budget("p-1", 100, 4000) == drawn_budget("p-1", 100, 4000), drawn_budget("p-1", 7, 7)
    (True, 7)
    """
    return least + random_key("budget", prompt) % (most - least + 1)


def check_budgets(method: str, least: int, most: int) -> None:
    """Raise `BadInput` when there is no budget to draw."""
    if least > most:
        raise BadInput(f"{method}: least must not exceed most ({most}), got {least}. Lower it.")
