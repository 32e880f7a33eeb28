"""The compiled kernel: the model's own numbers, the same to the last bit however a batch is put together."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare
from tests.engines.conftest import save_tiny
from transformers import AutoModelForCausalLM

from satisfice.core.errors import BadInput
from satisfice.engines.local import kernel as _kernel
from satisfice.engines.local.cache import RowCache
from satisfice.engines.local.engine import LocalEngine
from satisfice.engines.local.kernel import SWITCH, Draws, Kernel, Unavailable, library
from satisfice.engines.local.runner import KernelPass, TorchPass
from satisfice.engines.local.sampler import draw, uniforms

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="the kernel needs a C compiler")

LENGTHS = (5, 37, 70, 33)  # tokens of four chains; together more than the kernel takes at once
TEXTS = [np.random.default_rng(n).integers(6, 250, n) for n in LENGTHS]


@pytest.fixture(scope="module")
def model(tiny: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()


class Reader:
    """A kernel with a row of the cache for each of four chains."""

    def __init__(self, model: torch.nn.Module, threads: int) -> None:
        torch.set_num_threads(threads)
        cache = RowCache(model.config, torch.float32, torch.device("cpu"), longest=512, limit=1 << 30)  # type: ignore[arg-type]
        slabs = [cache.slabs[i % 2] for i in range(4)]
        self.rows = np.array([cache.take(slab) for slab in slabs])
        self.slabs = np.array([i % 2 for i in range(4)])
        self.kernel = Kernel(model, cache, 512)
        torch.set_num_threads(1)

    def __call__(self, parts: list[tuple[int, int, int]]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Scores and states of all tokens of (chain, begin, end)."""
        take = np.array([end - begin for _, begin, end in parts])
        whose = np.repeat([chain for chain, _, _ in parts], take)
        tokens = np.concatenate([TEXTS[chain][begin:end] for chain, begin, end in parts])
        positions = np.concatenate([np.arange(begin, end) for _, begin, end in parts])
        scores, states, _ = self.kernel(
            tokens, positions, self.slabs[whose], self.rows[whose], np.arange(len(tokens)), np.cumsum(take) - take,
            hidden=True,
        )  # fmt: skip
        return scores.numpy(), [layer.numpy() for layer in states]


WHOLE = [(chain, 0, n) for chain, n in enumerate(LENGTHS)]


def test_scores_and_states_are_those_of_transformers(model: torch.nn.Module) -> None:
    scores, states = Reader(model, 1)(WHOLE)
    ends = np.cumsum(LENGTHS)
    for text, begin, end in zip(TEXTS, ends - LENGTHS, ends, strict=True):
        with torch.no_grad():
            out = model(torch.from_numpy(text)[None], output_hidden_states=True)
        np.testing.assert_allclose(scores[begin:end], out.logits[0], atol=1e-4)
        for ours, theirs in zip(states, out.hidden_states, strict=True):
            np.testing.assert_allclose(ours[begin:end], theirs[0], atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 69), max_size=4, unique=True),
    order=st.permutations(range(4)),
    threads=st.integers(1, 5),
)
def test_a_chains_numbers_do_not_depend_on_who_reads_beside_it_nor_in_how_many_pieces(
    model: torch.nn.Module, cuts: list[int], order: list[int], threads: int
) -> None:
    whole, _ = Reader(model, 1)(WHOLE)
    reader = Reader(model, threads)
    found: list[list[NDArray[np.float32]]] = [[] for _ in LENGTHS]
    edges = [0, *sorted(cuts), 70]
    for low, high in itertools.pairwise(edges):
        parts = [(i, min(low, LENGTHS[i]), min(high, LENGTHS[i])) for i in order if LENGTHS[i] > low]
        scores, _ = reader(parts)
        at = 0
        for chain, begin, end in parts:
            found[chain].append(scores[at : at + end - begin])
            at += end - begin
    np.testing.assert_array_equal(np.concatenate([np.concatenate(f) for f in found]), whole)


