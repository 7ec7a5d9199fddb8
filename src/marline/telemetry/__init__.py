"""Traffic as numbers: Envoy's own statistics read, and summed per pair of services.

Prometheus text from Envoy's admin sockets comes in, through callables that the caller supplies; request
counts, success rates, latency quantiles and verified identities by source and destination go out.
`prometheus` parses, `histogram` and `traffic` compute, all pure; `reading` asks. No request passes
through here.
"""
