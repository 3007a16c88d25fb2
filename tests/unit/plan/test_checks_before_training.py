"""What cannot work is refused before anything trains."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.unit import tiny
from wetakd.common.errors import UserError
from wetakd.config.study_file import load_study_file
from wetakd.models.registry import new_model
from wetakd.plan.checks_before_training import check_models
from wetakd.plan.result_keys import cache_key
from wetakd.plan.study_plan import Plan
from wetakd.storage.addresses import logit_cache_address, network_address
from wetakd.storage.atomic_store import Store


def uncountable(num_classes):
    """A network that can be trained, and whose operations cannot be counted."""

    def refuse(*_):
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise NotImplementedError

    module = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
    module.register_forward_pre_hook(refuse)
    return module


@pytest.mark.parametrize("network", ["teacher", "assistants.ta8", "student"])
def test_a_network_whose_cost_cannot_be_determined_is_refused(network, tmp_path):
    config = load_study_file(None, [f"{network}.model={{name: '{__name__}:uncountable'}}"])
    with pytest.raises(UserError, match=rf"^{network}\.model: .* cannot be counted: NotImplementedError"):
        check_models(config, tiny.dataset(), Plan(config, tiny.dataset()), Store(str(tmp_path)))


def test_so_is_an_imported_one(tmp_path):
    data = tiny.dataset()
    model = f"{{name: '{__name__}:uncountable'}}"
    config = load_study_file(None, [f"teacher.model={model}"])
    save_file(new_model(config.teacher.model, data, 0).state_dict(), tmp_path / "teacher.safetensors")
    teacher = f"{{model: {model}, checkpoint: {tmp_path}/teacher.safetensors, trained_on: train}}"
    config = load_study_file(None, [f"teacher={teacher}"])
    with pytest.raises(UserError, match=r"^teacher\.model: .* cannot be counted: NotImplementedError"):
        check_models(config, data, Plan(config, data), Store(str(tmp_path)))


def test_float16_on_a_cpu_is_refused_unless_the_network_is_stored(tmp_path):
    data, store = tiny.dataset(), Store(str(tmp_path))
    config = load_study_file(None, ["assistants.ta6.recipe.precision=float16", "study.replicates=2"])
    plan = Plan(config, data)
    for replicate in range(2):
        node = plan.node_of[replicate, "ta6"]
        for address_of in (
            lambda node: network_address(node.key),
            lambda node: logit_cache_address(cache_key(node, store.find(network_address(node.key)))),
        ):
            with pytest.raises(UserError, match=r"^assistants\.ta6\.recipe\.precision: float16 needs a GPU"):
                check_models(config, data, plan, store)
            store.commit(address_of(node), {}, {})
    check_models(config, data, plan, store)