def test_weights_that_change_are_noticed(tiny: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    reader = Reader(model, 1)
    before, _ = reader(WHOLE)
    changed = {name: value * 1.1 for name, value in model.state_dict().items()}
    model.load_state_dict(changed)
    after, _ = reader(WHOLE)
    with torch.no_grad():
        out = model(torch.from_numpy(TEXTS[0])[None])
    np.testing.assert_allclose(after[: LENGTHS[0]], out.logits[0], atol=1e-4)
    assert np.abs(after - before).max() > 0.1


@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.3, 0.0])
def test_tokens_are_drawn_as_torch_draws_them(model: torch.nn.Module, top_p: float) -> None:
    reader, n = Reader(model, 1), 70
    chance = np.random.default_rng(0).random(n)
    nucleus = np.full(n, top_p, dtype=np.float32)
    nucleus[::4] = 1.0
    for temperature in (0.0, 0.3, 1.1, 5.0):
        hot = np.full(n, temperature, dtype=np.float32)
        zeros, places = np.zeros(n, dtype=np.int64), np.arange(n)
        reader.kernel(TEXTS[2], places, zeros, zeros, zeros[:0], zeros[:1])
        begins = np.cumsum([0, *(i % 3 for i in range(n))])  # none, one or two biases
        tokens, values = np.arange(begins[-1]) % 250, np.full(begins[-1], 4, dtype=np.float32)
        values[::5] = -np.inf
        for bias in (None, (begins, tokens, values)):
            scores, _, picked = reader.kernel(
                TEXTS[2], places, zeros, zeros, places, zeros[:1], draws=Draws(hot, nucleus, chance, bias)
            )  # fmt: skip
            if bias is not None:
                where = torch.from_numpy(np.stack((np.repeat(places, np.diff(begins)), tokens)))
                scores = scores.index_put(tuple(where), torch.from_numpy(values), accumulate=True)
            wanted = draw(scores, torch.from_numpy(hot), torch.from_numpy(nucleus), torch.from_numpy(chance), [])
            assert picked is not None
            assert picked.tolist() == wanted.tolist()


def test_drawn_tokens_follow_the_softmax_of_the_scores_over_temperature(model: torch.nn.Module) -> None:
    reader, n = Reader(model, 1), 40_000
    zeros = np.zeros(n, dtype=np.int64)
    chance = uniforms(np.arange(n, dtype=np.uint64), zeros)
    hot, all_ = np.full(n, 0.7, dtype=np.float32), np.ones(n, dtype=np.float32)
    scores, _, picked = reader.kernel(  # the same token at the same place, over and over
        zeros + 9, zeros, zeros, zeros, np.arange(n), zeros[:1], draws=Draws(hot, all_, chance)
    )
    wanted = torch.softmax(scores[0].double() / 0.7, -1).numpy() * n
    counts = np.bincount(picked, minlength=len(wanted))
    common = wanted >= 5
    observed, expected = (np.append(a[common], a[~common].sum()) for a in (counts, wanted))
    assert chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize(
    ("which", "value", "why"),
    [
        (0, -1, "a token"), (0, 250_000, "a token"), (1, -1, "a position"), (1, 128, "a position beyond"),
        (1, 1 << 40, "a position"), (2, -1, "a row"), (2, 99, "a row"), (3, -1, "a row"), (3, 1 << 20, "a row"),
        (4, -1, "places of wanted"), (4, 3, "places of wanted"), (4, 1, "places of wanted"),
    ],
)  # fmt: skip
def test_what_lies_beyond_its_arrays_is_refused_before_anything_is_read(
    model: torch.nn.Module, which: int, value: int, why: str
) -> None:
    reader = Reader(model, 1)
    arrays = [np.array(a, dtype=np.int64) for a in ([7, 8, 9], [0, 1, 2], [0, 0, 0], [0, 0, 0], [0, 1])]
    begins = np.zeros(1, dtype=np.int64)
    before, _, _ = reader.kernel(*arrays, begins)  # type: ignore[arg-type]
    wrong = [a.copy() for a in arrays]
    wrong[which][0] = value
    with pytest.raises(IndexError, match=f"was given {why}"):
        reader.kernel(*wrong, begins)  # type: ignore[arg-type]
    after, _, _ = reader.kernel(*arrays, begins)  # type: ignore[arg-type]
    np.testing.assert_array_equal(after, before)


def test_a_position_between_the_longest_sequence_and_the_end_of_its_row_is_refused(model: torch.nn.Module) -> None:
    cache = RowCache(model.config, torch.float32, torch.device("cpu"), longest=100, limit=1 << 30)  # type: ignore[arg-type]
    row, kernel, zero = np.array([cache.take(cache.slabs[0])]), Kernel(model, cache, 100), np.zeros(1, dtype=np.int64)
    assert cache.slabs[0].width == 128
    kernel(zero + 7, zero + 99, zero, row, zero, zero)
    with pytest.raises(IndexError, match="a position beyond the longest sequence"):
        kernel(zero + 7, zero + 100, zero, row, zero, zero)


