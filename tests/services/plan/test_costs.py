"""Costs and memory out of datasheets, against what can be reckoned on paper."""

import json

import pytest
from made_plan import config

from contracts.errors import UserError
from services.plan.costs import Load
from services.plan.datasheet import ACCELERATORS, Assumptions, Cluster
from services.plan.memory import memory_of, slots_of
from services.plan.roofline import Roofline
from services.plan.shape import ModelShape, shape_named, shape_of_size
from services.plan.workload import Lengths, ObjectiveWork, Workload

QWEN = {
    "num_hidden_layers": 28,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
}
"""Qwen2.5-7B: 7.62 billion parameters, 6.53 without embeddings, says its model card."""


@pytest.fixture
def qwen(tmp_path) -> ModelShape:
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    return shape_named(str(tmp_path))


def roofline(model: ModelShape, *changes: str, **assumed: float) -> Roofline:
    ideal = {"training_mfu": 1, "prefill_mfu": 1, "decode_bandwidth": 1, "network_bandwidth": 1}
    free = {"engine_step_ms": 0, "sequence_us": 0, "allreduce_us": 0, "collective_us": 0,
            "micro_batch_ms": 0, "broadcast_s": 0, "overlap": 0}  # fmt: skip
    return Roofline(
        model,
        ACCELERATORS["H100"],
        Cluster(),
        Assumptions(**(ideal | free | assumed)),  # type: ignore[arg-type]
        config("model.dtype=bfloat16", *changes),
        slots=1000,
    )


def test_a_config_json_tells_the_size(qwen):
    assert qwen.parameters == pytest.approx(7.62e9, rel=0.01)
    assert qwen.shape.weights == pytest.approx(6.53e9, rel=0.01)
    # 28 layers x 2 x 4 heads x 128 x 2 bytes.
    assert qwen.kv_bytes == 57344


def test_a_size_and_layers_give_a_shape_of_that_size():
    for parameters, layers in ((7e9, 32), (70e9, 80), (1.5e9, 28)):
        shape = shape_of_size(parameters, layers).shape
        both = 2 * shape.vocabulary * shape.hidden
        assert shape.weights + both == pytest.approx(parameters, rel=0.02)


def test_what_is_no_model_is_one_message(tmp_path):
    with pytest.raises(UserError, match=r"no model and no config.json"):
        shape_named("nowhere")
    file = tmp_path / "config.json"
    file.write_text("{}")
    with pytest.raises(UserError, match="Llama-like"):
        shape_named(str(file))


def test_sampling_is_bound_by_memory_until_the_batch_is_large(qwen):
    costs = roofline(qwen)
    weights = 2 * qwen.matrices / 3350e9
    assert costs.decode(1, 0) == pytest.approx(weights)
    assert costs.decode(8, 0) == pytest.approx(weights)
    # A cache of a million tokens is read besides.
    assert costs.decode(8, 1e6) == pytest.approx(weights + 57344e6 / 3350e9)
    # Beyond 989 / 3.35 operations a byte, by operations: 2 a weight and token.
    assert costs.decode(1000, 0) == pytest.approx(2 * qwen.matrices * 1000 / 989e12)
    halves = roofline(qwen, "generators.tensor_parallel=2")
    assert halves.decode(1, 0) == pytest.approx(weights / 2, rel=1e-2)


def test_training_takes_six_operations_a_weight_and_token(qwen):
    costs = roofline(qwen, "learner.token_budget=1000000")
    load = Load()
    load.add(100, [901, 901], shared=True)
    assert (load.tokens, load.predicted) == (1900, 1802)
    # 100 of the prompt see 50.5 on average, 1800 see it and 450.5 of their own.
    assert load.pairs == pytest.approx(100 * 50.5 + 1800 * (100 + 450.5))
    attention = 3 * 4 * 28 * 3584 * load.pairs / 989e12
    optimiser = 32 * qwen.parameters / 3350e9
    expected = 6 * qwen.matrices * 1900 / 989e12 + attention + optimiser
    assert costs.update([load]) == pytest.approx(expected)


