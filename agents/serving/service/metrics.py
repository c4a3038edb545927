"""What the service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.answers = Counter(
            "qr_answers",
            "Answers by who decided and variant",
            ["source", "variant"],
            registry=self.registry,
        )
        self.kept = Counter("qr_kept", "Answers that keep the query", ["source"], registry=self.registry)
        self.fallbacks = Counter(
            "qr_fallbacks", "Answers with the original because something failed or was refused", ["reason"],
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "qr_answer_seconds", "Time for a rewrite, by who decided", ["source"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.requests = Counter(
            "qr_requests", "Requests by path and status", ["path", "status"], registry=self.registry
        )
        self.events = Counter("qr_events", "Recorded lines by kind", ["action"], registry=self.registry)
        self.shadow = Counter(
            "qr_shadow", "Rewrites of a candidate that is not served yet", ["outcome"], registry=self.registry
        )
        self.reloads = Counter("qr_reloads", "Loads of table and model", ["outcome"], registry=self.registry)
        self.waiting = Gauge("qr_queue_depth", "Queries that wait for the worker", ["queue"], registry=self.registry)
        self.cached = Gauge("qr_cache_size", "Rewrites that are remembered", registry=self.registry)
        self.ready = Gauge("qr_ready", "1 when queries are answered", registry=self.registry)
        self.loaded = Info("qr_loaded", "Versions of rewriter and table", registry=self.registry)
        self.stage = Info("qr_experiment", "Stage of the A/B test", registry=self.registry)

    def text(self) -> bytes:
        """All values in Prometheus' text format."""
        return generate_latest(self.registry)
