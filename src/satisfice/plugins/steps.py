"""Stepping rules inside somebody else's sampler: the chains of a batch as arrays, and one call before each token.

Where requests are in the batch, what each has thought and how far its closing words are is kept in arrays with a column
for each row of the batch; rows that follow one rule are asked together. What depends on scores is decided on their own
device and is read by this side with the next token, when it has long been computed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from satisfice.core.engine import CONFIDENCE_OF
from satisfice.core.stepping import Rows
from satisfice.engines.local.sampler import nucleus, uniforms
from satisfice.engines.stops import find_stop
from satisfice.plugins.fitted import BARE, CLOSE, CUE, OPEN, STEP, WORD, Fitted, ModelWords

WAITING, THINKING, CLOSING, OVER = range(4)
"""Thinking has not begun, goes on, is being closed by a rule, is over."""

LIKELIEST = 20  # tokens among which the end of thinking and cues are looked for, as in the rules' policies

_COLUMNS = ("phase", "thought", "cues", "closing", "seen", "begin", "last", "placed", "filled", "decided")
"""Phase; tokens of thinking; cues passed; closing words that have come; tokens of output that were taken in; where in
the output thinking began; the last token; whether that ended a step; values in the window; whether the rule has decided
that the next token is the first closing word."""


@dataclass(eq=False)
class Asker:
    """A request that follows a rule, in whatever row it is."""

    fitted: Fitted
    output: Sequence[int]  # grows by itself; -1 where a token is not known yet
    key: int  # of its random numbers
    prompt: Sequence[int] = ()
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    ring: NDArray[np.float64] | None = None  # the last values of the watched signal


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A request that left its row, with all that was known of it."""

    asker: Asker
    whole: NDArray[np.int64]
    real: NDArray[np.float64]


