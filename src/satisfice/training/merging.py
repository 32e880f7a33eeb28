"""Merge models on disk: checked before anything is written, tensor by tensor, whole or not at all."""

import importlib.util
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from satisfice.catalog import canonical
from satisfice.core.errors import BadInput, CannotWrite
from satisfice.core.merge import Merge, Recipe
from satisfice.models.resolve import check_folder, model_folder, weights_mark

SHARD = 4 << 30  # bytes of weights per file
CONFIG = (
    "model_type", "architectures", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "tie_word_embeddings", "rope_theta", "rope_parameters", "rope_scaling",
)  # fmt: skip
"""What must be the same in the configurations of models that are merged."""
MERGED = "merge.json"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that takes part in a merge."""

    name: str  # as it was typed
    folder: Path

    @property
    def config(self) -> dict[str, Any]:
        """Its configuration."""
        found: dict[str, Any] = json.loads((self.folder / "config.json").read_text("utf-8"))
        return found

    @property
    def bytes(self) -> int:
        """Size of its weights on disk."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))


def models(names: Sequence[str]) -> list[Model]:
    """Return models by name; an adapter behind a plus sign is merged into its base first, as a whole difference.

    Merging the factors of two adapters one by one is another thing, and the wrong one: the product of sums is not the
    sum of products.
    """
    found = [Model(name=name, folder=model_folder(name).resolve()) for name in names]
    for model in found:
        check_folder(model.folder)
    return found


def check(base: Model, others: Sequence[Model]) -> list[str]:
    """Return notes on what is odd about a merge; refuse what cannot be merged.

    Raises:
        BadInput: nothing to merge, a model that is named twice, or another architecture, tokenizer, tensor or shape
            than the base's. The message names the first difference.
    """
    if not others:
        raise BadInput("models: there is nothing to merge with the base. Name at least one other model.")
    folders = [base.folder, *(other.folder for other in others)]
    if len(set(folders)) < len(folders):
        raise BadInput("models: a model is named twice. Name the base once and each other model once.")
    notes = []
    tensors, vocabulary = _shapes(base), _vocabulary(base.folder)
    for other in others:
        for key in CONFIG:
            ours, theirs = base.config.get(key), other.config.get(key)
            if ours != theirs:
                raise BadInput(
                    f"models: {other.name} has {key} {theirs}, and {base.name} has {ours}. They do not merge."
                )
        if (apart := _apart(vocabulary, _vocabulary(other.folder))) is not None:
            raise BadInput(
                f"models: {other.name} has another tokenizer than {base.name}: {apart}. Merged embeddings would mean "
                "nothing."
            )
        theirs = _shapes(other)
        for name in sorted({*tensors, *theirs}):
            if tensors.get(name, (None,))[0] != theirs.get(name, (None,))[0]:
                shapes = tensors.get(name, ("missing",))[0], theirs.get(name, ("missing",))[0]
                raise BadInput(f"models: tensor {name} is {shapes[0]} in {base.name} and {shapes[1]} in {other.name}.")
        kinds = {kind for _, kind in theirs.values()} ^ {kind for _, kind in tensors.values()}
        if kinds:
            notes.append(f"{other.name} and {base.name} are stored in different types ({', '.join(sorted(kinds))}).")
        if _template(base.folder) != _template(other.folder):
            notes.append(f"{other.name} has another chat template than {base.name}, whose template the result keeps.")
    return notes


def distances(base: Model, others: Sequence[Model]) -> dict[str, float]:
    """Return how far each model is from the base: the norm of the difference by the norm of the base's weights."""
    found = {}
    for other in others:
        apart = size = 0.0
        for _, start, (one,) in _tensors(base, [other]):
            apart += float((one.float() - start.float()).square().sum())
            size += float(start.float().square().sum())
        found[other.name] = (apart / size) ** 0.5 if size else 0.0
    return found


