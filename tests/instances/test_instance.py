from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import ValidationError

from hisopt import PRESETS, Instance, Scenario
from hisopt.errors import InputError
from hisopt.instances import StepLimits
from hisopt.instances.files import load, save
from hisopt.problems import Clustering, Joint

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("preset", ["small", "paper", "icc"])
def test_an_instance_survives_a_file(preset: str, tmp_path: Path) -> None:
    instance = PRESETS[preset].sample(3)
    save(instance, tmp_path / "instance.json")
    again = load(tmp_path / "instance.json")
    assert again == instance
    assert again.content_hash == instance.content_hash
    assert again.prompts == instance.prompts


def test_large_instances_keep_their_users_in_parquet(tmp_path: Path) -> None:
    instance = PRESETS["large"].replace(users=20_000).sample(0)
    save(instance, tmp_path / "large.json")
    assert (tmp_path / "large.json").stat().st_size < 10_000
    assert (tmp_path / "large.parquet").exists()
    assert load(tmp_path / "large.json") == instance
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.json", "large.parquet"]


def test_the_same_seed_gives_the_same_instance() -> None:
    scenario = PRESETS["paper"]
    assert scenario.sample(7) == scenario.sample(7)
    assert scenario.sample(7) != scenario.sample(8)


def test_the_paper_preset_is_table_2() -> None:
    instance = PRESETS["paper"].sample(0)
    assert isinstance(instance, Instance)
    assert (instance.users, instance.max_clusters) == (50, 3)
    assert 1026 <= instance.edge.sms <= 1674
    assert ((instance.devices.sms >= 64) & (instance.devices.sms <= 84)).all()
    assert instance.steps == StepLimits(total=28, common_max=16, edge_min=0, edge_max=11, device_min=1, device_max=28)
    assert (instance.edge.frequency_hz, instance.devices.frequency_hz) == (1410e6, 1860e6)


def test_data_are_frozen_and_replace_gives_a_checked_copy(small: Instance) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        small.users = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        small.devices.sms[0] = 1.0
    richer = small.replace(weights=small.weights.replace(delay=0.5))
    assert richer.weights.delay == 0.5
    assert small.weights.delay != 0.5
    assert richer.content_hash != small.content_hash
    with pytest.raises(ValidationError, match="exceeds users"):
        small.replace(max_clusters=11)


def test_callers_arrays_stay_the_callers(small: Instance) -> None:
    labels = np.zeros(small.users, dtype=np.int64)
    instance = small.replace(clusters=labels)
    labels[0] = 2
    assert instance.clusters is not None
    assert instance.clusters[0] == 0


BAD: list[tuple[dict[str, Any], str]] = [
    ({"users": 0}, "users: input should be greater than or equal to 1, is 0"),
    ({"max_clusters": 11}, "max_clusters 11 exceeds users 10"),
    ({"foo": 1}, "foo: unknown field"),
    ({"edge": None}, "edge: "),
    ({"flop_edge": float("nan")}, "flop_edge: input should be a finite number"),
    ({"edge.frequency_hz": -1.0}, r"edge.frequency_hz: is -1.0, must be > 0"),
    ({"edge.sms": [1.0] * 10}, "edge.sms: must be one number"),
    ({"devices.sms": [1.0] * 3}, "devices.sms: 3 values for 10 users"),
    ({"devices.sms": [1.0] * 9 + ["x"]}, "devices.sms: must be a number or a regular array"),
    ({"devices.sms": [1.0] * 9 + [float("nan")]}, r"devices.sms: element \[9\] is nan, must be finite"),
    ({"radio.gain": 0.0}, "radio.gain: is 0.0, must be > 0"),
    ({"embeddings": [[1.0, 0.0]] * 9}, r"embeddings: shape \(9, 2\)"),
    ({"embeddings": [[1.0, 1.0]] * 10}, "embeddings: row 0 has norm"),
    ({"embeddings": [[1.0], [1.0, 0.0]] * 5}, "embeddings: must be a number or a regular array"),
    ({"clusters": [0.5] * 10}, r"clusters: element \[0\] is 0.5, must be an integer"),
    ({"clusters": [7] * 10}, "clusters: label 7"),
    ({"similarity": [1.5] * 10}, r"similarity: element \[0\] is 1.5, must be <= 1"),
    ({"steps.total": 100}, "total 100 cannot be reached"),
    ({"steps.edge_min": 12}, "edge_min 12 exceeds edge_max 11"),
    ({"cluster_size_max": 2}, "3 clusters of at most 2 users cannot hold 10 users"),
    ({"cluster_size_min": 5, "cluster_size_max": 4}, "cluster_size_max 4 is below"),
    ({"given_common": [99] * 10}, r"given_common: user 0 has 99, must be in 0 .. 16"),
    ({"prompts": ["a"]}, "prompts: 1 prompts for 10 users"),
    ({"schema_version": 2}, "schema_version: is 2, this release reads 1"),
    ({"model": "other"}, "model: is 'other'"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[str(next(iter(c))) + str(i) for i, (c, _) in enumerate(BAD)])
def test_bad_fields_are_named_with_the_file(
    changes: dict[str, Any], message: str, small: Instance, tmp_path: Path
) -> None:
    file = tmp_path / "bad.json"
    save(small, file)
    document = json.loads(file.read_text())
    for path, value in changes.items():
        *parents, field = path.split(".")
        place = document
        for parent in parents:
            place = place[parent]
        place[field] = value
    file.write_text(json.dumps(document))
    with pytest.raises(InputError, match=message) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "nonsense", "[" * 100_000])
def test_files_that_are_no_instance(text: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"bad\.json: (not JSON|must be a JSON object)"):
        load(file)
    with pytest.raises(InputError, match="No such file"):
        load(tmp_path / "missing.json")


@pytest.mark.parametrize("changes", [{"users": 0}, {"users": 3, "max_clusters": 4}, {"users": 241}])
def test_scenarios_that_cannot_be_sampled(changes: dict[str, int]) -> None:
    with pytest.raises(InputError):
        PRESETS["paper"].replace(**changes).sample(0)


def test_a_scenario_fills_its_users_from_more_subjects_when_it_must() -> None:
    instance = Scenario("wide", users=240, max_clusters=12, subjects=1).sample(0)
    assert instance.prompts is not None
    assert len(set(instance.prompts)) == 240


@pytest.mark.parametrize("binds", [(1, 28), (0, 9), (12, 20)])
def test_middle_steps_are_feasible(binds: tuple[int, int]) -> None:
    limits = StepLimits(device_min=binds[0], device_max=binds[1])
    common, steps_edge = limits.middle()
    assert 0 <= common <= limits.common_max
    assert limits.edge_min <= steps_edge <= limits.edge_max
    assert limits.device_min <= limits.total - common - steps_edge <= limits.device_max


def test_problems_name_the_field_they_lack(small: Instance) -> None:
    with pytest.raises(InputError, match="clusters: missing"):
        Joint(small.replace(clusters=None))
    with pytest.raises(InputError, match="embeddings: missing"):
        Clustering.of(small.replace(embeddings=None), "mean")
