"""llama.cpp's own HTTP server, from the package `xllamacpp`: `python -m tests.engines.llama_server MODEL.gguf PORT`."""

import argparse
import signal

import xllamacpp

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("port", type=int)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--context", type=int, default=1024, help="tokens of one slot")
    parser.add_argument("--threads", type=int, default=1, help="of each pool; more than there are free cores stall")
    parser.add_argument("--special", action="store_true", help="special tokens are shown as text")
    options = parser.parse_args()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = options.model
    parameters.port, parameters.n_parallel = options.port, options.slots
    parameters.n_ctx = options.context * options.slots
    parameters.special, parameters.endpoint_metrics, parameters.endpoint_slots = options.special, True, True
    parameters.warmup, parameters.n_gpu_layers = False, 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = options.threads
    server = xllamacpp.Server(parameters)
    signal.pause()
