"""`kubectl create`, `patch`, `edit`, `label`, `annotate`: changes to one object at a time."""

from pathlib import Path

import pytest
from kubectl_cluster import Cli
from kubectl_manifests import REVIEWS, SETTINGS

SUBSET = "jsonpath={.spec.http[0].route[0].destination.subset}"


@pytest.fixture
def reviews(cli: Cli, namespace: str) -> tuple[str, ...]:
    """The arguments that make kubectl look into a namespace with the reviews service."""
    cli.kubectl("-n", namespace, "apply", "-f", "-", stdin=REVIEWS)
    return ("-n", namespace)


def ports(cli: Cli, place: tuple[str, ...]) -> list[int]:
    return [port["port"] for port in cli.json(*place, "get", "svc", "reviews")["spec"]["ports"]]


def test_generators_create_what_they_say(cli: Cli, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("hello\n")
    create = ("-n", namespace, "create")
    cli.kubectl(*create, "configmap", "c", "--from-literal=a=b", f"--from-file={tmp_path / 'motd'}")
    cli.kubectl(*create, "secret", "generic", "s", "--from-literal=password=hunter2")
    cli.kubectl(*create, "service", "clusterip", "web", "--tcp=80:8080")
    assert cli.json("-n", namespace, "get", "cm", "c")["data"] == {"a": "b", "motd": "hello\n"}
    assert cli.json("-n", namespace, "get", "secret", "s")["data"] == {"password": "aHVudGVyMg=="}
    spec = cli.json("-n", namespace, "get", "svc", "web")["spec"]
    assert spec["ports"] == [{"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    assert spec["selector"] == {"app": "web"}


def test_create_refuses_what_is_there_and_generates_names(cli: Cli, namespace: str) -> None:
    create = ("-n", namespace, "create", "-f", "-")
    cli.kubectl(*create, stdin=SETTINGS)
    assert 'configmaps "settings" already exists' in cli.refused(*create, stdin=SETTINGS)
    generated = SETTINGS.replace("name: settings", "generateName: settings-")
    first, second = (cli.kubectl(*create, "-o", "name", stdin=generated) for _ in range(2))
    assert first.startswith("configmap/settings-")
    assert first != second


def test_merge_patch_replaces_lists(cli: Cli, reviews: tuple[str, ...]) -> None:
    patch = ("patch", "vs", "reviews", "--type=merge", "-p")
    cli.kubectl(*reviews, *patch, '{"spec":{"hosts":["a.example.com"]},"metadata":{"labels":null}}')
    found = cli.json(*reviews, "get", "vs", "reviews")
    assert found["spec"]["hosts"] == ["a.example.com"]
    assert "labels" not in found["metadata"]


def test_json_patch_changes_places(cli: Cli, reviews: tuple[str, ...]) -> None:
    patch = (*reviews, "patch", "vs", "reviews", "--type=json", "-p")
    place = "/spec/http/0/route/0/destination/subset"
    cli.kubectl(*patch, f'[{{"op":"test","path":"{place}","value":"v1"}},{{"op":"remove","path":"{place}"}}]')
    assert cli.kubectl(*reviews, "get", "vs", "reviews", "-o", SUBSET) == ""
    absent = cli.refused(*patch, f'[{{"op":"replace","path":"{place}","value":"v2"}}]')
    assert f"patch: path {place} does not exist" in absent
    assert "testing value /spec/hosts/0 failed" in cli.refused(
        *patch, '[{"op":"test","path":"/spec/hosts/0","value":"x"}]'
    )
    assert "a JSON patch is a list of operations" in cli.refused(*patch, '{"op":"add"}')


def test_strategic_patch_merges_ports_by_their_number(cli: Cli, reviews: tuple[str, ...]) -> None:
    patch = (*reviews, "patch", "svc", "reviews", "-p")
    cli.kubectl(*patch, '{"spec":{"ports":[{"port":9443,"name":"https"}]}}')
    assert ports(cli, reviews) == [9080, 9443]
    cli.kubectl(*patch, '{"spec":{"ports":[{"port":9080,"$patch":"delete"}]}}')
    assert ports(cli, reviews) == [9443]


def test_strategic_patch_is_refused_for_custom_kinds_as_in_kubernetes(
    cli: Cli, reviews: tuple[str, ...]
) -> None:
    complaint = cli.refused(*reviews, "patch", "vs", "reviews", "-p", '{"spec":{"hosts":["x"]}}')
    assert "application/strategic-merge-patch+json is not supported by networking.istio.io/v1" in complaint


@pytest.mark.parametrize(
    ("patch", "complaint"),
    [
        ('{"spec":{"hostz":["x"]}}', "spec.hostz: unknown field (did you mean 'hosts'?)"),
        ('{"metadata":{"name":"x"}}', "a patch cannot change the name"),
        ('{"kind":"Gateway"}', "a patch cannot change apiVersion or kind"),
        ('{"metadata":null}', "the patch leaves no object with metadata"),
        ('{"metadata":{"resourceVersion":"1"}}', "the object has been modified"),
    ],
)
def test_patch_that_leaves_nonsense_is_refused(cli: Cli, namespace: str, patch: str, complaint: str) -> None:
    cli.kubectl("-n", namespace, "apply", "-f", "-", stdin=REVIEWS)
    found = cli.refused("-n", namespace, "patch", "vs", "reviews", "--type=merge", "-p", patch)
    assert complaint in found


def test_label_and_annotate(cli: Cli, reviews: tuple[str, ...]) -> None:
    cli.kubectl(*reviews, "label", "vs", "reviews", "team=a")
    assert "--overwrite is false" in cli.refused(*reviews, "label", "vs", "reviews", "team=b")
    cli.kubectl(*reviews, "label", "vs", "reviews", "team=b", "--overwrite")
    cli.kubectl(*reviews, "annotate", "vs,dr", "--all", "note=two words")
    found = cli.json(*reviews, "get", "vs", "reviews")
    assert found["metadata"]["labels"] == {"app": "reviews", "team": "b"}
    assert found["metadata"]["annotations"]["note"] == "two words"
    assert found["metadata"]["generation"] == 1
    cli.kubectl(*reviews, "label", "vs", "reviews", "team-", "app-")
    assert "labels" not in cli.json(*reviews, "get", "vs", "reviews")["metadata"]


def editor(directory: Path, command: str) -> str:
    """A program that edits the file it is given, and keeps a copy of what it was shown."""
    path = directory / "editor"
    path.write_text(f'#!/bin/sh\ncat "$1" >> {directory}/seen\nsed -i "{command}" "$1"\n')
    path.chmod(0o755)
    return str(path)


def test_edit_writes_what_the_editor_leaves(cli: Cli, reviews: tuple[str, ...], tmp_path: Path) -> None:
    edit = (*reviews, "edit", "vs", "reviews")
    cli.kubectl(*edit, EDITOR=editor(tmp_path, "s/subset: v1/subset: v2/"))
    assert cli.kubectl(*reviews, "get", "vs", "reviews", "-o", SUBSET) == "v2"
    assert "no changes made" in cli.run("kubectl", *edit, EDITOR=editor(tmp_path, "")).stderr


def test_edit_shows_what_was_wrong(cli: Cli, reviews: tuple[str, ...], tmp_path: Path) -> None:
    wrong = editor(tmp_path, "s/subset: v1/subzet: v1/")
    assert "no valid changes were saved" in cli.refused(*reviews, "edit", "vs", "reviews", EDITOR=wrong)
    again = (tmp_path / "seen").read_text()
    assert "# * spec.http[0].route[0].destination.subzet: unknown field (did you mean 'subset'?)" in again
