"""vLLM's offline engine behind standard input: a line with prompts in, a line with tokens and seconds out.

Started by `engine.py` with the interpreter of vLLM's own environment.
"""

import json
import sys
import time


def main() -> None:
    """Load the model, then answer every line until the input ends."""
    import vllm

    folder, chains = sys.argv[1], int(sys.argv[2])
    model = vllm.LLM(folder, dtype="float32", enforce_eager=True, max_num_seqs=chains, max_model_len=2048)
    say({"version": vllm.__version__})
    for line in sys.stdin:
        asked = json.loads(line)
        settings = vllm.SamplingParams(temperature=asked["temperature"], max_tokens=asked["limit"], detokenize=False)
        prompts = [{"prompt_token_ids": ids} for ids in asked["prompts"]]
        begin = time.perf_counter()
        done = model.generate(prompts, settings, use_tqdm=False)
        wall = time.perf_counter() - begin
        say({"tokens": sum(len(one.outputs[0].token_ids) for one in done), "wall_s": wall})


def say(answer: dict[str, object]) -> None:
    """One line that cannot be taken for vLLM's own messages."""
    print(json.dumps({"satisfice": answer}), flush=True)


if __name__ == "__main__":
    main()
