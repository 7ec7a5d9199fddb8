"""Failover that never happens: without outlier detection no endpoint is ever found to be bad
(istio.io, `LocalityLoadBalancerSetting`)."""

from collections.abc import Iterator

from marline.analyze.findings import FAILOVER_WITHOUT_DETECTION, Finding
from marline.analyze.names import destination_rules
from marline.api.networking.destination_rule import DestinationRuleSpec, LoadBalancerSettings
from marline.compile.policy import effective
from marline.mesh.destinations import DestinationPolicy
from marline.mesh.snapshot import MeshSnapshot


def failover_without_detection(snapshot: MeshSnapshot) -> Iterator[Finding]:
    for item in destination_rules(snapshot):
        for path, subset, port, balancing in _balancing(item.spec):
            wanted = _wanted(balancing)
            if wanted and effective(DestinationPolicy((item,)), port, subset).outliers is None:
                where = f"{path}.loadBalancer.localityLbSetting.{wanted}"
                message = f"there is no outlierDetection for {item.spec.host} by which an endpoint could fail"
                yield Finding(FAILOVER_WITHOUT_DETECTION, item.ref, where, message)


def _wanted(balancing: LoadBalancerSettings) -> str:
    """The field that asks for failover, if one does."""
    settings = balancing.locality_lb_setting
    if settings is None or settings.enabled is False:
        return ""
    if settings.failover_priority:
        return "failoverPriority"
    return "failover" if settings.failover else ""


def _balancing(spec: DestinationRuleSpec) -> Iterator[tuple[str, str, int, LoadBalancerSettings]]:
    """The field, the subset, the port (0: all) and the settings of each `loadBalancer` of a rule."""
    policies = [("spec.trafficPolicy", "", spec.traffic_policy)]
    policies += [
        (f"spec.subsets[{index}].trafficPolicy", subset.name, subset.traffic_policy)
        for index, subset in enumerate(spec.subsets)
    ]
    for path, subset_name, policy in policies:
        if policy is None:
            continue
        if policy.load_balancer is not None:
            yield path, subset_name, 0, policy.load_balancer
        for index, item in enumerate(policy.port_level_settings):
            if item.load_balancer is not None and item.port is not None:
                place = f"{path}.portLevelSettings[{index}]"
                yield place, subset_name, item.port.number, item.load_balancer
