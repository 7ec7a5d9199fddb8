"""`kubectl delete`: finalizers, owners, namespaces, and waiting until things are gone."""

from kubectl_cluster import Cli
from kubectl_manifests import EVERY_KIND, REVIEWS

DEPENDENT = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: dependent
  finalizers: {finalizers}
  ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: owner, uid: "{uid}", blockOwnerDeletion: true}}]
"""


def owned(cli: Cli, namespace: str, finalizers: str = "[]") -> None:
    """Make an owner and its dependent."""
    cli.kubectl("-n", namespace, "create", "cm", "owner")
    uid = cli.json("-n", namespace, "get", "cm", "owner")["metadata"]["uid"]
    dependent = DEPENDENT.format(uid=uid, finalizers=finalizers)
    cli.kubectl("-n", namespace, "create", "-f", "-", stdin=dependent)


def names(cli: Cli, namespace: str) -> list[str]:
    return cli.kubectl("-n", namespace, "get", "cm", "-o", "name").split()


def release(cli: Cli, namespace: str, name: str) -> None:
    patch = '{"metadata":{"finalizers":null}}'
    cli.kubectl("-n", namespace, "patch", "cm", name, "--type=merge", "-p", patch)


def test_files_selectors_and_all(cli: Cli, namespace: str) -> None:
    delete = ("-n", namespace, "delete")
    cli.kubectl("-n", namespace, "apply", "-f", "-", stdin=REVIEWS)
    assert cli.kubectl(*delete, "vs", "-l", "app=reviews").startswith("virtualservice.networking.istio.io")
    cli.kubectl(*delete, "svc,dr", "--all")
    assert cli.refused(*delete, "-f", "-", stdin=REVIEWS).count("NotFound") == 3
    assert cli.kubectl(*delete, "-f", "-", "--ignore-not-found", stdin=REVIEWS) == ""


def test_finalizer_holds_an_object_until_it_is_lifted(cli: Cli, namespace: str) -> None:
    held = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [example.com/hold]}\n"
    cli.kubectl("-n", namespace, "create", "-f", "-", stdin=held)
    late = cli.refused("-n", namespace, "delete", "cm", "held", "--timeout=200ms")
    assert "timed out waiting for the condition on configmaps/held" in late
    assert "deletionTimestamp" in cli.json("-n", namespace, "get", "cm", "held")["metadata"]
    with cli.watching("-n", namespace, "delete", "cm", "held") as lines:
        assert next(lines).startswith('configmap "held" deleted')
        release(cli, namespace, "held")
        assert list(lines) == []
    assert names(cli, namespace) == []


def test_dependents_go_with_their_owner(cli: Cli, namespace: str) -> None:
    for cascade in ("background", "foreground"):
        owned(cli, namespace)
        cli.kubectl("-n", namespace, "delete", "cm", "owner", f"--cascade={cascade}")
        assert names(cli, namespace) == []


def test_orphans_stay_without_their_owner(cli: Cli, namespace: str) -> None:
    owned(cli, namespace)
    cli.kubectl("-n", namespace, "delete", "cm", "owner", "--cascade=orphan")
    assert names(cli, namespace) == ["configmap/dependent"]
    assert "ownerReferences" not in cli.json("-n", namespace, "get", "cm", "dependent")["metadata"]


def test_owner_deleted_in_the_foreground_waits_for_its_dependents(cli: Cli, namespace: str) -> None:
    owned(cli, namespace, finalizers="[example.com/hold]")
    delete = ("-n", namespace, "delete", "cm", "owner", "--cascade=foreground")
    cli.kubectl(*delete, "--wait=false")
    assert names(cli, namespace) == ["configmap/dependent", "configmap/owner"]
    release(cli, namespace, "dependent")
    assert names(cli, namespace) == []


def test_namespace_takes_everything_in_it_along(cli: Cli) -> None:
    cli.kubectl("create", "namespace", "doomed")
    cli.kubectl("-n", "doomed", "apply", "-f", "-", stdin=EVERY_KIND)
    cli.kubectl("delete", "namespace", "doomed")
    assert "not found" in cli.refused("get", "namespace", "doomed")
    cli.kubectl("create", "namespace", "doomed")
    assert cli.kubectl("-n", "doomed", "get", "all,istio-io,gateway-api,cm,secret", "-o", "name").split() == [
        "gatewayclass.gateway.networking.k8s.io/marline"
    ]
    cli.kubectl("delete", "namespace/doomed", "gatewayclass/marline")


def test_namespace_waits_for_what_is_held_and_takes_nothing_new(cli: Cli) -> None:
    cli.kubectl("create", "namespace", "slow")
    held = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [example.com/hold]}\n"
    cli.kubectl("-n", "slow", "create", "-f", "-", stdin=held)
    cli.kubectl("delete", "namespace", "slow", "--wait=false")
    assert "Terminating" in cli.kubectl("get", "namespace", "slow")
    assert "because it is being terminated" in cli.refused("-n", "slow", "create", "cm", "new")
    release(cli, "slow", "held")
    assert "not found" in cli.refused("get", "namespace", "slow")


def test_namespaces_that_the_mesh_needs_stay(cli: Cli) -> None:
    assert "this namespace may not be deleted" in cli.refused("delete", "namespace", "default")