class Steps:
    """The rows of a batch that follow rules. `apply` is called before each token is drawn."""

    def __init__(self, words: ModelWords) -> None:
        self.words = words
        _ = words.flags  # read through now: later everybody would wait for it
        self.askers: dict[int, Asker] = {}  # by row
        self._whole, self._real = np.zeros((len(_COLUMNS), 0), dtype=np.int64), np.zeros((2, 0))
        self._widen(16)
        self._pending: list[tuple[NDArray[np.intp], torch.Tensor, NDArray[Any]]] = []  # rows, what, and where it goes

    # Requests come, go and move

    def add(self, row: int, asker: Asker, kept: Kept | None = None) -> None:
        """Let a request into a row, with what it has of an output already; `kept` is what `remove` gave for it."""
        self._settle()
        if row >= self._whole.shape[1]:
            self._widen(2 * row + 1)
        self.askers[row] = asker
        if kept is None:
            self._restart(row)
        else:
            asker.ring = kept.asker.ring
            self._whole[:, row], self._real[:, row] = kept.whole, kept.real
        self._take_in([row])

    def remove(self, row: int) -> Kept | None:
        """Let a request go."""
        self._settle()
        if (asker := self.askers.pop(row, None)) is None:
            return None
        return Kept(asker=asker, whole=self._whole[:, row].copy(), real=self._real[:, row].copy())

    def move(self, source: int, target: int, *, swap: bool) -> None:
        """Follow a request from one row to another; the one that is there takes its place, or goes."""
        self._settle()
        if max(source, target) >= self._whole.shape[1]:
            self._widen(2 * max(source, target) + 1)
        here, there = self.askers.pop(source, None), self.askers.pop(target, None)
        for columns in (self._whole, self._real):
            columns[:, [source, target]] = columns[:, [target, source]]
        if here is not None:
            self.askers[target] = here
        if swap and there is not None:
            self.askers[source] = there

    # Before each token

    def apply(self, logits: torch.Tensor, places: Mapping[int, int] | None = None) -> torch.Tensor:
        """Change raw scores `[n, vocab]` in place where a rule says so.

        `places` says which line of the scores is a row's, for those rows that draw a token now; without it they are
        in the order of the rows, and all draw one.
        """
        if not self.askers:
            return logits
        self._settle()
        if places is None:
            places = {row: row for row in self.askers if row < len(logits)}
        rows = sorted(row for row in self.askers if row in places)
        self._take_in(rows)
        closing = [row for row in rows if self._phase[row] == CLOSING]
        if closing:
            due = [self.words.closing[n] for n in self._closing[closing].tolist()]
            logits[_at([places[row] for row in closing], logits), _at(due, logits)] += _force(logits)
        groups: dict[Fitted, list[int]] = {}
        for row in rows:
            if self._phase[row] == THINKING:
                groups.setdefault(self.askers[row].fitted, []).append(row)
        for fitted, members in groups.items():
            self._ask(fitted, np.array(members), _at([places[row] for row in members], logits), logits)
        return logits

    def _ask(self, fitted: Fitted, rows: NDArray[np.int64], index: torch.Tensor, logits: torch.Tensor) -> None:
        """Ask one rule about its rows, whose scores are at `index`."""
        rule = fitted.rule
        looks = fitted.watch is not None or fitted.masses or rule.at == "cue"
        scores = logits[index].float() if looks or fitted.targets else None
        whole = torch.logsumexp(scores, -1) if scores is not None and looks else None
        seen: dict[str, Any] = {}
        if fitted.watch is not None:
            window = fitted.watch.window
            seen["mean"] = np.where(self._filled[rows] >= window, self._total[rows] / window, np.nan)
        if fitted.masses and scores is not None and whole is not None:
            seen |= self._masses(scores, whole)
        asked = Rows(
            thought=self._thought[rows], cues=self._cues[rows] + 1,
            keys=[self.askers[row].key for row in rows.tolist()],
            tokens=_Tails([self.askers[row].output for row in rows.tolist()], self._begin[rows]),
            scores=scores, targets=fitted.targets, **seen,
        )  # fmt: skip
        move = rule.step(asked)
        if move.bias is not None:
            change = torch.as_tensor(move.bias, device=logits.device).to(logits.dtype)
            logits[index[:, None], _at(fitted.targets, logits)] += change
        close = torch.as_tensor(move.close, device=logits.device)
        if rule.at == "step":
            close = close & torch.from_numpy(self._placed[rows] > 0).to(logits.device)
        if rule.at == "cue" and scores is not None:
            close = self._at_cue(close, rows, index, logits)
        logits[index, self.words.closing[0]] += torch.where(close, _force(logits), 0.0).to(logits.dtype)
        self._pending.append((rows, close, self._decided))
        if fitted.watch is not None and scores is not None and whole is not None:
            self._pending.append((rows, _signal(fitted.watch.signal, scores, whole), self._next))

    def _at_cue(
        self, would: torch.Tensor, rows: NDArray[np.int64], index: torch.Tensor, logits: torch.Tensor
    ) -> torch.Tensor:
        """Return which rows stand before a cue and would close there: decided first, and then no cue is drawn.

        A cue that has been drawn cannot be taken back here. So whether one comes is drawn beforehand, with the
        probability that the sampler would draw one; where none comes, cues are left out. Chains are thus alike in
        distribution to those of a sampler that takes a cue back, and the same where it is greedy.
        """
        askers = [self.askers[row] for row in rows.tolist()]
        heat = torch.tensor([asker.temperature for asker in askers], device=logits.device)
        scores = logits[index].float() / torch.where(heat > 0, heat, 1.0)[:, None]
        after = torch.from_numpy((self.words.flags[self._last[rows]] & WORD) > 0).to(logits.device)
        after &= torch.from_numpy(self._thought[rows] > 0).to(logits.device)
        cues, bare, means = _tables(self.words, logits.device)
        inside = torch.full((len(rows), len(bare)), 0.0, device=logits.device).masked_fill(after[:, None], -torch.inf)
        keys = np.array([asker.key for asker in askers], dtype=np.uint64)
        chance = torch.from_numpy(uniforms(keys, self._seen[rows])).to(logits.device)

        def share(scores: torch.Tensor, free: torch.Tensor) -> torch.Tensor:
            found = torch.cat((scores[:, cues], scores[:, bare] + free), 1)
            return torch.exp(torch.logsumexp(found, -1) - torch.logsumexp(scores, -1)).double()

        likely = share(scores, inside)
        cut = [i for i, asker in enumerate(askers) if asker.top_p < 1 or asker.top_k > 0 or asker.min_p > 0]
        if cut:  # the sampler leaves out unlikely tokens, so the share is another: only where that may decide
            grows = [np.inf if askers[i].top_k or askers[i].min_p else 1 / max(askers[i].top_p, 1e-6) for i in cut]
            near = chance[cut] < likely[cut] * torch.tensor(grows, dtype=torch.float64, device=logits.device)
            for i in np.array(cut)[(would[cut] & (heat[cut] > 0) & near).cpu().numpy()].tolist():
                likely[i] = share(_truncated(scores[i : i + 1], askers[i]), inside[i : i + 1])[0]
        best = scores.argmax(-1)
        flags = means[best]
        greedy = ((flags & CUE) > 0) | (((flags & BARE) > 0) & ~after)
        close = would & torch.where(heat > 0, chance < likely, greedy)
        passed = would & ~close
        logits[index[:, None], cues] = torch.where(passed[:, None], -torch.inf, logits[index[:, None], cues])
        mask = passed[:, None] & ~after[:, None]
        logits[index[:, None], bare] = torch.where(mask, -torch.inf, logits[index[:, None], bare])
        return close

    def _masses(self, scores: torch.Tensor, whole: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the probability of the end of thinking and of cues, among the likeliest tokens."""
        least = scores.topk(min(LIKELIEST, scores.shape[1])).values[:, -1:]
        ids = _at([self.words.end_id, *self.words.doubts], scores)
        found = scores[:, ids]
        mass = torch.where(found >= least, torch.exp(found - whole[:, None]), 0.0)
        return {"ends": mass[:, 0], "doubts": mass[:, 1:].sum(-1)}

    # What has come

    def _settle(self) -> None:
        """Read what the device found before the last token: what happens next depends on it."""
        pending, self._pending = self._pending, []
        for rows, values, column in pending:
            column[rows] = values.cpu().numpy()

    def _take_in(self, rows: list[int]) -> None:
        """Take in the tokens that have come since."""
        outputs = [self.askers[row].output for row in rows]
        last = np.array([output[-1] if output else -1 for output in outputs], dtype=np.int64)
        known = np.array([len(output) for output in outputs], dtype=np.int64)
        for i in np.flatnonzero((last < 0) & (known > 0)).tolist():
            known[i] = next((n for n in range(known[i], 0, -1) if outputs[i][n - 1] >= 0), 0)
        where = np.array(rows, dtype=np.intp)
        new = known - self._seen[where]
        usual = (new == 1) & (last >= 0)
        if usual.any():
            self._advance(where[usual], last[usual])
        for i in np.flatnonzero(~usual & (new != 0)).tolist():
            if new[i] < 0:  # the server took tokens back
                self._restart(rows[i])
            for token in outputs[i][self._seen[rows[i]] : known[i]]:
                self._advance(where[i : i + 1], np.array([token]))
                self._decided[rows[i]] = 0

    def _advance(self, rows: NDArray[np.intp], tokens: NDArray[np.int64]) -> None:
        """Take in one token of each row."""
        words = self.words
        flags = np.where(tokens < words.size, words.flags[np.minimum(tokens, words.size - 1)], 0)
        self._seen[rows] += 1
        phase = np.where((self._phase[rows] == THINKING) & (self._decided[rows] > 0), CLOSING, self._phase[rows])
        closing = np.flatnonzero(phase == CLOSING)
        came = self._closing[rows[closing]]
        right = tokens[closing] == np.array(words.closing)[came]  # if not, the server wanted something else: leave it
        self._closing[rows[closing]] += right
        phase[closing[~right | (came + 1 >= len(words.closing))]] = OVER
        thinking = np.flatnonzero(phase == THINKING)
        if len(thinking):
            phase[thinking[self._think(rows[thinking], tokens[thinking], flags[thinking])]] = OVER
        for i in np.flatnonzero((phase == WAITING) & ((flags & OPEN) > 0)).tolist():
            row = int(rows[i])
            if self._says(row, words.profile.think_open.rstrip(), 0):
                phase[i], self._begin[row] = THINKING, self._seen[row]
        self._phase[rows] = phase

    def _think(self, rows: NDArray[np.intp], tokens: NDArray[np.int64], flags: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Take in one token of thinking of each row; returns which rows' thinking is over with it."""
        words, profile = self.words, self.words.profile
        after = (self._thought[rows] > 0) & ((words.flags[self._last[rows]] & WORD) > 0)
        self._cues[rows] += ((flags & CUE) > 0) | (((flags & BARE) > 0) & ~after)
        for row in rows.tolist():
            if (ring := self.askers[row].ring) is not None:
                self._push(row, ring, float(self._next[row]))
        self._thought[rows] += 1
        self._last[rows] = np.minimum(tokens, words.size - 1)
        self._placed[rows] = 0
        for i in np.flatnonzero(flags & STEP).tolist():
            self._placed[rows[i]] = self._says(int(rows[i]), profile.step, int(self._begin[rows[i]]))
        if words.close_id is not None:
            return np.asarray(tokens == words.close_id)
        over = np.zeros(len(rows), dtype=bool)
        for i in np.flatnonzero(flags & CLOSE).tolist():
            over[i] = self._says(int(rows[i]), profile.think_close, int(self._begin[rows[i]]))
        return over

    def _push(self, row: int, ring: NDArray[np.float64], value: float) -> None:
        """Take the watched signal of a token into a row's window; one that nobody saw begins the window anew."""
        if np.isnan(value):
            ring[:], self._filled[row], self._total[row] = 0, 0, 0
            return
        place = int(self._filled[row]) % len(ring)
        self._total[row] += value - ring[place]
        ring[place] = value
        self._filled[row] += 1
        self._next[row] = np.nan

    def _says(self, row: int, text: str, begin: int) -> bool:
        """Return whether the output of a row, from a token on, says a text that ends in its newest token."""
        ids = self.askers[row].output[: int(self._seen[row])]
        return find_stop(ids, begin, len(ids) - 1, (text,), self.words.decode) is not None

    def _restart(self, row: int) -> None:
        """Forget what is known of a request but its prompt."""
        asker = self.askers[row]
        self._whole[:, row], self._real[:, row] = 0, 0
        self._next[row] = np.nan
        self._phase[row] = THINKING if self.words.begins(asker.prompt) else WAITING
        watch = asker.fitted.watch
        asker.ring = None if watch is None else np.zeros(watch.window)

    def _widen(self, rows: int) -> None:
        """Make room for so many rows."""
        whole, real = np.zeros((len(_COLUMNS), rows), dtype=np.int64), np.zeros((2, rows))
        whole[:, : self._whole.shape[1]], real[:, : self._real.shape[1]] = self._whole, self._real
        self._whole, self._real = whole, real
        (
            self._phase, self._thought, self._cues, self._closing, self._seen, self._begin, self._last, self._placed,
            self._filled, self._decided,
        ) = self._whole  # fmt: skip
        self._next, self._total = self._real


class _Tails(Sequence[Sequence[int]]):
    """The thinking of each row, cut from its output only when somebody looks at it."""

    def __init__(self, outputs: Sequence[Sequence[int]], begins: NDArray[np.int64]) -> None:
        self._outputs, self._begins = outputs, begins

    def __len__(self) -> int:
        return len(self._outputs)

    def __getitem__(self, row: Any) -> Any:
        return self._outputs[row][int(self._begins[row]) :]


def _signal(name: str, scores: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Return a watched signal of float32 scores `[rows, vocab]`, of which `whole` is the logarithm of their sum."""
    if name == "confidence":
        return whole - scores.topk(min(CONFIDENCE_OF, scores.shape[1])).values.mean(-1)
    logprobs = scores - whole[:, None]
    entropy: torch.Tensor = torch.special.entr(logprobs.exp()).sum(-1)
    return entropy


def _truncated(scores: torch.Tensor, asker: Asker) -> torch.Tensor:
    """Tempered scores `[1, vocab]` with -inf where the request's own filters cut."""
    if asker.min_p > 0:
        scores = scores.masked_fill(scores < scores.amax() + np.log(asker.min_p), -torch.inf)
    if 0 < asker.top_k < scores.shape[1]:
        scores = scores.masked_fill(scores < scores.topk(asker.top_k).values[:, -1:], -torch.inf)
    return nucleus(scores, torch.tensor([asker.top_p], device=scores.device)) if asker.top_p < 1 else scores


@lru_cache(8)
def _tables(words: ModelWords, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the cues, those that are none behind a letter, and what each token may mean, on a device."""
    cues, bare, means = (torch.from_numpy(table).to(device) for table in (words.cues, words.bare, words.flags))
    return cues, bare, means


def _at(tokens: Any, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(np.asarray(tokens, dtype=np.int64), device=like.device)


def _force(logits: torch.Tensor) -> float:
    """Return what makes a token certain in this precision."""
    return min(1e9, torch.finfo(logits.dtype).max / 4)
