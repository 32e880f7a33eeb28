"""What the rules of a search do to recorded chains, from one reading of each chain in place of a replay per setting.

A rule that stops at a place and answers there does what the recording holds for that place, so its settings can be read
off: DEER's thresholds, `first-cue`, `fixed-budget`. `run.py` replays one setting of each and says whether they agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from satisfice.core.problem import Verdict
from satisfice.core.session import Policy
from satisfice.methods.stopping import Deer, FirstCue, FixedBudget
from satisfice.recommend.tables import Outcomes, equal_answers
from satisfice.recordings.files import Row
from satisfice.recordings.recording import Recording


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """An answer that the chain would give at a place."""

    right: bool
    unknown: bool
    tokens: int
    answer: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cue:
    """A cue: where it is, how long, how sure a trial answer is there, and what would be answered."""

    at: int
    width: int
    sure: float
    trial: Said
    sampled: Said


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a chain shows."""

    cues: Sequence[Cue]
    counted: Mapping[int, Said]  # by tokens of thinking, the answer after so many
    full: Said


def seen_in(recording: Recording, row: Row) -> Seen:
    """Read a chain."""
    chain = recording.chain(row)
    cues, counted = [], {}
    for point, place in zip(row.points, chain.checkpoints, strict=True):
        if "every" in point.why and "answer" in place.replies:
            counted[point.at] = _said(place.replies["answer"])
        if not point.cue or "trial" not in place.replies or not _is_word(chain.pieces, point.at, point.cue):
            continue
        trial = place.replies["trial"]
        logprobs = trial.tokens.logprobs
        says = trial.complete and bool(trial.text.strip()) and logprobs is not None
        cues.append(
            Cue(
                at=point.at, width=point.width, sure=float(np.exp(logprobs.astype(float)).mean()) if says else 0.0,
                trial=_said(trial), sampled=_said(place.replies["answer"]),
            )
        )  # fmt: skip
    forced = len(chain.checkpoints[-1].replies["answer"].tokens) if chain.ended == "limit" else 0
    full = Said(
        right=chain.verdict is Verdict.RIGHT, unknown=chain.verdict is Verdict.UNKNOWN,
        tokens=len(chain.tokens) + forced, answer=chain.answer,
    )  # fmt: skip
    return Seen(cues=cues, counted=counted, full=full)


def done(policy: Policy, chains: Sequence[Seen]) -> Outcomes | None:
    """What a setting does to chains; None where it cannot be read off."""
    if isinstance(policy, Deer):
        found = [_deer(policy, chain) for chain in chains]
    elif isinstance(policy, FirstCue) and policy.chance == 1.0:
        found = [_first_cue(policy, chain) for chain in chains]
    elif isinstance(policy, FixedBudget) and policy.at == "token":
        found = [_budget(policy, chain) for chain in chains]
    else:
        return None
    return _outcomes(found)


def full(chains: Sequence[Seen]) -> Outcomes:
    """What the full chains did."""
    return _outcomes([(chain.full, chain.full.tokens, np.nan, np.nan) for chain in chains])


Result = tuple[Said, int, float, float]


def _outcomes(found: Sequence[Result]) -> Outcomes:
    said, spent, looked, saw = zip(*found, strict=True)
    return Outcomes(
        right=np.array([one.right for one in said]), unknown=np.array([one.unknown for one in said]),
        spent=np.array(spent), answers=tuple(one.answer for one in said), looked=np.array(looked), saw=np.array(saw),
    )  # fmt: skip


def _deer(rule: Deer, chain: Seen) -> Result:
    probes, cues = 0, chain.cues[: rule.max_judge_steps]
    look = (float(cues[0].at), cues[0].sure) if cues else (np.nan, np.nan)
    for cue in cues:
        probes += cue.trial.tokens
        if cue.sure > rule.threshold:
            if rule.reuse_answer and cue.trial.answer is not None:
                return cue.trial, cue.at + cue.width + probes, *look
            return cue.sampled, cue.at + cue.width + probes + cue.sampled.tokens, *look
    return chain.full, chain.full.tokens + probes, *look


def _first_cue(rule: FirstCue, chain: Seen) -> Result:
    look = (float(chain.cues[0].at), 1.0) if chain.cues else (np.nan, np.nan)
    if len(chain.cues) < rule.every:
        return chain.full, chain.full.tokens, *look
    cue = chain.cues[rule.every - 1]
    return cue.sampled, cue.at + cue.width + cue.sampled.tokens, *look


def _budget(rule: FixedBudget, chain: Seen) -> Result:
    said = chain.counted.get(rule.tokens)
    if said is None:
        return chain.full, chain.full.tokens, np.nan, np.nan
    return said, rule.tokens + said.tokens, float(rule.tokens), float(rule.tokens)


def _said(reply: Any) -> Said:
    return Said(
        right=reply.verdict is Verdict.RIGHT, unknown=reply.verdict is Verdict.UNKNOWN, tokens=len(reply.tokens),
        answer=reply.answer,
    )  # fmt: skip


def _is_word(pieces: Sequence[str], at: int, cue: str) -> bool:
    before = pieces[at - 1][-1:] if at else ""
    ahead, _, after = "".join(pieces[at : at + 8]).partition(cue)
    return not (before.isalnum() and not ahead) and not (cue[-1:].isalnum() and after[:1].isalnum())


def differ(one: Outcomes, other: Outcomes) -> dict[str, int]:
    """In how many problems two outcomes differ."""
    return {
        "verdicts": int((one.right != other.right).sum()), "tokens": int((one.spent != other.spent).sum()),
        "answers": sum(not equal_answers(a, b) for a, b in zip(one.answers, other.answers, strict=True)),
        "looks": int((~np.isclose(one.looked, other.looked, equal_nan=True)).sum()),
    }  # fmt: skip
