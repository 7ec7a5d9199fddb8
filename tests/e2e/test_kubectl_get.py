"""`kubectl get`, `describe` and `wait`: what is there, in every form that kubectl can print it."""

import re
from collections.abc import Iterator

import pytest
from kubectl_cluster import Cli
from kubectl_manifests import EVENT, EVERY_KIND

EXPECTED_COLUMNS = {
    "svc": "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE SELECTOR",
    "cm": "NAME DATA AGE",
    "secret": "NAME TYPE DATA AGE",
    "endpointslice": "NAME ADDRESSTYPE PORTS ENDPOINTS AGE",
    "vs": "NAME GATEWAYS HOSTS AGE",
    "dr": "NAME HOST AGE",
    "gateways.networking.istio.io": "NAME AGE SELECTOR",
    "se": "NAME HOSTS LOCATION RESOLUTION AGE",
    "we": "NAME ADDRESS HEALTHY AGE SERVICE ACCOUNT",
    "sidecar": "NAME AGE",
    "pa": "NAME MODE AGE",
    "gc": "NAME CONTROLLER ACCEPTED AGE DESCRIPTION",
    "gateways.gateway.networking.k8s.io": "NAME CLASS ADDRESS PROGRAMMED AGE",
    "httproute": "NAME HOSTNAMES AGE",
    "referencegrant": "NAME AGE",
}


@pytest.fixture(scope="module")
def shop(cli: Cli) -> Iterator[tuple[str, ...]]:
    """The arguments that make kubectl look into a namespace with an object of every kind."""
    cli.kubectl("create", "namespace", "shop")
    cli.kubectl("-n", "shop", "apply", "-f", "-", stdin=EVERY_KIND)
    yield ("-n", "shop")
    cli.kubectl("delete", "namespace", "shop")


@pytest.mark.parametrize("kind", EXPECTED_COLUMNS)
def test_table_has_useful_columns_and_the_age(cli: Cli, shop: tuple[str, ...], kind: str) -> None:
    header, *rows = cli.kubectl(*shop, "get", kind, "-o", "wide").splitlines()
    assert " ".join(header.split()) == EXPECTED_COLUMNS[kind]
    age = header.index("AGE")
    assert rows
    assert all(re.match(r"\d+[sm]", row[age:]) for row in rows), rows


def test_cells_say_what_users_look_for(cli: Cli, shop: tuple[str, ...]) -> None:
    row = cli.kubectl(*shop, "get", "svc", "reviews", "--no-headers").split()
    assert row[:2] == ["reviews", "ClusterIP"]
    assert row[3:5] == ["<none>", "9080/TCP"]
    assert '["reviews"]' in cli.kubectl(*shop, "get", "vs")
    assert "10.0.0.1,10.0.0.2" in cli.kubectl(*shop, "get", "endpointslice")


def test_several_kinds_and_all_namespaces(cli: Cli, shop: tuple[str, ...]) -> None:
    tables = cli.kubectl("get", "vs,dr", "-A").split("\n\n")
    assert [table.split()[0] for table in tables] == ["NAMESPACE", "NAMESPACE"]
    assert "shop        destinationrule.networking.istio.io/reviews" in tables[1]
    assert "reviews" in cli.kubectl(*shop, "get", "all")
    assert "peerauthentication.security.istio.io/strict" in cli.kubectl(*shop, "get", "istio-io")


@pytest.mark.parametrize(
    ("form", "printed"),
    [
        ("name", "virtualservice.networking.istio.io/reviews"),
        ("jsonpath={.spec.http[0].route[0].destination.subset}", "v1"),
        ("custom-columns=N:.metadata.name,H:.spec.hosts[0]", "N         H\nreviews   reviews"),
        ("go-template={{.kind}}", "VirtualService"),
    ],
)
def test_forms_of_output(cli: Cli, shop: tuple[str, ...], form: str, printed: str) -> None:
    assert cli.kubectl(*shop, "get", "vs", "reviews", "-o", form).strip() == printed


def test_yaml_hides_the_owners_of_fields_and_keeps_the_rest(cli: Cli, shop: tuple[str, ...]) -> None:
    text = cli.kubectl(*shop, "get", "dr", "reviews", "-o", "yaml")
    assert "managedFields" not in text
    assert "  host: reviews\n" in text
    older = cli.kubectl(*shop, "get", "virtualservices.v1alpha3.networking.istio.io", "reviews", "-o", "yaml")
    assert older.startswith("apiVersion: networking.istio.io/v1alpha3\n")


