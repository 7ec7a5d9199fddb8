"""`kubectl apply`, `diff`, `replace`: files become objects, on the client's side or the server's."""

import json

from kubectl_cluster import Cli
from kubectl_manifests import REVIEWS, SETTINGS

SERVER_SIDE = ("apply", "--server-side", "-f", "-")


def test_apply_creates_and_then_changes_only_what_differs(cli: Cli, namespace: str) -> None:
    apply = ("-n", namespace, "apply", "-f", "-")
    created = cli.kubectl(*apply, stdin=REVIEWS).splitlines()
    assert created == [
        "service/reviews created",
        "virtualservice.networking.istio.io/reviews created",
        "destinationrule.networking.istio.io/reviews created",
    ]
    assert cli.kubectl(*apply, stdin=REVIEWS).count("unchanged") == 3
    changed = cli.kubectl(*apply, stdin=REVIEWS.replace("subset: v1", "subset: v2"))
    assert "virtualservice.networking.istio.io/reviews configured" in changed
    assert changed.count("unchanged") == 2
    route = cli.json("-n", namespace, "get", "vs", "reviews")
    assert route["apiVersion"] == "networking.istio.io/v1"
    assert route["metadata"]["generation"] == 2
    assert route["spec"]["http"][0]["route"][0]["destination"]["subset"] == "v2"


def test_client_side_apply_removes_a_field_that_the_file_no_longer_has(cli: Cli, namespace: str) -> None:
    apply = ("-n", namespace, "apply", "-f", "-")
    cli.kubectl(*apply, stdin=SETTINGS)
    cli.kubectl("-n", namespace, "patch", "cm", "settings", "-p", '{"data":{"other":"kept"}}')
    cli.kubectl(*apply, stdin=SETTINGS.replace(", size: small", ""))
    assert cli.json("-n", namespace, "get", "cm", "settings")["data"] == {"color": "red", "other": "kept"}
    assert "size" not in cli.kubectl("-n", namespace, "apply", "view-last-applied", "cm", "settings")


def test_what_has_no_effect_is_taken_with_a_warning(cli: Cli, namespace: str) -> None:
    service = """
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: LoadBalancer, ports: [{port: 80}]}}
"""
    for form in (("apply",), ("apply", "--server-side"), ("replace",)):
        done = cli.run("kubectl", "-n", namespace, *form, "-f", "-", stdin=service)
        assert done.returncode == 0, done.stderr
        assert "Warning: spec.type: LoadBalancer has no effect" in done.stderr
    assert "Warning" not in cli.run("kubectl", "-n", namespace, "get", "service", "web").stderr


def test_server_side_apply_names_the_manager_that_owns_a_field(cli: Cli, namespace: str) -> None:
    apply = ("-n", namespace, *SERVER_SIDE)
    assert cli.kubectl(*apply, stdin=SETTINGS) == "configmap/settings serverside-applied\n"
    blue = SETTINGS.replace("red", "blue")
    complaint = cli.refused(*apply, "--field-manager=robot", stdin=blue)
    assert 'Apply failed with 1 conflict: conflict with "kubectl" using v1: .data.color' in complaint
    cli.kubectl(*apply, "--field-manager=robot", "--force-conflicts", stdin=blue)
    found = cli.json("-n", namespace, "get", "cm", "settings", "--show-managed-fields")
    assert found["data"]["color"] == "blue"
    owned = {entry["manager"]: entry["fieldsV1"] for entry in found["metadata"]["managedFields"]}
    assert owned["kubectl"] == {"f:data": {"f:size": {}}}
    assert owned["robot"] == {"f:data": {"f:color": {}, "f:size": {}}}


def test_server_side_apply_removes_what_its_manager_alone_owned(cli: Cli, namespace: str) -> None:
    apply = ("-n", namespace, *SERVER_SIDE)
    cli.kubectl(*apply, stdin=SETTINGS)
    cli.kubectl(*apply, "--field-manager=robot", stdin=SETTINGS.replace("color: red, ", ""))
    cli.kubectl(*apply, stdin=SETTINGS.replace("color: red, size: small", ""))
    assert cli.json("-n", namespace, "get", "cm", "settings")["data"] == {"size": "small"}


def test_status_is_applied_apart_and_merges_conditions_by_type(cli: Cli, namespace: str) -> None:
    cli.kubectl("-n", namespace, "apply", "-f", "-", stdin=REVIEWS)
    status = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
