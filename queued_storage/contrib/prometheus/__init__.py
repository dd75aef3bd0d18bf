"""Metrics for Prometheus, by prometheus-client (extra ``prometheus``): ``docs/howto/monitoring.rst`` tells of them.

``"queued_storage.contrib.prometheus"`` in INSTALLED_APPS counts what happens in each process; the catalog's numbers are
read where they are scraped: ``queued_storage.contrib.prometheus.urls``, or ``collector.register()``.
"""
