"""Where does the time go, and what does a step cost?"""

from __future__ import annotations

from services.dashboards.panels import CHOSEN_TARGET, Dashboard, Panel, Query, chosen, rate

_SPEED = (
    Panel(
        "Completion tokens per second",
        "Level, or rising as answers get shorter; compare with the same model's other runs.",
        (Query(chosen("generated_tokens_per_second")),),
        unit="cps",
        kind="figure",
        width=4,
    ),
    Panel(
        "Steps per hour",
        "Level: a run that slows down is waiting for something.",
        (Query(f"3600 / ({chosen('step_seconds')} > 0)"),),
        kind="figure",
        width=4,
    ),
    Panel(
        "Hours left",
        "Falls by one hour an hour.",
        (
            Query(
                f"({chosen('planned_steps')} - {chosen('step')}) * {chosen('step_seconds')} / 3600"
            ),
        ),
        unit="h",
        kind="figure",
        width=4,
    ),
    Panel(
        "Tokens sampled",
        "Rises steadily: what the run has cost in tokens so far.",
        (Query(chosen("completion_tokens")),),
        kind="figure",
        width=4,
    ),
    Panel(
        "Hours trained",
        "Rises as the clock does; work that was done again counts again.",
        (Query(f"{chosen('steps_seconds')} / 3600"),),
        unit="h",
        kind="figure",
        width=4,
    ),
    Panel(
        "Tokens trained per token sampled",
        "Close to 1 where most groups have signal; the rest was sampled for nothing.",
        (
            Query(
                f"sum by (run) ({chosen('trained_tokens')})"
                f" / sum by (run) ({chosen('completion_tokens')})"
            ),
        ),
        unit="percentunit",
        kind="figure",
        width=4,
    ),
    Panel(
        "Tokens per second",
        "Sampled and trained tokens keep pace with each other.",
        (
            Query(f"sum by (run) ({rate('completion_tokens')})", "{{run}} sampled"),
            Query(f"sum by (run) ({rate('prompt_tokens')})", "{{run}} prompts"),
            Query(f"sum by (run) ({rate('trained_tokens')})", "{{run}} trained"),
        ),
        unit="cps",
        low=0,
    ),
    Panel(
        "Seconds of a step by phase",
        "Generation and update make up nearly all of it; broadcast and checks are a sliver.",
        (Query(chosen("step_phase_seconds"), "{{run}} {{phase}}"),),
        unit="s",
        kind="stacked",
        low=0,
    ),
    Panel(
        "Share of time by phase",
        "Level shares. Above 100 % in all: phases overlap, as they should with max_staleness.",
        (
            Query(
                f"sum by (run, phase) ({rate('phase_seconds')})"
                f" / ignoring (phase) group_left sum by (run) ({rate('steps_seconds')})",
                "{{run}} {{phase}}",
            ),
        ),
        unit="percentunit",
        kind="stacked",
        low=0,
    ),
)

_OVERLAP = (
    Panel(
        "Idle shares",
        "Near 0 for whichever costs more. Both high: something else holds the run up.",
        (Query(chosen("idle_ratio"), "{{run}} {{role}}"),),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Age of trained tokens",
        "The most stays at or below max_staleness, the mean well below it.",
        (
            Query(chosen("staleness_mean_versions"), "{{run}} mean"),
            Query(chosen("staleness_max_versions"), "{{run}} most"),
            Query(chosen("staleness_limit_versions"), "{{run}} limit"),
        ),
        low=0,
    ),
    Panel(
        "Batches waiting for the learner",
        "Between 0 and max_staleness; always at the top, and the learner is the slower side.",
        (Query(chosen("queued_batches")),),
        low=0,
    ),
    Panel(
        "Seconds of a broadcast by phase",
        "Transfer makes up most of it; start grows where engines are slow to stop sampling.",
        (Query(chosen("sync_phase_seconds"), "{{run}} {{phase}}"),),
        unit="s",
        kind="stacked",
        low=0,
    ),
    Panel(
        "Broadcast bandwidth",
        "Near what the network gives between learner and generators.",
        (
            Query(
                f"{chosen('sync_bytes')} / ignoring (phase)"
                f" {chosen('sync_phase_seconds', phase='transfer')}"
            ),
        ),
        unit="Bps",
        low=0,
    ),
    Panel(
        "Seconds of a checkpoint",
        "A small part of the time between two of them, and of the grace at a stop.",
        (Query(chosen("checkpoint_seconds")),),
        unit="s",
        low=0,
    ),
)


