"""A model folder as a GGUF file for llama.cpp: `python -m tests.engines.gguf_of smollm2+reasoning OUT.gguf`.

Names, sizes and the tokenizer are those of the file that SmolLM2 was made from; weights and chat form are the folder's.
"""

import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors import safe_open
from transformers import AutoConfig, AutoTokenizer

from satisfice.models.convert import gguf_file
from satisfice.models.resolve import model_folder

COUNTED = {"GGUF.version", "GGUF.tensor_count", "GGUF.kv_count"}  # written by the writer itself
OTHER = {"general.architecture", "general.file_type", "general.quantization_version", "tokenizer.chat_template"}


def write(model: str, target: Path) -> None:
    """Write the model in half precision."""
    folder = model_folder(model)
    config, source = AutoConfig.from_pretrained(folder), gguf.GGUFReader(gguf_file())
    writer = gguf.GGUFWriter(target, "llama")
    for name, field in source.fields.items():
        if name not in COUNTED | OTHER:
            kind, *inner = field.types
            value: Any = field.contents()
            writer.add_key_value(name, value, kind, inner[0] if inner else None)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_chat_template(AutoTokenizer.from_pretrained(folder).chat_template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                values = tensors.get_tensor(name)
                heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
                for part, count in heads.items():
                    if part in name:
                        values = _for_rotation(values, count)
                kind = np.float32 if values.ndim == 1 else np.float16
                writer.add_tensor(names.get_name(name, (".weight",)), values.astype(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _for_rotation(values: np.ndarray, heads: int) -> np.ndarray:
    """Put the rows of each head from halves side by side to pairs, as llama.cpp rotates them."""
    rows, columns = values.shape
    return values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
