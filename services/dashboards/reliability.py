"""Is it alive, what failed, and how much would be lost?"""

from __future__ import annotations

from services.dashboards.panels import CHOSEN_TARGET, Dashboard, Panel, Query, chosen

_ALIVE = (
    Panel(
        "Alerts",
        "None. What each means and what to do: docs/runbook.md.",
        (
            Query(
                f'count(ALERTS{{alertname=~"Coevolve.*",alertstate="firing",{CHOSEN_TARGET}}})'
                " or vector(0)",
                "firing",
            ),
        ),
        kind="figure",
        red_above=1,
        width=4,
    ),
    Panel(
        "Since anything ended",
        "Below the time of a step: a step, an evaluation, a broadcast or a checkpoint just ended.",
        (Query(f"time() - {chosen('progress_timestamp_seconds')}"),),
        unit="s",
        kind="figure",
        width=4,
    ),
    Panel(
        "What the run does",
        "Generating and training in turns or at once, never one of the others for long.",
        (Query(f"{chosen('activity')} == 1", "{{run}} {{activity}}"),),
        kind="states",
        width=16,
    ),
    Panel(
        "Steps and weight versions",
        "Both rise together; the version is the step, or twice that in the paper's order.",
        (
            Query(chosen("step"), "{{run}} step"),
            Query(chosen("weight_version"), "{{run}} version"),
        ),
        low=0,
    ),
    Panel(
        "Generators",
        "As many sample as are planned; fewer are what is left after a machine was lost.",
        (
            Query(chosen("sync_generators"), "{{run}} sample"),
            Query(chosen("planned_generators"), "{{run}} planned"),
        ),
        low=0,
    ),
    Panel(
        "Scrape targets up",
        "All that there are.",
        (Query(f"sum by (cluster, job) (up{{{CHOSEN_TARGET}}})", "{{cluster}} {{job}}"),),
        low=0,
    ),
)

_FAULTS = (
    Panel(
        "Faults that were mended",
        "None, or a few far apart. Which actor and why: faults.jsonl of the run folder.",
        (
            Query(
                f"sum by (run, kind) (increase({chosen('faults')}[$__rate_interval]))",
                "{{run}} {{kind}}",
            ),
        ),
        low=0,
    ),
    Panel(
        "Deadlines that passed",
        "None: an actor that answers late is hung, or the machine is too slow for the deadline.",
        (
            Query(
                f"sum by (run, kind) (increase({chosen('timeouts')}[$__rate_interval]))",
                "{{run}} {{kind}}",
            ),
        ),
        low=0,
    ),
    Panel(
        "Restart budget used up",
        "Far below 100 %, where the run is ended or goes back to its last checkpoint.",
        (Query(chosen("restart_budget_used_ratio"), "{{run}} {{kind}}"),),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "What guards did",
        "None: each is one of the four ways that training goes wrong.",
        (
            Query(
                f"sum by (run, guard) (increase({chosen('guard_actions')}[$__rate_interval]))",
                "{{run}} {{guard}}",
            ),
        ),
        low=0,
    ),
    Panel(
        "Graders that were killed",
        "None, or a completion in ten thousand: an answer that took the verifier too long.",
        (
            Query(
                f"sum by (run) (increase({chosen('grades', reason='timeout')}[$__rate_interval]))",
                "{{run}} timeout",
            ),
            Query(
                f"sum by (run) (increase({chosen('grades', reason='error')}[$__rate_interval]))",
                "{{run}} error",
            ),
        ),
        low=0,
    ),
    Panel(
        "Groups too old to be trained on",
        "Next to none: with max_staleness, batches are begun only when they can be young enough.",
        (
            Query(
                "sum by (run, objective) (increase("
                f"{chosen('groups_dropped', reason='stale')}[$__rate_interval]))",
                "{{run}} {{objective}}",
            ),
        ),
        low=0,
    ),
)

_CHECKPOINTS = (
    Panel(
        "Age of the last checkpoint",
        "A saw-tooth below checkpoints.every times the seconds of a step.",
        (Query(f"time() - {chosen('checkpoint_timestamp_seconds')}"),),
        unit="s",
        low=0,
    ),
    Panel(
        "Steps that a crash would cost",
        "Below checkpoints.every.",
        (
            Query(f"{chosen('step')} - {chosen('checkpoint_step')}", "{{run}} lost"),
            Query(chosen("checkpoint_interval_steps"), "{{run}} every"),
        ),
        low=0,
    ),
    Panel(
        "Checkpoints written",
        "One more after every checkpoints.every steps.",
        (Query(chosen("checkpoints")),),
        low=0,
    ),
)

_CLUSTER = (
    Panel(
        "Nodes of the Ray cluster",
        "As many as were asked for.",
        (
            Query(
                f"sum by (node_type) (ray_cluster_active_nodes{{{CHOSEN_TARGET}}})", "{{node_type}}"
            ),
        ),
        low=0,
        needs="cluster",
    ),
    Panel(
        "Nodes that failed",
        "None.",
        (
            Query(
                f"sum by (node_type) (ray_cluster_failed_nodes{{{CHOSEN_TARGET}}})", "{{node_type}}"
            ),
        ),
        low=0,
        needs="cluster",
    ),
    Panel(
        "Disk of the nodes",
        "Room to spare: a full disk ends a checkpoint half-way, and the run with it.",
        (Query(f"ray_node_disk_utilization_percentage{{{CHOSEN_TARGET}}}", "{{ip}}"),),
        unit="percent",
        low=0,
        high=100,
    ),
)

RELIABILITY = Dashboard(
    uid="coevolve-reliability",
    title="Coevolve: reliability",
    description="Is it alive, what failed, and how much would be lost?",
    rows={
        "Is it alive?": _ALIVE,
        "What failed?": _FAULTS,
        "What would a crash cost?": _CHECKPOINTS,
        "Are the machines there?": _CLUSTER,
    },
)
