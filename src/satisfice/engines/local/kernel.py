"""A forward pass in C for small Llama-like models on a CPU, where a C compiler is at hand.

A small model spends most of a decode step between operations: in Python, in dispatch, in handing the interpreter's
lock from thread to thread. `kernel.c` is the whole pass as one call without the lock. It is compiled for this
processor when an engine first needs it (about a second) and kept in the user's cache folder. Nothing depends on it:
without a compiler the same model runs through torch, more slowly.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from satisfice.engines.local.cache import RowCache, Slab
from satisfice.engines.local.forward import fits

SOURCE = Path(__file__).with_name("kernel.c")
FLAGS = ("-O3", "-march=native", "-shared", "-fPIC", "-pthread")
SWITCH = "SATISFICE_KERNEL"  # 0: never compile, never load
LARGEST = 200_000_000  # parameters; the kernel holds a copy of them, each thread reads all of it in every step
_WORTH_SHARING = 4  # tokens for each thread; fewer are quicker done than handed over
_TOKEN = 120  # what a token's products cost, in positions that attention reads


class Draws(NamedTuple):
    """How tokens are drawn: temperature, top-p and a number in [0, 1) for each, and what is added to scores before.

    The last is where each one's biases begin `[wanted + 1]`, their tokens and their values, or None.
    """

    temperature: NDArray[np.float32]
    top_p: NDArray[np.float32]
    chance: NDArray[np.float64]
    bias: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]] | None = None


class Unavailable(Exception):
    """Why there is no kernel here."""


@functools.cache
def library() -> ctypes.CDLL:
    """Return the compiled kernel.

    Raises:
        Unavailable: it is switched off, there is no compiler, or the compiler could not do it.
    """
    if os.environ.get(SWITCH) == "0":
        raise Unavailable(f"switched off by {SWITCH}=0")
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or os.name != "posix":
        raise Unavailable("no C compiler (cc) on this machine")
    folder = _folder()
    if folder is not None:
        made_of = hashlib.sha256(SOURCE.read_bytes())
        made_of.update(repr((compiler, FLAGS, _processor())).encode())
        path = folder / f"kernel-{made_of.hexdigest()[:16]}.so"
        if not path.exists():
            _compile(compiler, path)
        return _load(path)
    with tempfile.TemporaryDirectory(prefix="satisfice-") as own:
        _compile(compiler, Path(own) / "kernel.so")
        return _load(Path(own) / "kernel.so")


def _load(path: Path) -> ctypes.CDLL:
    try:
        found = ctypes.CDLL(str(path))
    except OSError as error:
        raise Unavailable(f"{path} cannot be loaded: {error}") from None
    found.kernel_lanes.restype = ctypes.c_int64
    found.kernel_forward.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    return found


def _compile(compiler: str, path: Path) -> None:
    handle, fresh = tempfile.mkstemp(".so", dir=path.parent)
    os.close(handle)
    try:
        subprocess.run([compiler, *FLAGS, "-o", fresh, str(SOURCE)], check=True, capture_output=True, timeout=120)
        os.replace(fresh, path)  # whole or not at all: other processes may want it in this moment
    except (OSError, subprocess.SubprocessError) as error:
        Path(fresh).unlink(missing_ok=True)
        raise Unavailable(f"{compiler} could not compile the kernel: {error}") from None


def _folder() -> Path | None:
    """Return the user's folder for what can be made again, if nobody else can write to it."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "satisfice"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
    except (OSError, RuntimeError):  # no home, or none that can be written
        return None
    private = about.st_uid == os.getuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder if private and os.access(folder, os.W_OK) else None


