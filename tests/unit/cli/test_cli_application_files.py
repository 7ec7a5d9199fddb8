"""What `marline up` reads, and what it refuses of a mesh that runs."""

from pathlib import Path

import pytest
from cli_resources import virtual_service, written

from marline.api.errors import InvalidResource
from marline.cli.exits import Failed
from marline.cli.up import check_unchanged, read_application, read_applications
from marline.node.home import Home, MeshConfig, save_config
from marline.node.lifecycle import StartSettings

APPLICATION = "services:\n  web:\n    command: [python3, app.py]\n    ports: [http:8080]\n"


def test_an_application_is_called_as_its_file_and_runs_where_it_is(tmp_path: Path) -> None:
    application = read_application(written(tmp_path, "shop.yaml", APPLICATION))
    assert application.name == "shop"
    assert application.workloads[0].spec.working_directory == str(tmp_path)


def test_working_directories_are_relative_to_the_file(tmp_path: Path) -> None:
    relative = read_application(written(tmp_path, "a.yaml", f"{APPLICATION}    workingDirectory: web\n"))
    assert relative.workloads[0].spec.working_directory == str(tmp_path / "web")
    absolute = read_application(written(tmp_path, "b.yaml", f"{APPLICATION}    workingDirectory: /srv\n"))
    assert absolute.workloads[0].spec.working_directory == "/srv"


def test_resources_are_no_application_and_apply_takes_them(tmp_path: Path) -> None:
    file = written(tmp_path, "reviews.yaml", virtual_service("a"), virtual_service("b"))
    with pytest.raises(Failed, match=r"VirtualService.*marline apply -f .*reviews\.yaml"):
        read_application(file)


def test_faults_are_said_at_their_lines(tmp_path: Path) -> None:
    file = written(tmp_path, "a.yaml", APPLICATION.replace("command", "comand"))
    with pytest.raises(InvalidResource, match=r"a\.yaml:3: .*did you mean 'command'"):
        read_application(file)


def test_two_applications_of_one_name_are_refused(tmp_path: Path) -> None:
    files = tuple(written(tmp_path, name, f"name: shop\n{APPLICATION}") for name in ("a.yaml", "b.yaml"))
    with pytest.raises(Failed, match="both called 'shop'"):
        read_applications(files)


@pytest.mark.parametrize(
    ("settings", "capture", "option"),
    [
        (StartSettings(api_port=1234), None, "--api-port 7000"),
        (StartSettings(trust_domain="example.org"), None, "--trust-domain cluster.local"),
        (StartSettings(svid_ttl_seconds=60), None, "--svid-ttl 86400"),
        (StartSettings(), "transparent", "--capture explicit"),
    ],
)
def test_a_running_mesh_cannot_become_another(
    settings: StartSettings, capture: str | None, option: str, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    save_config(home, MeshConfig("abcdef", api_port=7000))
    with pytest.raises(Failed, match=option):
        check_unchanged(home, settings, capture)


def test_what_a_running_mesh_is_may_be_said_again(tmp_path: Path) -> None:
    home = Home(tmp_path)
    save_config(home, MeshConfig("abcdef", api_port=7000))
    check_unchanged(home, StartSettings(api_port=7000, trust_domain="cluster.local"), "explicit")
    check_unchanged(home, StartSettings(), "auto")
