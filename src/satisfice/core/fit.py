"""Whether an engine can run a method: asked once, before anything runs."""

from collections.abc import Iterable

from satisfice.core.card import Card, Need
from satisfice.core.errors import Unfit

_MEANING = {
    Need.FORK: "copies of a chain",
    Need.INJECT: "text put into a chain",
    Need.ABORT: "stopping a running chain",
    Need.LOGPROBS: "log-probabilities of sampled tokens",
    Need.TOP_LOGPROBS: "log-probabilities of the likeliest tokens",
    Need.ENTROPY: "the entropy of the next-token distribution",
    Need.HIDDEN: "hidden states",
    Need.LOGITS: "changes to next-token scores",
    Need.BUDGET: "a thinking budget of its own",
    Need.RENDER: "the model's chat form",
    Need.UNEMBEDDING: "the output matrix of the model",
}


def check_fit(card: Card, engine: str, provides: frozenset[Need], others: Iterable[Card] = ()) -> None:
    """Raise `Unfit` with a helpful sentence when `engine` lacks something that the method needs.

    `others` are methods to suggest: those that the engine can run are named.
    """
    missing = sorted(card.needs - provides)
    if missing:
        fit = sorted(other.id for other in others if other.needs <= provides)
        instead = f", or a method that this engine can run: {', '.join(fit)}" if fit else ""
        raise Unfit(
            f"{card.id} needs {' and '.join(_MEANING[need] for need in missing)}, which the {engine} engine does not "
            f"provide. Use the local engine{instead}."
        )
