"""`make soak`: the examples under load for minutes or hours, while their servers fail by a seeded schedule.

    python -m tests.benchmarks.soak [flask] [django] [fastapi] [--minutes M] [--seed N] [--harsh] [--json FILE]

Each example has its own servers, ports and client, in a process of its own; all of them run side by side. A run has
four parts: all servers well (`CALM`), so that the workers are warm; failures; all well again for as long as the slowest
recovery may take; all well (`CALM`). What is promised, and how it is judged, stands in `promises`.

Files: `examples` (what is served, and what it needs), `served` (runs in each worker), `faults` (the schedule), `seen`
(client and samples), `promises` (the verdict), `page` (its section of docs/benchmarks.md and the plots).
"""
