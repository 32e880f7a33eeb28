"""Is everything registered in verl, in this process and in the actors of Ray? verl keeps silent about what fails.

satisfice doctor --verl
python -m satisfice.training.verl.doctor        # the same, by the Python that runs verl; exit code 1: not all well
"""

import importlib.metadata
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from satisfice.core.errors import Unfit
from satisfice.core.shaper import Shaper
from satisfice.methods import shaping
from satisfice.training.verl.estimator import PREFIX, check_alone, check_trained, from_data

GROUP, ENTRY = "verl.plugins", "satisfice"


def main() -> None:
    """Print what there is; leave with 1 when something is wrong."""
    report = examine(ray="--ray" in sys.argv[1:])
    print("\n".join(told(report)))
    sys.exit(0 if report["well"] else 1)


def examine(*, ray: bool = False) -> dict[str, Any]:
    """Return what is registered where, as JSON-able rows; `ray` asks an actor of Ray, too, which starts Ray here."""
    report: dict[str, Any] = {"python": sys.executable, "verl": _version("verl"), "wrong": []}
    if report["verl"] is None:
        report["wrong"].append(
            f"verl is not installed for {sys.executable}. Install both there: pip install 'satisfice[verl]', or ask "
            "the Python that runs verl: .../python -m satisfice.training.verl.doctor"
        )
        return {**report, "well": False}
    report["wrong"] += _entry()
    if not report["wrong"]:
        report |= {"here": registered(), "methods": methods()}
        report["wrong"] += _gaps("this process", report["here"])
        if ray:
            report["actor"] = _in_an_actor()
            report["wrong"] += _gaps("an actor of Ray", report["actor"])
    report["well"] = not report["wrong"]
    return report


def registered() -> dict[str, Any]:
    """Return what verl's registries hold of ours once verl is imported, in this process."""
    import verl  # noqa: F401  (what is asked is what this import does)
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, POLICY_LOSS_REGISTRY

    found: dict[str, Any] = {
        "estimators": sorted(name for name in ADV_ESTIMATOR_REGISTRY if name.startswith(PREFIX)),
        "policy_loss": ENTRY in POLICY_LOSS_REGISTRY,
        "trainer": None,  # None: cannot be asked for
        "agent_loop": None,
        "reward_manager": None,
    }
    if importlib.util.find_spec("transfer_queue") is not None:
        from verl.experimental.agent_loop.agent_loop import _agent_loop_registry
        from verl.experimental.reward_loop.reward_manager.registry import REWARD_MANAGER
        from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY

        found |= {
            "trainer": ENTRY in TRAINER_REGISTRY,
            "agent_loop": ENTRY in _agent_loop_registry,
            "reward_manager": ENTRY in REWARD_MANAGER,
        }
    return found


def methods() -> dict[str, dict[str, Any]]:
    """Shaper -> whether verl's own trainer is enough, whether ours is, what the data must hold, and why not."""
    rows = {}
    for name, cls in shaping.FAMILY.methods.items():
        shaper = cls()
        why = _refusal(check_trained, shaper)
        alone = not why and not _refusal(partial(check_alone, kept=True), shaper)
        data = [] if why else sorted(from_data(shaper))
        rows[name] = {"alone": alone, "trainer": not why, "data": data, "why": why}
    return rows


def told(report: dict[str, Any]) -> list[str]:
    """Return the report in lines for a person."""
    lines = [f"verl {report['verl']} in {report['python']}" if report["verl"] else "verl: not installed here"]
    if "here" in report:
        rows = report["methods"].values()
        lines += [
            f"registered: {len(report['here']['estimators'])} advantage estimators, the policy loss, "
            "the trainer, the agent loop, the reward manager",
            f"with verl's own trainer: {sum(row['alone'] for row in rows)} shapers; with ours: "
            f"{sum(row['trainer'] and not row['data'] for row in rows)}, and "
            f"{sum(bool(row['data']) for row in rows)} that want columns in the data",
            *(f"  {name} needs {', '.join(row['data'])}" for name, row in report["methods"].items() if row["data"]),
            *(f"  not in verl: {row['why']}" for row in rows if row["why"]),
        ]
    if "actor" in report:
        lines.append(f"in an actor of Ray: {len(report['actor']['estimators'])} advantage estimators")
    return [*lines, *(f"WRONG: {wrong}" for wrong in report["wrong"])] + (["All is well."] if report["well"] else [])


def _entry() -> list[str]:
    """Return what keeps verl from loading us: the faults that it does not show."""
    policy = os.environ.get("VERL_USE_EXTERNAL_PLUGINS", "auto").strip().lower()
    if policy != "auto" and ENTRY not in {name.strip() for name in policy.split(",")}:
        return [f"VERL_USE_EXTERNAL_PLUGINS={policy} keeps verl from loading {ENTRY}. Unset it, or name {ENTRY} in it."]
    if int((_version("trl") or "0").partition(".")[0]) >= 1:
        return [
            f"trl {_version('trl')} is installed beside verl, whose training fails with trl 1.0 or newer: remove it."
        ]
    entries = [entry for entry in importlib.metadata.entry_points(group=GROUP) if entry.name == ENTRY]
    if not entries:
        return ["satisfice is on the path but not installed, so verl cannot find it: pip install it into this Python."]
    try:
        for entry in entries:
            entry.load()
    except Exception:  # noqa: BLE001  (whatever it is, it is what verl would hide)
        return [f"the plug-in does not load:\n{traceback.format_exc()}"]
    return []


def _gaps(where: str, found: dict[str, Any]) -> list[str]:
    missing = [name for name in shaping.FAMILY.methods if PREFIX + name not in found["estimators"]]
    gaps = [f"{where}: no estimator for {', '.join(missing)}"] if missing else []
    for name in ("policy_loss", "trainer", "agent_loop", "reward_manager"):
        if found[name] is None:
            gaps.append(f"{where}: no {name}, because TransferQueue is missing: pip install 'satisfice[verl]'")
        elif not found[name]:
            gaps.append(f"{where}: {name} is not registered")
    return gaps


def _refusal(check: Callable[[Shaper], None], shaper: Shaper) -> str:
    """Return why a check refuses a shaper; "" when it does not."""
    try:
        check(shaper)
    except Unfit as error:
        return str(error)
    return ""


def _in_an_actor() -> dict[str, Any]:
    import ray

    fresh = not ray.is_initialized()
    if fresh:
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        found: dict[str, Any] = ray.get(ray.remote(registered).remote())
    finally:
        if fresh:
            ray.shutdown()
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
