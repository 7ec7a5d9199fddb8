"""Which proxies are in sync, as `marline proxy-status` shows it."""

import click
import pytest

from marline.cli.exits import Missing
from marline.cli.proxy_status import called, render
from marline.xds.status import PENDING, REJECTED, SYNCED, ProxyStatus, Rejected, TypeStatus

_TYPE = "type.googleapis.com/envoy.config"
CLUSTER, LISTENER = f"{_TYPE}.cluster.v3.Cluster", f"{_TYPE}.listener.v3.Listener"


def proxy(name: str, *types: TypeStatus, rejections: tuple[Rejected, ...] = ()) -> ProxyStatus:
    state = REJECTED if rejections else SYNCED
    return ProxyStatus(
        f"sidecar~default~{name}~vm", "sidecar", "default", name, state, 1000.0, types, rejections
    )


def shown(*proxies: ProxyStatus) -> list[str]:
    return click.unstyle(render(proxies, now=1060.0)).splitlines()


def test_each_type_has_a_column() -> None:
    titles, line = shown(
        proxy("reviews-v1", TypeStatus(CLUSTER, SYNCED, 4, 4), TypeStatus(LISTENER, PENDING, 3, 1))
    )
    assert titles.split()[:8] == ["NAMESPACE", "NAME", "ROLE", "STATE", "CDS", "EDS", "LDS", "RDS"]
    assert "SYNCED 4" in line
    assert "PENDING 1/3" in line
    assert line[titles.index("RDS")] == "-"
    assert "60s" in line


def test_refusals_are_shown_in_envoys_words() -> None:
    refused = Rejected(CLUSTER, "outbound|80||a", "bad lb_policy")
    lines = shown(proxy("a", TypeStatus(CLUSTER, REJECTED, 2, 1), rejections=(refused,)), proxy("b"))
    assert lines[-2:] == ["a refuses the CDS resource outbound|80||a:", "  bad lb_policy"]


def test_a_name_means_itself_before_those_that_begin_so() -> None:
    proxies = (proxy("reviews"), proxy("reviews-v1"), proxy("ratings-v1"))
    assert called("reviews", proxies) == [proxies[0]]
    assert called("re", proxies) == [proxies[0], proxies[1]]
    assert called("ratings-v1.default", proxies) == [proxies[2]]
    assert called(None, proxies) == proxies


def test_an_unknown_name_lists_who_is_connected() -> None:
    with pytest.raises(Missing, match="connected: reviews"):
        called("details", (proxy("reviews"),))
