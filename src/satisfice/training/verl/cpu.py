"""verl on a machine without a GPU, to try a run before it goes to a cluster: `VERL_PLATFORM=satisfice-cpu`.

verl has no platform for CPUs and no inference server that runs on one. This adds both by its own registries: FSDP on
gloo, and our local engine as a server, `actor_rollout_ref.rollout.name=satisfice`. Everything else is verl's. Ray has
to be told of one made-up GPU for each process that trains: `+ray_kwargs.ray_init.num_gpus=1`.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import ray
import torch
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry

from satisfice.training.trl_source import LiveEngine
from satisfice.training.verl.server import answer

NAME = "satisfice"
# verl pins what it offloads; here is no device to pin it for.
torch.Tensor.pin_memory = lambda tensor, *args: tensor  # type: ignore[method-assign]
os.environ["VERL_ENGINE_DEVICE"] = "cuda"  # which of verl's engines: FSDP itself asks the platform for its device


class _Device(SimpleNamespace):
    """`torch.cpu` with what verl asks of `torch.cuda` and a CPU has no answer to."""

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(torch.cpu, name)
        except AttributeError:
            return lambda *args, **more: 0


@PlatformRegistry.register(platform="satisfice-cpu")
class CpuPlatform(PlatformBase):
    """One process, one device, nothing to manage."""

    device_name = "cpu"
    vendor_name = "none"

    @property
    def device_module(self) -> Any:
        return _Device(mem_get_info=lambda *args: (0, 0), get_device_name=lambda *args: "cpu")

    def is_available(self) -> bool:
        return True

    def current_device(self) -> Any:
        return torch.device("cpu")

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None: ...

    def synchronize(self, device_index: int | None = None) -> None: ...

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None: ...

    def empty_cache(self) -> None: ...

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextlib.contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None: ...

    def profiler_stop(self) -> None: ...

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def cudart(self) -> Any:
        raise NotImplementedError("a CPU has no CUDA runtime")

    def is_ipc_supported(self) -> bool:
        return False


from verl.utils import distributed  # noqa: E402  (asks for the platform when it is imported, as the next ones do)

# verl names a backend for CPUs and one for the device, and torch refuses two for one device.
distributed.initialize_global_process_group_ray = partial(
    distributed.initialize_global_process_group_ray, backend="gloo"
)

from verl.workers.rollout import base as rollout_base  # noqa: E402
from verl.workers.rollout.base import BaseRollout  # noqa: E402
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput  # noqa: E402


class LocalServer:
    """Our local engine as an actor of Ray: tokens in, tokens out."""

    def __init__(self, folder: str, rows: int) -> None:
        torch.set_num_threads(1)
        self._engine = LiveEngine(folder, rows=rows, batch=min(rows, 128))
        self._version: int | None = None

    async def start(self) -> None:
        """Load and wait for work."""
        await self._engine.__aenter__()

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: Mapping[str, Any], **rest: Any
    ) -> TokenOutput:
        """Sample until one of `stop_token_ids` or `max_tokens`."""
        got = await answer(self._engine, prompt_ids, sampling_params)
        ended = "completed" if got.reason == "token" else "length"
        return TokenOutput(token_ids=list(got.ids), stop_reason=ended, extra_fields={"global_steps": self._version})

    async def take(self, weights: Mapping[str, torch.Tensor], version: int | None) -> None:
        """New weights, once the engine holds no sequence."""
        async with asyncio.timeout(60):
            while self._engine.rows_in_use:  # noqa: ASYNC110 - the engine's thread has no event to wait for
                await asyncio.sleep(0.001)
        self._engine.take({name: value.float() for name, value in weights.items()})
        self._version = version

    async def rest(self) -> None:
        """Nothing to free."""

    sleep = wake_up = clear_kv_cache = release_kv_cache = resume_kv_cache = start_profile = stop_profile = rest


def _server_name(rank: int) -> str:
    return f"{NAME}_server_{rank}"


class LocalReplica(RolloutReplica):
    """One server for one process that trains."""

    async def launch_servers(self) -> None:
        actor = ray.remote(LocalServer).options(
            name=_server_name(self.replica_rank), max_concurrency=self.max_concurrency, num_cpus=0
        )
        server = actor.remote(str(self.model_config.path), int(self.config.max_num_seqs))
        await server.start.remote()
        self.servers, self._server_handle = [server], server
        self._server_address = _server_name(self.replica_rank)  # a name for the load balancer; nothing listens there


class LocalRollout(BaseRollout):
    """The training side of a `LocalServer`: hands weights over."""

    async def resume(self, tags: list[str]) -> None: ...

    async def release(self) -> None: ...

    async def update_weights(self, weights: Any, global_steps: int | None = None, **more: Any) -> None:
        named = {name: value.detach().to("cpu", torch.float32).clone() for name, value in weights}
        rank = int(os.environ["RANK"])  # one server for each
        await ray.get_actor(_server_name(rank)).take.remote(named, global_steps)


RolloutReplicaRegistry.register(NAME, lambda: LocalReplica)
rollout_base._ROLLOUT_REGISTRY[NAME, "async"] = f"{__name__}.{LocalRollout.__name__}"