def test_a_prompt_that_is_not_shared_is_forwarded_for_each_completion():
    load = Load()
    load.add(100, [11, 21], shared=False)
    assert load.tokens == 200 + 10 + 20


def test_zero_3_sends_three_times_the_weights_a_micro_batch(qwen):
    alone = Load(1000, 0.0, 1000)
    inside = 3 * 2 * (7 / 8 * 2 * qwen.parameters / 450e9)
    outside = 3 * 2 * (15 / 16 * 2 * qwen.parameters / 50e9)

    def talk(ranks: int) -> float:
        costs = roofline(qwen, "learner.token_budget=500", f"learner.ranks={ranks}")
        optimiser = 32 * qwen.parameters / ranks / 3350e9
        return costs.update([alone] * ranks) - optimiser - 6 * qwen.matrices * 1000 / 989e12

    assert talk(8) == pytest.approx(inside)
    assert talk(16) == pytest.approx(outside)


def test_a_broadcast_goes_by_the_slowest_link_and_hardly_grows(qwen):
    costs = roofline(qwen)
    assert costs.broadcast(4) == pytest.approx(2 * qwen.parameters / 450e9)
    assert costs.broadcast(100) == costs.broadcast(1000) == pytest.approx(
        2 * qwen.parameters / 50e9
    )  # fmt: skip


def test_memory_of_a_rank_is_shared_out_over_ranks(qwen):
    gpu, assumed = ACCELERATORS["H100"], Assumptions()

    def rank(count: int, *changes: str) -> float:
        run = config("model.dtype=bfloat16", f"learner.ranks={count}", *changes)
        return memory_of(qwen, gpu, assumed, run).rank

    # Two weights of 2 bytes (weight and gradient) and 12 bytes of optimiser, over the ranks.
    assert rank(1) - rank(8) == pytest.approx(16 * qwen.parameters * 7 / 8 / 1e9)
    assert rank(1) > gpu.memory_gb
    assert rank(8, "learner.gradient_checkpointing=true") < rank(8)
    assert rank(8, "learner.offload_optimizer=true") == pytest.approx(
        rank(8) - 12 * qwen.parameters / 8 / 1e9
    )


def test_an_engines_cache_is_what_its_weights_leave(qwen):
    run = config("model.dtype=bfloat16", "sampling.max_tokens=100")
    work = ObjectiveWork(prompt=500, completion=Lengths(mean=1000))
    memory = memory_of(qwen, ACCELERATORS["H100"], Assumptions(), run)
    assert memory.generator + memory.cache == pytest.approx(80 * 0.85)
    slots = slots_of(qwen, memory, run, Workload(solve=work))
    assert slots == int(memory.cache * 1e9 / (57344 * 1000))
    tiny_gpu = ACCELERATORS["H100"].model_copy(update={"memory_gb": 12.0})
    none = memory_of(qwen, tiny_gpu, Assumptions(), run)
    assert none.cache < 0
    assert not none.fits(shared=False)
    assert slots_of(qwen, none, run, Workload(solve=work)) == 0


def test_lengths_have_the_mean_and_spread_that_were_asked_for():
    import numpy as np

    drawn = Lengths(mean=500, spread=0.5).draw(np.random.default_rng(0), 20_000, 100_000)
    assert np.mean(drawn) == pytest.approx(500, rel=0.02)
    assert np.std(drawn) == pytest.approx(250, rel=0.05)
    assert max(Lengths(mean=500).draw(np.random.default_rng(0), 1000, 600)) == 600
    measured = Lengths(quantiles=(10, 20, 40)).draw(np.random.default_rng(0), 5000, 100)
    assert np.median(measured) == pytest.approx(20, abs=1)
    assert (min(measured), max(measured)) == (10, 40)
