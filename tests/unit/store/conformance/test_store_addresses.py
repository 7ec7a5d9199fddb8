"""Virtual IPs of Services and ServiceEntries."""

import pytest
from store_objects import service

from marline.api.errors import InvalidResource
from marline.store.interface import ResourceStore


def entry(name: str, *hosts: str, resolution: str = "DNS", **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "hosts": list(hosts),
            "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}],
            "resolution": resolution,
            **spec,
        },
    }


async def test_every_service_has_its_own_address(store: ResourceStore) -> None:
    made = [await store.create(service(f"s{number}")) for number in range(50)]
    addresses = {item.spec.cluster_ip for item in made}
    assert len(addresses) == 50
    assert all(address.startswith("10.96.") for address in addresses)
    assert all(item.spec.cluster_ips == (item.spec.cluster_ip,) for item in made)


async def test_address_survives_updates_and_a_new_life(store: ResourceStore) -> None:
    first = await store.create(service("s"))
    changed = await store.update(service("s", port=81))
    assert changed.spec.cluster_ip == first.spec.cluster_ip
    await store.delete(first.ref)
    assert (await store.create(service("s"))).spec.cluster_ip == first.spec.cluster_ip


async def test_given_address_is_kept_and_not_given_twice(store: ResourceStore) -> None:
    await store.create(service("a", clusterIP="10.96.7.7"))
    with pytest.raises(InvalidResource) as caught:
        await store.create(service("b", clusterIP="10.96.7.7"))
    assert caught.value.errors[0].path == "spec.clusterIP"
    with pytest.raises(InvalidResource):
        await store.create(service("c", clusterIP="192.0.2.1"))


async def test_address_of_a_service_does_not_change(store: ResourceStore) -> None:
    await store.create(service("a", clusterIP="10.96.7.7"))
    with pytest.raises(InvalidResource):
        await store.update(service("a", clusterIP="10.96.7.8"))


async def test_headless_service_has_none(store: ResourceStore) -> None:
    assert (await store.create(service("a", clusterIP="None"))).spec.cluster_ip == "None"


async def test_each_host_of_an_entry_has_an_address_in_its_status(store: ResourceStore) -> None:
    made = await store.create(entry("e", "a.example.com", "b.example.com"))
    found = {item["host"]: item["value"] for item in made.status["addresses"]}
    assert set(found) == {"a.example.com", "b.example.com"}
    assert len(set(found.values())) == 2
    assert all(value.startswith("240.240.") for value in found.values())
    less = await store.update(entry("e", "b.example.com"))
    assert less.status["addresses"] == [{"host": "b.example.com", "value": found["b.example.com"]}]


async def test_status_write_leaves_the_addresses(store: ResourceStore) -> None:
    made = await store.create(entry("e", "a.example.com"))
    written = await store.patch_status(made.ref, {"addresses": None, "conditions": []})
    assert written.status["addresses"] == made.status["addresses"]


@pytest.mark.parametrize(
    "obj",
    [
        entry("e", "a.example.com", resolution="NONE"),
        entry("e", "a.example.com", addresses=["192.0.2.1"]),
        entry("e", "*.example.com", resolution="NONE"),
    ],
)
async def test_entry_that_needs_no_address_gets_none(store: ResourceStore, obj: dict[str, object]) -> None:
    assert "addresses" not in (await store.create(obj)).status