status: {conditions: [{type: TYPE, status: "True"}]}
"""
    for condition in ("Reconciled", "Programmed"):
        apply = (*SERVER_SIDE, "--subresource=status", f"--field-manager={condition.lower()}")
        cli.kubectl("-n", namespace, *apply, stdin=status.replace("TYPE", condition))
    found = cli.json("-n", namespace, "get", "vs", "reviews")
    assert [item["type"] for item in found["status"]["conditions"]] == ["Reconciled", "Programmed"]
    assert found["metadata"]["generation"] == 1
    assert found["spec"]["hosts"] == ["reviews"]


def test_apply_goes_over_from_the_clients_side_to_the_servers_and_back(cli: Cli, namespace: str) -> None:
    cli.kubectl("-n", namespace, "apply", "-f", "-", stdin=REVIEWS)
    cli.kubectl("-n", namespace, *SERVER_SIDE, stdin=REVIEWS.replace("subset: v1", "subset: v2"))
    back = cli.kubectl("-n", namespace, "apply", "-f", "-", stdin=REVIEWS)
    assert "virtualservice.networking.istio.io/reviews configured" in back
    subset = "jsonpath={.spec.http[0].route[0].destination.subset}"
    assert cli.kubectl("-n", namespace, "get", "vs", "reviews", "-o", subset) == "v1"


def test_dry_run_changes_nothing(cli: Cli, namespace: str) -> None:
    apply = ("-n", namespace, "apply", "-f", "-")
    assert "created (server dry run)" in cli.kubectl(*apply, "--dry-run=server", stdin=SETTINGS)
    assert "created (dry run)" in cli.kubectl(*apply, "--dry-run=client", stdin=SETTINGS)
    assert cli.kubectl("-n", namespace, "get", "cm", "-o", "name") == ""
    cli.kubectl(*apply, stdin=SETTINGS)
    patch = ("patch", "cm", "settings", "-p", '{"data":{"color":"blue"}}', "--dry-run=server")
    assert cli.kubectl("-n", namespace, *patch, "-o", "jsonpath={.data.color}") == "blue"
    deleted = cli.kubectl("-n", namespace, "delete", "cm", "settings", "--dry-run=server")
    assert "(server dry run)" in deleted
    assert cli.json("-n", namespace, "get", "cm", "settings")["data"]["color"] == "red"


def test_diff_shows_what_an_apply_would_change(cli: Cli, namespace: str) -> None:
    cli.kubectl("-n", namespace, "apply", "-f", "-", stdin=REVIEWS)
    assert cli.kubectl("-n", namespace, "diff", "-f", "-", stdin=REVIEWS) == ""
    changed = REVIEWS.replace("subset: v1", "subset: v2")
    for side in ("--server-side=false", "--server-side"):
        done = cli.run("kubectl", "-n", namespace, "diff", side, "-f", "-", stdin=changed)
        assert done.returncode == 1, done.stderr
        assert "-        subset: v1\n+        subset: v2\n" in done.stdout


def test_replace_needs_the_version_that_it_was_made_from(cli: Cli, namespace: str) -> None:
    cli.kubectl("-n", namespace, "create", "-f", "-", stdin=SETTINGS)
    read = cli.kubectl("-n", namespace, "get", "cm", "settings", "-o", "json")
    cli.kubectl("-n", namespace, "label", "cm", "settings", "a=b")
    complaint = cli.refused("-n", namespace, "replace", "-f", "-", stdin=read)
    assert 'Operation cannot be fulfilled on configmaps "settings"' in complaint
    unversioned = json.loads(read)
    del unversioned["metadata"]["resourceVersion"]
    unversioned["data"] = {"color": "green"}
    cli.kubectl("-n", namespace, "replace", "-f", "-", stdin=json.dumps(unversioned))
    assert cli.json("-n", namespace, "get", "cm", "settings")["data"] == {"color": "green"}
    cli.kubectl("-n", namespace, "replace", "--force", "-f", "-", stdin=SETTINGS)
    assert cli.json("-n", namespace, "get", "cm", "settings")["metadata"]["generation"] == 1


def test_prune_deletes_what_is_no_longer_in_the_files(cli: Cli, namespace: str) -> None:
    kinds = ("core/v1/Service", "networking.istio.io/v1/VirtualService")
    pruned = ("--prune", "-l", "app=reviews", *(f"--prune-allowlist={kind}" for kind in kinds))
    cli.kubectl("-n", namespace, "apply", "-f", "-", stdin=REVIEWS)
    only_rule = REVIEWS.rpartition("---")[2]
    answer = cli.kubectl("-n", namespace, "apply", "-f", "-", *pruned, stdin=only_rule)
    assert "service/reviews pruned" in answer
    assert "virtualservice.networking.istio.io/reviews pruned" in answer
    assert cli.kubectl("-n", namespace, "get", "svc,vs,dr", "-o", "name").count("reviews") == 1


def test_apply_set_prunes_by_itself(cli: Cli, namespace: str) -> None:
    applied = ("-n", namespace, "apply", "-f", "-", "--prune", "--applyset=secret/ours")
    cli.kubectl(*applied, stdin=REVIEWS, KUBECTL_APPLYSET="true")
    answer = cli.kubectl(*applied, stdin=SETTINGS, KUBECTL_APPLYSET="true")
    assert answer.count(" pruned") == 3
