"""Writes all dashboards."""

from configs.grafana.generate import DASHBOARDS, dashboards

for name, text in dashboards().items():
    (DASHBOARDS / name).write_text(text)
    print(DASHBOARDS / name)
