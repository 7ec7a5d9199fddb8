"""Names of services: short forms, wildcards, and which of several is the most specific."""

from collections.abc import Iterator


def possible_hosts(host: str, namespace: str, cluster_domain: str) -> tuple[str, ...]:
    """The FQDNs that a name in a rule may mean, the likeliest first.

    A name without dot is a Service in the rule's namespace, as in Istio. `reviews.default` may be a
    domain of the Internet or a Service; Istio takes the first only, here a Service of that name counts.
    """
    host = host.lower()
    if host.startswith("*"):
        return (host,)
    labels = host.split(".")
    if len(labels) == 1:
        return (f"{host}.{namespace}.svc.{cluster_domain}",)
    if len(labels) == 2:
        return (host, f"{host}.svc.{cluster_domain}")
    if len(labels) == 3 and labels[2] == "svc":
        return (f"{host}.{cluster_domain}", host)
    return (host,)


def host_matches(pattern: str, host: str) -> bool:
    """Does `*`, `*.example.com` or an exact name cover a host? A wildcard covers narrower wildcards."""
    if pattern == "*" or pattern == host:
        return True
    return pattern.startswith("*.") and host.removeprefix("*").endswith(pattern[1:]) and host != pattern[2:]


def patterns_for(host: str) -> Iterator[str]:
    """Every pattern that covers a host, the most specific first: itself, `*.b.c`, `*.c`, `*`."""
    yield host
    rest = host.removeprefix("*.")
    if rest == host:
        _, _, rest = host.partition(".")
    else:
        _, _, rest = rest.partition(".")
    while rest:
        yield f"*.{rest}"
        _, _, rest = rest.partition(".")
    if host != "*":
        yield "*"