def _ray(name: str) -> str:
    """A metric of Ray's agents, which know of no run."""
    return f"ray_{name}{{{CHOSEN_TARGET}}}"


_HITS, _LOOKED_UP = (
    f"sum by (cluster) (rate({_ray(f'vllm_prefix_cache_{name}_total')}[$__rate_interval]))"
    for name in ("hits", "queries")
)

_MACHINES = (
    Panel(
        "Sequences in the engines",
        "High while generating. Waiting ones mean the key-value cache or max_sequences is full.",
        (
            Query(f"sum by (cluster) ({_ray('vllm_num_requests_running')})", "running"),
            Query(f"sum by (cluster) ({_ray('vllm_num_requests_waiting')})", "waiting"),
        ),
        low=0,
    ),
    Panel(
        "Tokens in the engines",
        "High plateaus while generating, gaps while the learner has the floor.",
        (
            Query(
                "sum by (cluster) "
                f"(rate({_ray('vllm_generation_tokens_total')}[$__rate_interval]))",
                "sampled",
            ),
            Query(
                f"sum by (cluster) (rate({_ray('vllm_prompt_tokens_total')}[$__rate_interval]))",
                "prompts",
            ),
        ),
        unit="cps",
        low=0,
    ),
    Panel(
        "Key-value cache in use",
        "Below 100 %: a full cache preempts sequences and samples them again.",
        (Query(f"max by (cluster) ({_ray('vllm_kv_cache_usage_perc')})", "fullest engine"),),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Prompt tokens found in the cache",
        "High: the completions of a group share their prompt.",
        (
            # There is no counter of hits before the first: short prompts have none.
            Query(f"({_HITS} or {_LOOKED_UP} * 0) / {_LOOKED_UP}", "hits"),
        ),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "GPU utilisation",
        "Generators' GPUs busy while generating, learners' while training; never all idle.",
        (Query(_ray("node_gpus_utilization"), "{{ip}} GPU {{GpuIndex}}"),),
        unit="percent",
        low=0,
        high=100,
        needs="gpu",
    ),
    Panel(
        "GPU memory",
        "Level after the first steps, with room to the top.",
        (Query(f"{_ray('node_gram_used')} * 1048576", "{{ip}} GPU {{GpuIndex}}"),),
        unit="bytes",
        low=0,
        needs="gpu",
    ),
    Panel(
        "CPU of the nodes",
        "The head has room to spare: the driver must not wait for a core.",
        (Query(_ray("node_cpu_utilization"), "{{ip}}"),),
        unit="percent",
        low=0,
    ),
    Panel(
        "Memory of the nodes",
        "Level: what grows with every step ends in the kernel killing an actor.",
        (Query(f"{_ray('node_mem_used')} / {_ray('node_mem_total')}", "{{ip}}"),),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Network of the nodes",
        "Peaks at each broadcast, quiet in between.",
        (Query(_ray("node_network_send_speed"), "{{ip}}"),),
        unit="Bps",
        low=0,
    ),
)

THROUGHPUT = Dashboard(
    uid="coevolve-throughput",
    title="Coevolve: throughput and cost",
    description="Where does the time go?",
    rows={
        "How fast is it?": _SPEED,
        "Does generation overlap with training?": _OVERLAP,
        "What do engines and machines do?": _MACHINES,
    },
)
