"""BenchMARL's IPPO on batches of decision points: a vectorised TorchRL environment, its task, and the trainer's settings.

Neither BenchMARL nor TorchRL is a dependency: import this module only where both are installed beside hisopt.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
import torchrl.collectors
from tensordict import TensorDict, TensorDictBase
from torch import Tensor, nn
from torchrl.data import Categorical, Composite, Unbounded
from torchrl.envs import EnvBase
from torchrl.modules import ProbabilisticActor
from typing_extensions import override

if not hasattr(torchrl.collectors, "SyncDataCollector"):  # its name before TorchRL 0.14, which BenchMARL 1.5 uses
    torchrl.collectors.SyncDataCollector = torchrl.collectors.Collector
from benchmarl.algorithms import IppoConfig
from benchmarl.algorithms.ippo import Ippo
from benchmarl.environments.common import TaskClass
from benchmarl.experiment import Callback, Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.experiments.benchmarks.batched_steps import BatchedSteps
    from hisopt.solvers.policy.settings import Settings

GROUP = "agents"


class StepsEnv(EnvBase):  # type: ignore[misc]
    """`BatchedSteps` as an environment of batch size (B,) with one group of N agents; it never ends.

    An end would draw every batch twice, and at a discount of zero nothing depends on it.
    """

    batch_locked = True

    def __init__(self, steps: BatchedSteps) -> None:
        count, users = steps.count, steps.contexts.scenario.users
        super().__init__(device="cpu", batch_size=[count])
        self.steps = steps
        features = steps.draw().shape[2]
        shape = (count, users)

        def of_agents(**entries: Any) -> Composite:
            return Composite({GROUP: Composite(entries, shape=shape)}, shape=(count,))

        self.observation_spec = of_agents(observation=Unbounded((*shape, features), dtype=torch.float32))
        self.action_spec = of_agents(action=Categorical(len(steps.actions), shape=shape, dtype=torch.int64))
        self.reward_spec = of_agents(reward=Unbounded((*shape, 1), dtype=torch.float32))
        self.done_spec = Composite(
            {name: Categorical(2, shape=(count, 1), dtype=torch.bool) for name in ("done", "terminated")},
            shape=(count,),
        )
        self._going_on = torch.zeros(count, 1, dtype=torch.bool)

    def _packed(self, **entries: Tensor) -> TensorDict:
        agents = TensorDict(entries, batch_size=(self.steps.count, self.steps.contexts.scenario.users))
        ends = {name: self._going_on.clone() for name in ("done", "terminated")}
        return TensorDict({GROUP: agents, **ends}, batch_size=(self.steps.count,))

    @override
    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDict:
        return self._packed(observation=self.steps.draw())

    @override
    def _step(self, tensordict: TensorDictBase) -> TensorDict:
        reward, observation = self.steps.step(tensordict[GROUP, "action"])
        return self._packed(observation=observation, reward=reward.unsqueeze(2))

    @override
    def _set_seed(self, seed: int | None) -> None:
        if seed is not None:
            self.steps.generator.manual_seed(seed)


class StepsTask(TaskClass):  # type: ignore[misc]
    """The decision process as a task of BenchMARL; ``make`` returns the process for a number of environments."""

    def __init__(self, make: Callable[[int], BatchedSteps]) -> None:
        super().__init__("steps", {})
        self.make = make

    def __reduce__(self) -> Any:  # BenchMARL pickles its task, which nobody reads back
        return str, ("steps",)

    @override
    def get_env_fun(
        self, num_envs: int, continuous_actions: bool, seed: int | None, device: Any
    ) -> Callable[[], EnvBase]:
        return lambda: StepsEnv(self.make(num_envs))

    @override
    def supports_continuous_actions(self) -> bool:
        return False

    @override
    def supports_discrete_actions(self) -> bool:
        return True

    @override
    def max_steps(self, env: EnvBase) -> int:
        return 1

    @override
    def has_render(self, env: EnvBase) -> bool:
        return False

    @override
    def group_map(self, env: EnvBase) -> dict[str, list[str]]:
        return {GROUP: [f"user_{n}" for n in range(env.steps.contexts.scenario.users)]}

    @override
    def observation_spec(self, env: EnvBase) -> Composite:
        return env.full_observation_spec_unbatched.clone()

    @override
    def action_spec(self, env: EnvBase) -> Composite:
        return env.full_action_spec_unbatched

    @override
    def state_spec(self, env: EnvBase) -> None:
        return None

    @override
    def info_spec(self, env: EnvBase) -> None:
        return None

    @override
    def action_mask_spec(self, env: EnvBase) -> None:
        return None

    @staticmethod
    @override
    def env_name() -> str:
        return "hisopt"


class TwoHeads(torch.distributions.Distribution):
    """Independent categories of x and of y from concatenated logits, as our actor has them; an action is its pair's index."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, logits: Tensor, sizes: tuple[int, int]) -> None:
        super().__init__(logits.shape[:-1], validate_args=False)
        self._last = sizes[1]
        self._heads: list[Any] = [
            torch.distributions.Categorical(logits=head) for head in torch.split(logits, list(sizes), -1)
        ]

    @override
    def sample(self, sample_shape: Any = ()) -> Tensor:
        common, steps_edge = (head.sample(sample_shape) for head in self._heads)
        return torch.add(steps_edge, common, alpha=self._last)

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        return torch.add(self._heads[0].log_prob(value // self._last), self._heads[1].log_prob(value % self._last))

    @override
    def entropy(self) -> Tensor:
        return torch.add(self._heads[0].entropy(), self._heads[1].entropy())

    @property
    @override
    def mode(self) -> Tensor:
        common, steps_edge = (head.mode for head in self._heads)
        return torch.add(steps_edge, common, alpha=self._last)

    deterministic_sample = mode  # TorchRL's name


class TwoHeadedIppo(Ippo):  # type: ignore[misc]
    """BenchMARL's IPPO with an output for every x and every y in place of one for every pair; the rest is BenchMARL's."""

    heads: tuple[int, int]

    @override
    def _get_policy_for_loss(self, group: str, model_config: Any, continuous: bool) -> ProbabilisticActor:
        users = len(self.group_map[group])
        logits = Composite({"logits": Unbounded((users, sum(self.heads)))}, shape=(users,))
        actor = model_config.get_model(
            input_spec=Composite({group: self.observation_spec[group].clone()}),
            output_spec=Composite({group: logits}),
            agent_group=group, input_has_agent_dim=True, n_agents=users, centralised=False,
            share_params=self.experiment_config.share_policy_params, device=self.device, action_spec=self.action_spec,
        )  # fmt: skip
        return ProbabilisticActor(
            actor,
            spec=self.action_spec[group, "action"],
            in_keys=[(group, "logits")],
            out_keys=[(group, "action")],
            distribution_class=TwoHeads,
            distribution_kwargs={"sizes": self.heads},
            return_log_prob=True,
            log_prob_key=(group, "log_prob"),
        )


class TwoHeadedConfig(IppoConfig):  # type: ignore[misc]
    """Settings of `TwoHeadedIppo`."""

    @staticmethod
    @override
    def associated_class() -> type[Ippo]:
        return TwoHeadedIppo


class AfterUpdate(Callback):  # type: ignore[misc]
    """Calls a function after each iteration."""

    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__()
        self.call = call

    def __reduce__(self) -> Any:  # as `StepsTask`
        return str, ("after update",)

    @override
    def on_train_end(self, training_td: TensorDictBase, group: str) -> None:
        self.call()


def run(
    settings: Settings, make: Callable[[int], BatchedSteps], updates: int, on_update: Callable[[], None], *,
    two_heads: bool,
) -> None:  # fmt: skip
    """Train by BenchMARL's IPPO for ``updates`` iterations, one environment a decision point; call back after each.

    Its best form: no logger, evaluation or checkpoint, fused Adam, arguments of distributions not validated, and with
    ``two_heads`` our factored output layer in place of one output for every pair of steps.
    """
    config = ExperimentConfig.get_from_yaml()
    config.loggers, config.evaluation, config.create_json, config.render = [], False, False, False
    config.share_policy_params, config.gamma, config.lr = settings.shared, settings.discount, settings.learning_rate
    config.adam_eps, config.adam_extra_kwargs, config.clip_grad_val = 1e-5, {"fused": True}, 0.5
    config.on_policy_collected_frames_per_batch = config.on_policy_n_envs_per_worker = settings.batch
    config.on_policy_minibatch_size = settings.batch // settings.minibatches
    config.on_policy_n_minibatch_iters = settings.epochs
    config.max_n_frames, config.max_n_iters = None, updates
    algorithm = IppoConfig.get_from_yaml()
    algorithm.share_param_critic, algorithm.entropy_coef = settings.shared, settings.entropy
    algorithm.critic_coef, algorithm.clip_epsilon = settings.value_weight, settings.clip
    algorithm.lmbda = settings.gae_lambda
    if two_heads:
        limits = settings.scenario.steps
        TwoHeadedIppo.heads = limits.common_max + 1, limits.edge_max - limits.edge_min + 1
        if len(limits.pairs()) != TwoHeadedIppo.heads[0] * TwoHeadedIppo.heads[1]:
            raise ValueError("two_heads: some pairs of steps are not allowed")
        algorithm = TwoHeadedConfig(**vars(algorithm))
    model = MlpConfig(num_cells=list(settings.hidden), layer_class=nn.Linear, activation_class=nn.Tanh)

    torch.distributions.Distribution.set_default_validate_args(False)
    with TemporaryDirectory() as folder:  # for the pickled settings that BenchMARL leaves behind
        config.save_folder = folder
        Experiment(
            task=StepsTask(make), algorithm_config=algorithm, model_config=model, critic_model_config=model,
            seed=settings.seed, config=config, callbacks=[AfterUpdate(on_update)],
        ).run()  # fmt: skip
