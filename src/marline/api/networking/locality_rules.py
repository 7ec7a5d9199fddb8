"""What a `localityLbSetting` must fulfil (istio.io, `LocalityLoadBalancerSetting`; Istio's validation)."""

from typing import Final

from marline.api import rules
from marline.api.faults import Faults
from marline.api.networking.destination_rule import Distribute, Failover, LocalityLoadBalancerSetting

_ALL: Final = 100


def locality(settings: LocalityLoadBalancerSetting, faults: Faults) -> None:
    if settings.distribute and (settings.failover or settings.failover_priority):
        faults.add("expected either distribute or failover and failoverPriority, found both")
    _apart([item.from_ for item in settings.distribute], faults.at("distribute"))
    for index, item in enumerate(settings.distribute):
        _distribute(item, faults.at("distribute").item(index))
    rules.named_once([item.from_ for item in settings.failover], faults.at("failover"), "from")
    for index, way in enumerate(settings.failover):
        _failover(way, faults.at("failover").item(index))
    names = [name.partition("=")[0] for name in settings.failover_priority]
    rules.named_once(names, faults.at("failoverPriority"), "label")
    for index, name in enumerate(settings.failover_priority):
        label, _, value = name.partition("=")
        rules.labels({label: value}, faults.at("failoverPriority").item(index))


def _distribute(item: Distribute, faults: Faults) -> None:
    if faults.required(item.from_, "from"):
        _pattern(item.from_, faults.at("from"))
    if not faults.required(item.to, "to"):
        return
    where = faults.at("to")
    _apart(list(item.to), where)
    for name, weight in item.to.items():
        _pattern(name, where.key(name))
        where.key(name).require(0 < weight <= _ALL, f"{weight} is not a weight from 1 to 100")
    total = sum(item.to.values())
    where.require(total == _ALL, f"the weights add up to {total}; expected 100")


def _failover(item: Failover, faults: Faults) -> None:
    for name, region in (("from", item.from_), ("to", item.to)):
        if faults.required(region, name):
            plain = "/" not in region and "*" not in region
            faults.at(name).require(plain, f"{region!r} is not a region's name")
    if item.from_ and item.from_ == item.to:
        faults.at("to").add(f"is the region {item.to!r} itself; expected another one")


def _pattern(text: str, faults: Faults) -> None:
    parts = text.split("/")
    fits = len(parts) <= 3 and all(parts) and "*" not in "".join(parts[:-1])
    ends = parts[-1] == "*" or "*" not in parts[-1]
    faults.require(fits and ends, f"{text!r} is not REGION[/ZONE[/SUBZONE]], of which the last may be '*'")


def _apart(patterns: list[str], faults: Faults) -> None:
    """No two may cover the same locality, since then it would not be clear which counts."""
    for index, pattern in enumerate(patterns):
        for other in patterns[:index]:
            if _overlap(pattern, other):
                faults.add(f"{pattern!r} and {other!r} overlap")


def _overlap(one: str, other: str) -> bool:
    pairs = zip(one.split("/"), other.split("/"), strict=False)
    return all(left == right or "*" in (left, right) for left, right in pairs)
