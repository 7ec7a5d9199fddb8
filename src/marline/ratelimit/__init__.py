"""The rate-limit service that comes with the mesh: Envoy's own protocol, counters in memory or in Redis.

Envoys ask `envoy.service.ratelimit.v3.RateLimitService` at a Unix socket whether a request is one too many.
What it is counted as, and how much of that is allowed, stands in the question; so the service knows nothing
of the mesh, and a change of a policy reaches it with the routes. It is a process of its own, so that
counting and configuring do not wait for one another. Imports nothing else of Marline but the words
of `api.policy.descriptors`.
"""