def merge(method: Merge, base: Model, others: Sequence[Model], out: Path) -> None:
    """Write the merged model into the folder `out`: whole or not at all; one that is there already is kept.

    What mergekit can do is its work where it is installed; else tensors are read, merged in float32 and written one by
    one. The base's tokenizer, chat form and profile go with the result.

    Raises:
        BadInput: `out` holds something else.
        CannotWrite: there is no room for it. Nothing is left there.
    """
    config = {
        "merge": canonical(method), "base": base.name, "weights": weights_mark(base.folder),
        "models": [{"model": one.name, "weights": weights_mark(one.folder)} for one in others],
    }  # fmt: skip
    if out.is_dir() and any(out.iterdir()):
        there = json.loads((out / MERGED).read_text("utf-8")) if (out / MERGED).is_file() else None
        if there != config:
            raise BadInput(f"out: {out} holds something else. Give a new folder.")
        return
    free = shutil.disk_usage(next(p for p in (out, *out.absolute().parents) if p.exists())).free
    if free < 1.1 * base.bytes:
        raise CannotWrite(
            f"out: the merged model takes {base.bytes / 1e9:.2f} GB, and {out} has room for {free / 1e9:.2f} GB. Make "
            "room, or give a folder elsewhere."
        )
    draft = out.with_name(f".{out.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        if isinstance(method, Recipe) and importlib.util.find_spec("mergekit") is not None:
            _by_mergekit(method, base, others, draft)
        else:
            _one_by_one(method, base, others, draft)
        for path in sorted(base.folder.iterdir()):
            if (
                path.is_file()
                and path.suffix in {".json", ".jinja", ".txt", ".model"}
                and "safetensors" not in path.name
            ):
                shutil.copyfile(path, draft / path.name)
        (draft / MERGED).write_text(json.dumps(config, indent=1) + "\n", "utf-8")
        if out.is_dir():
            out.rmdir()
        draft.rename(out)
    except OSError as error:
        raise CannotWrite(f"out: {out} cannot be written: {error}. Nothing was left there.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _by_mergekit(method: Recipe, base: Model, others: Sequence[Model], out: Path) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # it asks a hub for what it takes for a name there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of numpy and of pydantic, about mergekit's imports
        from mergekit.config import MergeConfiguration
        from mergekit.merge import run_merge
        from mergekit.options import MergeOptions

    recipe = method.recipe(str(base.folder), [str(other.folder) for other in others])
    options = MergeOptions(
        quiet=True, copy_tokenizer=False, write_model_card=False, random_seed=int(getattr(method, "seed", 0)),
        out_shard_size=SHARD,
    )  # fmt: skip
    run_merge(MergeConfiguration.model_validate({**recipe, "out_dtype": _type_of(base)}), str(out), options)


def _one_by_one(method: Merge, base: Model, others: Sequence[Model], out: Path) -> None:
    shard: dict[str, Any] = {}
    files: list[dict[str, Any]] = []
    index: dict[str, int] = {}

    def write() -> None:
        save_file(shard, out / f"part-{len(files)}.safetensors", {"format": "pt"})
        files.append(dict.fromkeys(shard))
        index.update(dict.fromkeys(shard, len(files) - 1))
        shard.clear()

    size = 0
    for name, start, some in _tensors(base, others):
        if start.is_floating_point():
            merged = method(start.float().numpy(), [one.float().numpy() for one in some])
            shard[name] = torch.from_numpy(merged.copy()).to(start.dtype).contiguous()
        else:
            shard[name] = start.clone()
        size += start.numel() * start.element_size()
        if size >= SHARD:
            write()
            size = 0
    if shard:
        write()
    names = [f"model-{i + 1:05}-of-{len(files):05}.safetensors" for i in range(len(files))]
    if len(files) == 1:
        names = ["model.safetensors"]
    for i, name in enumerate(names):
        (out / f"part-{i}.safetensors").rename(out / name)
    if len(files) > 1:
        table = {"metadata": {"total_size": base.bytes}, "weight_map": {name: names[i] for name, i in index.items()}}
        (out / "model.safetensors.index.json").write_text(json.dumps(table, indent=1) + "\n", "utf-8")


def _tensors(base: Model, others: Sequence[Model]) -> Iterator[tuple[str, Any, list[Any]]]:
    """Yield every tensor of the base with its name and the same one of each model; one at a time is in memory."""
    with ExitStack() as stack:
        tables = [_opened(model, stack) for model in (base, *others)]
        for name in sorted(tables[0]):
            start, *some = (table[name].get_tensor(name) for table in tables)
            yield name, start, some


def _opened(model: Model, stack: ExitStack) -> dict[str, Any]:
    table = {}
    for path in sorted(model.folder.glob("*.safetensors")):
        file = stack.enter_context(safe_open(path, framework="pt"))
        table.update(dict.fromkeys(file.keys(), file))
    return table


def _shapes(model: Model) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and type of every tensor, by name, without reading one."""
    with ExitStack() as stack:
        table = _opened(model, stack)
        slices = {name: file.get_slice(name) for name, file in table.items()}
        return {name: (tuple(one.get_shape()), str(one.get_dtype())) for name, one in slices.items()}


def _type_of(model: Model) -> str:
    kinds = {kind for _, kind in _shapes(model).values()}
    return {"BF16": "bfloat16", "F16": "float16"}.get(kinds.pop(), "float32") if len(kinds) == 1 else "float32"


def _vocabulary(folder: Path) -> Mapping[str, Any]:
    """Return the tokens of a model, with their numbers, and its special tokens."""
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return {**words.get_vocab(), **{f"<{name}>": text for name, text in words.special_tokens_map.items()}}


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    for token in sorted({*one, *other}, key=str):
        if one.get(token) != other.get(token):
            return f"{token!r} is {one.get(token)} in the base and {other.get(token)} in the other"
    return None


def _template(folder: Path) -> str:
    from transformers import AutoTokenizer

    return str(AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False).chat_template)
