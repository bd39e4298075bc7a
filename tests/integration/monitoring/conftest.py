"""For the metrics: a registry with lazyguard's, and a real Prometheus that scrapes it."""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import Server

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "docs/monitoring/alerts.yml"


class Prometheus(Server):
    """A Prometheus that looks at one target five times a second, with rules that wait for nothing."""

    def __init__(self, program: str, directory: Path, target: int) -> None:
        super().__init__(program, str(directory))
        rules = re.sub(r"^( +for:) .*$", r"\1 0s", ALERTS.read_text(), flags=re.MULTILINE)
        (directory / "alerts.yml").write_text(rules)
        config = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": [{"job_name": "shop", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
        }
        (directory / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML too

    def options(self) -> list[str]:
        here = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=error"]
        return [*here, f"--web.listen-address=127.0.0.1:{self.port}"]

    def hello(self) -> tuple[bytes, bytes]:
        return b"GET /-/ready HTTP/1.0\r\n\r\n", b"HTTP/1.0 200"

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def firing(self) -> set[tuple[str, str]]:
        """Return the alerts that fire, each with the service that it is about."""
        alerts = self.ask("alerts")["alerts"]
        return {
            (one["labels"]["alertname"], one["labels"].get("service", "")) for one in alerts if one["state"] == "firing"
        }

    def until(self, condition, limit: float = 40.0) -> None:
        """Ask until what fires is as it should be."""
        ends = time.monotonic() + limit
        while not condition(self.firing()):
            assert time.monotonic() < ends, self.firing()
            time.sleep(0.1)


@pytest.fixture
def prometheus(tmp_path):
    """Return a function that starts a Prometheus for a port; it is killed at the end of the test."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("there is no prometheus here (Debian: the package prometheus)")
    started: list[Prometheus] = []

    def start(target: int) -> Prometheus:
        server = Prometheus(program, tmp_path, target)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.end()
