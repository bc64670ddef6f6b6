// Checks the PodMonitor on stdin by the schema of the Prometheus operator.
import fs from "node:fs";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

new PodMonitor(JSON.parse(fs.readFileSync(0, "utf8"))).validate();