@pytest.mark.parametrize(
    ("begins", "tokens", "why"),
    [
        ([0, 2, 1, 2], [5, 6], "a bias"), ([1, 1, 2, 2], [5, 6], "a bias"), ([0, 1, 2, 2], [5, -6], "a bias"),
        ([0, 1, 2, 2], [5, 1 << 30], "a bias"), ([0, 1, 2, 3], [5, 6], "biases that do not belong"),
    ],
)  # fmt: skip
def test_biases_beyond_the_vocabulary_or_out_of_order_are_refused(
    model: torch.nn.Module, begins: list[int], tokens: list[int], why: str
) -> None:
    reader, zeros = Reader(model, 1), np.zeros(3, dtype=np.int64)
    places, cold = np.arange(3), np.zeros(3, dtype=np.float32)
    bias = np.array(begins), np.array(tokens), np.ones(len(tokens), dtype=np.float32)
    with pytest.raises(IndexError, match=why):
        reader.kernel(
            zeros + 7, places, zeros, zeros, places, zeros[:1], draws=Draws(cold, cold, cold.astype(float), bias)
        )


def test_arrays_of_other_lengths_and_types_are_refused(model: torch.nn.Module) -> None:
    reader, zeros = Reader(model, 1), np.zeros(4, dtype=np.int64)
    for wrong in (zeros[:3], zeros.astype(np.int32), np.zeros(8, dtype=np.int64)[::2]):
        with pytest.raises(IndexError, match="the kernel was given arrays"):
            reader.kernel(zeros, wrong, zeros, zeros, zeros[:1], zeros[:1])


@pytest.mark.slow
def test_it_touches_no_memory_that_is_not_its_own(tmp_path: Path) -> None:
    """The whole engine over the kernel, built with the compiler's address sanitiser."""
    sanitiser = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    if not Path(sanitiser.stdout.strip()).exists():
        pytest.skip("this compiler has no address sanitiser")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("sanitised.py"))], capture_output=True, text=True, timeout=500,
        env={
            **os.environ, "LD_PRELOAD": sanitiser.stdout.strip(), "XDG_CACHE_HOME": str(tmp_path),
            "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:allocator_may_return_null=1", "OMP_NUM_THREADS": "2",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "ERROR: AddressSanitizer" not in done.stderr
    assert done.stdout.split() == ["overrun", "caught", "engine", "sound"]


def test_without_a_compiler_the_model_goes_through_torch(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(LocalEngine(str(tiny))._loop.passes, KernelPass)
    library.cache_clear()
    monkeypatch.setenv("CC", "no-such-compiler")
    engine = LocalEngine(str(tiny))
    assert isinstance(engine._loop.passes, TorchPass)
    assert engine.describe()["compiled"] is False
    with pytest.raises(BadInput, match=r"compiled=True, but no C compiler .* Leave it out"):
        LocalEngine(str(tiny), compiled=True)
    library.cache_clear()


def test_it_can_be_switched_off(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library.cache_clear()
    monkeypatch.setenv(SWITCH, "0")
    with pytest.raises(Unavailable, match="SATISFICE_KERNEL=0"):
        library()
    library.cache_clear()


def test_source_that_does_not_compile_is_no_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library.cache_clear()
    (tmp_path / "broken.c").write_text("int kernel_forward(")
    monkeypatch.setattr(_kernel, "SOURCE", tmp_path / "broken.c")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match="could not compile"):
        library()
    assert list((tmp_path / "satisfice").iterdir()) == []
    library.cache_clear()


def test_it_is_compiled_once_and_never_kept_where_others_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.cache_clear()
    library()
    [kept] = (tmp_path / "satisfice").iterdir()
    made = kept.stat().st_mtime_ns
    library.cache_clear()
    library()
    assert [kept] == list((tmp_path / "satisfice").iterdir())
    assert kept.stat().st_mtime_ns == made
    kept.unlink()
    os.chmod(tmp_path / "satisfice", 0o777)
    library.cache_clear()
    library()
    assert list((tmp_path / "satisfice").iterdir()) == []
    library.cache_clear()


def test_models_that_it_does_not_compute_are_refused(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path, head_dim=6)
    for more, why in (({"dtype": "bfloat16"}, "float32 on a CPU"), ({}, "heads of 6")):
        with pytest.raises(BadInput, match=why):
            LocalEngine(str(folder), compiled=True, **more)