def _processor() -> str:
    """Return what machine code may run here: a cache folder can be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line for line in lines if line.lower().startswith(("flags", "features")))
    except (OSError, StopIteration):
        return f"{platform.machine()} {platform.processor()}"


# The structs of the C file, field by field.


def _pointers(names: str) -> tuple[tuple[str, type[ctypes.c_void_p]], ...]:
    return tuple((name, ctypes.c_void_p) for name in names.split())


def _numbers(names: str) -> tuple[tuple[str, type[ctypes.c_int64]], ...]:
    return tuple((name, ctypes.c_int64) for name in names.split())


class _Layer(ctypes.Structure):
    _fields_ = _pointers(
        "norm qkv qkv_bias q_norm k_norm out out_bias mlp_norm gate_up gate_up_bias down down_bias"
    )  # fmt: skip


class _Model(ctypes.Structure):
    _fields_ = (
        *_numbers("layers width heads kv_heads dim inner vocab longest"),
        ("eps", ctypes.c_float), ("scale", ctypes.c_float), *_pointers("embed norm head cos sin layer"),
    )  # fmt: skip


class _Batch(ctypes.Structure):
    _fields_ = (
        *_numbers("tokens wanted slabs parts"),
        *_pointers(
            "token position slab row want cache slab_width slab_rows scores states temperature top_p chance picked "
            "bias_from bias_token bias cuts"
        ),
    )


NO_MEMORY = 1
_FAULTS = {  # what `kernel_forward` returns
    2: "a token that is none of the model's",
    3: "a position beyond the longest sequence or the end of its row",
    4: "a row that the cache does not have",
    5: "places of wanted scores that do not ascend or are not in the batch",
    6: "a bias on a token that is none of the model's",
    7: "parts for its threads that are not the batch",
}


def _check_shapes(
    tokens: NDArray[np.int64], positions: NDArray[np.int64], slabs: NDArray[np.int64], rows: NDArray[np.int64],
    want: NDArray[np.int64], draws: Draws | None,
) -> None:  # fmt: skip
    """Refuse arrays whose memory C would read wrongly; what is in them it checks itself."""
    per_token = (tokens, positions, slabs, rows)
    per_draw: tuple[NDArray[Any], ...] = () if draws is None else (draws.temperature, draws.top_p, draws.chance)
    if any(len(a) != len(tokens) for a in per_token) or any(len(a) != len(want) for a in per_draw):
        raise IndexError("the kernel was given arrays of different lengths")
    numbers = [*per_token, want]
    if draws is not None and draws.bias is not None:
        begins, biased, values = draws.bias
        if len(begins) != len(want) + 1 or begins[-1] != len(biased) or len(biased) != len(values):
            raise IndexError("the kernel was given biases that do not belong to what is wanted")
        numbers += [begins, biased]
        per_draw = (*per_draw, values)
    kinds = (np.float32, np.float32, np.float64, np.float32)
    right = all(a.dtype == np.int64 for a in numbers) and all(
        a.dtype == k for a, k in zip(per_draw, kinds, strict=False)
    )
    if not right or not all(a.flags.c_contiguous for a in (*numbers, *per_draw)):
        raise IndexError("the kernel was given arrays that are not contiguous or not of its types")


class Kernel:
    """A model's weights as the kernel wants them, and the threads that share a batch.

    Raises:
        Unavailable: it cannot compute this model, or there is no kernel here.
    """

    def __init__(self, model: Any, cache: RowCache, longest: int) -> None:
        if model.device.type != "cpu" or model.dtype != torch.float32 or not fits(model):
            raise Unavailable("it computes Llama, Mistral, Qwen2 and Qwen3 in float32 on a CPU")
        if model.num_parameters() > LARGEST:
            raise Unavailable(f"beyond {LARGEST:,} parameters its copy of the weights takes too much memory")
        self._library = library()
        self._lanes = int(self._library.kernel_lanes())
        if (dim := model.model.layers[0].self_attn.head_dim) % self._lanes:
            raise Unavailable(f"heads of {dim} are not whole vectors of {self._lanes}")
        self._cache, self._origin, self._longest = cache, model, longest
        self._layers, self._width = model.config.num_hidden_layers, model.config.hidden_size
        self._vocab = model.lm_head.out_features
        self._columns = -(-self._vocab // (2 * self._lanes)) * 2 * self._lanes  # of scores, with padding
        self._threads = torch.get_num_threads()
        self._seen = -1  # which state of the cache the addresses belong to
        self._weights = tuple(model.parameters())
        self._pack()

    def _pack(self) -> None:
        """Copy the model's weights as they are now."""
        base, config = self._origin.model, self._origin.config
        attention, embed = base.layers[0].self_attn, base.embed_tokens.weight
        self._packed = self._version()
        self._kept = list[NDArray[np.float32]]()
        cos, sin = base.rotary_emb(embed[:1], torch.arange(self._longest)[None])
        self._blocks = (_Layer * self._layers)(*(self._layer(layer) for layer in base.layers))
        self._model = _Model(
            self._layers, self._width, config.num_attention_heads, config.num_key_value_heads, attention.head_dim,
            config.intermediate_size, self._vocab, self._longest, config.rms_norm_eps, attention.scaling,
            self._plain(embed), self._plain(base.norm.weight), self._panels(self._origin.lm_head.weight),
            self._plain(cos[0]), self._plain(sin[0]), ctypes.addressof(self._blocks),
        )  # fmt: skip

    def _version(self) -> int:
        """Grows whenever a weight is changed in place: a model can be trained while an engine samples from it."""
        return sum(weight._version for weight in self._weights if not weight.is_inference())

    def __call__(
        self, tokens: NDArray[np.int64], positions: NDArray[np.int64], slabs: NDArray[np.int64],
        rows: NDArray[np.int64], want: NDArray[np.int64], chains: NDArray[np.int64], *, hidden: bool = False,
        draws: Draws | None = None,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], NDArray[np.int64] | None]:  # fmt: skip
        """Scores `[wanted, vocab]` of the tokens at the places `want`; their states layer by layer; tokens drawn.

        `tokens`, `positions`, `slabs` (numbers of slabs) and `rows` have an entry for each token; `want` ascends;
        `chains` are the places at which another chain's tokens begin. All of them are contiguous and of 64 bits. There
        are states with `hidden`, and tokens `[wanted]` with `draws`.

        Raises:
            IndexError: a token, position, row or place is beyond what there is; nothing was computed.
            MemoryError: there is no memory for what is computed on the way, or no thread.
        """
        _check_shapes(tokens, positions, slabs, rows, want, draws)
        if self._cache.changes != self._seen:
            self._seen, slabs_ = self._cache.changes, self._cache.slabs
            self._addresses = np.array([_addresses(slab, self._layers) for slab in slabs_], dtype=np.uintp)
            self._widths = np.array([slab.width for slab in slabs_], dtype=np.int64)
            self._rows = np.array([slab.rows for slab in slabs_], dtype=np.int64)
        if self._version() != self._packed:
            self._pack()
        scores = np.empty((len(want), self._columns), dtype=np.float32)
        states = np.empty((self._layers + 1, len(want), self._width), dtype=np.float32) if hidden else None
        temperature, top_p, chance, bias = draws or (None, None, None, None)
        picked = None if draws is None else np.empty(len(want), dtype=np.int64)
        cuts = self._cuts(positions, chains)
        arrays = (
            tokens, positions, slabs, rows, want, self._addresses, self._widths, self._rows, scores, states,
            temperature, top_p, chance, picked, *(bias or (None, None, None)), cuts,
        )  # fmt: skip
        batch = _Batch(
            len(tokens), len(want), len(self._widths), len(cuts) - 1,
            *(None if a is None else a.ctypes.data for a in arrays),
        )  # fmt: skip
        fault = self._library.kernel_forward(ctypes.byref(self._model), ctypes.byref(batch))
        if fault == NO_MEMORY:
            raise MemoryError("the kernel found no memory for its scratch, or no thread")
        if fault:
            raise IndexError(f"the kernel was given {_FAULTS[fault]}; nothing was computed")
        layers = () if states is None else tuple(torch.from_numpy(layer) for layer in states)
        return torch.from_numpy(scores)[:, : self._vocab], layers, picked

    def _cuts(self, positions: NDArray[np.int64], chains: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where each thread's part begins, and the end: whole chains, and about as much work for each."""
        count = len(positions)
        parts = min(self._threads, count // _WORTH_SHARING)
        if parts < 2:
            return np.array([0, count])
        work = np.cumsum(positions + _TOKEN)
        ideal = np.searchsorted(work, work[-1] * np.arange(1, parts) / parts)
        inner = chains[np.minimum(np.searchsorted(chains, ideal), len(chains) - 1)]
        return np.unique(np.concatenate(([0], inner, [count])))

    def _layer(self, layer: Any) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        three = (attention.q_proj, attention.k_proj, attention.v_proj)
        gates = self._interleaved(mlp.gate_proj.weight, mlp.up_proj.weight)
        biased = mlp.gate_proj.bias is not None
        return _Layer(
            self._plain(layer.input_layernorm.weight),
            self._panels(torch.cat([linear.weight for linear in three])),
            self._bias(torch.cat([linear.bias for linear in three])) if attention.q_proj.bias is not None else None,
            self._plain(attention.q_norm.weight) if hasattr(attention, "q_norm") else None,
            self._plain(attention.k_norm.weight) if hasattr(attention, "k_norm") else None,
            self._panels(attention.o_proj.weight), self._bias(attention.o_proj.bias),
            self._plain(layer.post_attention_layernorm.weight),
            self._panels(gates),
            self._bias(self._interleaved(mlp.gate_proj.bias[:, None], mlp.up_proj.bias[:, None])) if biased else None,
            self._panels(mlp.down_proj.weight), self._bias(mlp.down_proj.bias),
        )  # fmt: skip

    def _interleaved(self, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """`[n, k]` each -> `[2 * padded n, k]`: a vector of gates, then one of ups, so that a panel holds both."""
        pair = [
            F.pad(part, (0, 0, 0, -len(part) % self._lanes)).view(-1, self._lanes, part.shape[1]) for part in (gate, up)
        ]
        return torch.cat(pair, 1).flatten(0, 1)

    def _panels(self, weight: torch.Tensor) -> int:
        """`[columns, depth]` in panels `[columns / panel, depth, panel]`, the last one padded with zeros."""
        panel = 2 * self._lanes
        padded = F.pad(weight, (0, 0, 0, -len(weight) % panel))
        return self._plain(padded.view(-1, panel, weight.shape[1]).transpose(1, 2))

    def _bias(self, bias: torch.Tensor | None) -> int | None:
        if bias is None:
            return None
        flat = bias.flatten()
        return self._plain(F.pad(flat, (0, -len(flat) % (2 * self._lanes))))

    def _plain(self, values: torch.Tensor) -> int:
        """Return the address of a copy that lives as long as the model."""
        self._kept.append(np.array(values.detach().numpy(), dtype=np.float32, order="C"))
        return int(self._kept[-1].ctypes.data)


def _addresses(slab: Slab, layers: int) -> list[int]:
    if not slab.layers:
        return [0] * (2 * layers)
    return [part.data_ptr() for pair in slab.layers for part in pair]
