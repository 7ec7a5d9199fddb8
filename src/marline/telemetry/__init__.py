"""Traffic as numbers: Envoy's own statistics read, and summed per pair of services.

Prometheus text from Envoy's admin sockets comes in; request counts, success rates and latency
quantiles by source and destination go out. No request passes through here.
"""