def test_selectors_choose_by_label_and_field(cli: Cli, shop: tuple[str, ...]) -> None:
    def names(*arguments: str) -> list[str]:
        return cli.kubectl(*shop, "get", *arguments, "-o", "name").split()

    assert names("svc", "-l", "app in (reviews, ratings),app!=ratings") == ["service/reviews"]
    assert names("svc", "-l", "!app") == []
    assert names("cm", "--field-selector", "metadata.name=settings") == ["configmap/settings"]
    assert names("secret", "--field-selector", "type!=Opaque") == []
    assert "field label not supported: data.color" in cli.refused(
        "get", "cm", "--field-selector=data.color=red"
    )
    assert "unable to parse label selector" in cli.refused("get", "cm", "-l", "((")


def test_long_lists_come_in_chunks(cli: Cli, namespace: str) -> None:
    maps = "---".join(f"\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n}}}\n" for n in range(5))
    cli.kubectl("-n", namespace, "apply", "-f", "-", stdin=maps)
    done = cli.run("kubectl", "-n", namespace, "get", "cm", "-o", "name", "--chunk-size=2", "-v=6")
    assert done.stdout.split() == [f"configmap/c{number}" for number in range(5)]
    assert done.stderr.count("continue=") == 2


def test_watch_prints_what_changes(cli: Cli, namespace: str) -> None:
    watch = ("-n", namespace, "get", "cm", "-w", "--output-watch-events", "--no-headers")
    cli.kubectl("-n", namespace, "create", "cm", "first")
    with cli.watching(*watch) as lines:
        assert next(lines).split()[:2] == ["ADDED", "first"]
        cli.kubectl("-n", namespace, "create", "cm", "second")
        cli.kubectl("-n", namespace, "label", "cm", "first", "a=b")
        cli.kubectl("-n", namespace, "delete", "cm", "second")
        seen = [next(lines).split()[:2] for _ in range(3)]
    assert seen == [["ADDED", "second"], ["MODIFIED", "first"], ["DELETED", "second"]]


def test_wait_for_a_condition_a_value_and_a_deletion(cli: Cli, shop: tuple[str, ...], namespace: str) -> None:
    status = '{"status":{"conditions":[{"type":"Reconciled","status":"True"}]}}'
    cli.kubectl(*shop, "patch", "vs", "reviews", "--subresource=status", "--type=merge", "-p", status)
    assert "met" in cli.kubectl(*shop, "wait", "--for=condition=Reconciled", "vs/reviews", "--timeout=10s")
    assert "met" in cli.kubectl("wait", "--for=jsonpath={.status.phase}=Active", "ns/shop", "--timeout=10s")
    late = ("wait", "--for=condition=Never", "vs/reviews", "--timeout=100ms")
    assert "timed out waiting for the condition" in cli.refused(*shop, *late)
    cli.kubectl("-n", namespace, "create", "cm", "brief")
    with cli.watching("-n", namespace, "wait", "--for=delete", "cm/brief", "--timeout=10s") as lines:
        cli.kubectl("-n", namespace, "delete", "cm", "brief")
        assert list(lines) in ([], ["configmap/brief condition met"])


def test_describe_shows_the_object_and_its_events(cli: Cli, shop: tuple[str, ...]) -> None:
    uid = cli.kubectl(*shop, "get", "vs", "reviews", "-o", "jsonpath={.metadata.uid}")
    cli.kubectl(*shop, "create", "-f", "-", stdin=EVENT.replace("UID", uid))
    text = cli.kubectl(*shop, "describe", "vs", "reviews")
    assert "Host:    reviews" in text
    assert re.search(r"Warning +Rejected .* marline +an Envoy rejected the route", text)
    assert "Endpoints:                10.0.0.1:9080,10.0.0.2:9080" in cli.kubectl(*shop, "describe", "svc")
    assert "password:  7 bytes" in cli.kubectl(*shop, "describe", "secret", "secret")
    assert "hunter2" not in cli.kubectl(*shop, "describe", "secret", "secret")


def test_events_are_listed_by_both_of_their_groups(cli: Cli, shop: tuple[str, ...]) -> None:
    found = EVENT.replace("reviews.1", "reviews.2").replace("UID", "")
    cli.kubectl(*shop, "create", "-f", "-", stdin=found)
    for kind in ("events", "events.events.k8s.io"):
        header, row, *_ = cli.kubectl(*shop, "get", kind, "--field-selector=type=Warning").splitlines()
        assert header.split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
        assert "virtualservice/reviews   an Envoy rejected the route" in row
    assert "Rejected" in cli.kubectl(*shop, "events", "--for=vs/reviews")


def test_what_is_not_there_is_said(cli: Cli, shop: tuple[str, ...]) -> None:
    assert cli.refused(*shop, "get", "cm", "x") == 'Error from server (NotFound): configmaps "x" not found\n'
    found = cli.run("kubectl", *shop, "get", "wg")
    assert (found.returncode, found.stderr) == (0, "No resources found in shop namespace.\n")
    assert 'the server doesn\'t have a resource type "pods"' in cli.refused("get", "pods")
