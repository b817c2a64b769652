"""``python -m hisopt.experiments.benchmarks.policy_throughput``: agent-steps a second of our IPPO and of BenchMARL's, in one run.

Both train on the same decision process with the same hidden layers, batch, minibatches and epochs: ours on batches of
instances, BenchMARL (TorchRL) on the PettingZoo environment. BenchMARL is no dependency: install it beside hisopt.
"""

from __future__ import annotations

import time
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from typing_extensions import override

from hisopt.commands.common import run_command

if TYPE_CHECKING:
    from hisopt.solvers.policy.ippo import Settings


def ours(settings: Settings, updates: int) -> float:
    """Return the seconds of an update, fresh instances drawn as usual; after one to warm up."""
    from hisopt.solvers.clustering.hac import clustered
    from hisopt.solvers.policy.ippo import Contexts, Trainer

    trainer = Trainer(settings, Contexts(settings, clustered))
    trainer.step()
    start = time.perf_counter()
    for _ in range(updates):
        trainer.step()
    return (time.perf_counter() - start) / updates


def theirs(settings: Settings, updates: int) -> float:
    """Return the seconds of one of BenchMARL's iterations with the same numbers."""
    import torch
    import torchrl.collectors

    if not hasattr(torchrl.collectors, "SyncDataCollector"):  # its name before TorchRL 0.14, which BenchMARL 1.5 uses
        torchrl.collectors.SyncDataCollector = torchrl.collectors.Collector
    from benchmarl.algorithms import IppoConfig
    from benchmarl.environments.pettingzoo.common import PettingZooClass
    from benchmarl.experiment import Experiment, ExperimentConfig
    from benchmarl.models.mlp import MlpConfig
    from torchrl.envs import PettingZooWrapper

    from hisopt.solvers.policy.environment import StepsEnv

    class Task(PettingZooClass):  # type: ignore[misc]
        @override
        def get_env_fun(self, num_envs: int, continuous_actions: bool, seed: int | None, device: Any) -> Any:
            def make() -> Any:
                env = StepsEnv(settings.scenario, settings.reward, settings.observation, decision_points=16)
                return PettingZooWrapper(env, categorical_actions=True, device=device, seed=seed)

            return make

        @override
        def has_render(self, env: Any) -> bool:
            return False

        def __reduce__(self) -> Any:  # BenchMARL pickles its task, and this class is local
            return str, ("steps",)

        def supports_discrete_actions(self) -> bool:
            return True

        def supports_continuous_actions(self) -> bool:
            return False

        def has_state(self) -> bool:
            return False

        @override
        def max_steps(self, env: Any) -> int:
            return 16

    config = ExperimentConfig.get_from_yaml()
    config.loggers, config.evaluation, config.create_json, config.render = [], False, False, False
    config.share_policy_params, config.gamma, config.lr = settings.shared, settings.discount, settings.learning_rate
    config.on_policy_collected_frames_per_batch = settings.batch
    config.on_policy_n_envs_per_worker = 16
    config.on_policy_minibatch_size = settings.batch // settings.minibatches
    config.on_policy_n_minibatch_iters = settings.epochs
    config.prefer_continuous_actions = False
    config.max_n_frames = None
    algorithm = IppoConfig.get_from_yaml()
    algorithm.share_param_critic, algorithm.entropy_coef = settings.shared, settings.entropy
    model = MlpConfig(num_cells=list(settings.hidden), layer_class=torch.nn.Linear, activation_class=torch.nn.Tanh)

    def seconds(iterations: int) -> float:
        config.max_n_iters = iterations
        task = Task(name="STEPS", config={})
        with TemporaryDirectory() as folder:  # for the pickled settings that BenchMARL leaves behind
            config.save_folder = folder
            experiment = Experiment(
                task=task,
                algorithm_config=algorithm,
                model_config=model,
                critic_model_config=model,
                seed=0,
                config=config,
            )
            start = time.perf_counter()
            experiment.run()
            return time.perf_counter() - start

    return (seconds(1 + updates) - seconds(1)) / updates


@click.command()
@click.option("--preset", default="paper", show_default=True)
@click.option("--updates", default=5, show_default=True, help="Timed, after one to warm up.")
@click.option("--threads", default=2, show_default=True)
def command(preset: str, updates: int, threads: int) -> None:
    """Print both rates and their ratio."""
    import torch

    from hisopt.errors import InputError
    from hisopt.solvers.policy.ippo import TUNED, Settings

    for name, value in (("updates", updates), ("threads", threads)):
        if value < 1:
            raise InputError(f"--{name}: is {value}, must be >= 1")
    torch.set_num_threads(threads)
    settings = Settings(**(TUNED | {"preset": preset}))
    steps = settings.batch * settings.scenario.users
    own = steps / ours(settings, updates)
    print(f"hisopt: {own:,.0f} agent-steps a second, training included", flush=True)
    try:
        other = steps / theirs(settings, updates)
    except ModuleNotFoundError as error:
        raise InputError(f"the comparison needs {error.name}, beside hisopt") from None
    print(f"BenchMARL: {other:,.0f} agent-steps a second; ratio {own / other:.1f}")
    print(
        "BenchMARL is fed one environment at a time here and draws new clusters at every decision: no fair comparison."
    )


def main() -> None:
    """Run the command line."""
    run_command(command, "hisopt.experiments.benchmarks.policy_throughput", extra="learn")


if __name__ == "__main__":
    main()
