"""A transformers causal language model in this process, with continuous batching over asyncio.

`engine` is the contract's side, `scheduler` the one thread that owns the model, `messages` what the one tells the
other, `sequence` and `cache` where each chain's keys and values lie, `runner` and `forward` one pass through the model
(`kernel` the same in C), `batch` the arrays that stay from step to step, `sampler` how tokens are drawn.
"""
