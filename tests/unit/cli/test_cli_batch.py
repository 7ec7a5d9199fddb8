"""Files become a batch of resources, or every fault of all of them is said."""

from pathlib import Path

import pytest
from cli_resources import NAMESPACE, virtual_service, written

from marline.api.errors import InvalidResource
from marline.cli.batch import make_batch
from marline.cli.exits import Failed
from marline.cli.files import read_files


def test_directories_are_read_in_order_and_only_for_resource_files(tmp_path: Path) -> None:
    written(tmp_path, "b.yml", virtual_service("b"))
    written(tmp_path, "a.yaml", virtual_service("a"))
    written(tmp_path, "notes.txt", "not: [yaml")
    (tmp_path / "below").mkdir()
    written(tmp_path / "below", "c.yaml", virtual_service("c"))
    assert [item.obj["metadata"]["name"] for item in read_files((tmp_path,))] == ["a", "b"]
    assert len(read_files((tmp_path,), recursive=True)) == 3


def test_nothing_to_apply_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="no file that ends with"):
        read_files((tmp_path,))
    with pytest.raises(Failed, match="there are no resources in"):
        read_files((written(tmp_path, "empty.yaml", "# nothing\n"),))


def test_files_that_are_no_yaml_are_all_named_with_their_lines(tmp_path: Path) -> None:
    files = (written(tmp_path, "a.yaml", "a: [1"), written(tmp_path, "b.yaml", "- 1\n"))
    with pytest.raises(InvalidResource) as caught:
        read_files(files)
    assert [Path(fault.file).name for fault in caught.value.errors] == ["a.yaml", "b.yaml"]
    assert all(fault.line for fault in caught.value.errors)


def test_resources_without_namespace_go_to_the_one_that_is_given(tmp_path: Path) -> None:
    file = written(tmp_path, "a.yaml", virtual_service("a"), virtual_service("b", "shop"), NAMESPACE)
    documents = read_files((file,))
    assert {item.ref.name: item.ref.namespace for item in make_batch(documents, None)} == {
        "shop": "",
        "a": "default",
        "b": "shop",
    }
    with pytest.raises(InvalidResource, match="'shop' contradicts --namespace other"):
        make_batch(documents, "other")


def test_namespaces_come_before_what_is_in_them(tmp_path: Path) -> None:
    file = written(tmp_path, "a.yaml", virtual_service("a", "shop"), NAMESPACE, virtual_service("b", "shop"))
    assert [item.ref.name for item in make_batch(read_files((file,)), None)] == ["shop", "a", "b"]


def test_the_faults_of_all_resources_are_said_at_their_lines(tmp_path: Path) -> None:
    wrong = virtual_service("a").replace("timeout", "timeot")
    file = written(tmp_path, "a.yaml", wrong, virtual_service("b"), virtual_service("c", timeout="soon"))
    with pytest.raises(InvalidResource) as caught:
        make_batch(read_files((file,)), None)
    first, second = caught.value.errors
    assert (first.path, first.line, first.suggestion) == ("spec.http[0].timeot", 8, "timeout")
    assert (second.path, second.line, second.document) == ("spec.http[0].timeout", 28, 3)


def test_a_resource_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    files = (
        written(tmp_path, "a.yaml", virtual_service("a")),
        written(tmp_path, "b.yaml", virtual_service("a")),
    )
    with pytest.raises(InvalidResource, match=r"described twice, first in .*a\.yaml:1"):
        make_batch(read_files(files), None)


def test_what_is_deleted_needs_no_more_than_a_name(tmp_path: Path) -> None:
    text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {htp: 1}\n"
    documents = read_files((written(tmp_path, "a.yaml", text),))
    assert [item.ref.name for item in make_batch(documents, None, checked=False)] == ["a"]
    with pytest.raises(InvalidResource):
        make_batch(documents, None)


def test_part_of_a_resource_may_be_applied(tmp_path: Path) -> None:
    text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\n"
    assert len(make_batch(read_files((written(tmp_path, "a.yaml", text),)), None)) == 1


def test_what_a_part_lacks_is_said_with_other_faults(tmp_path: Path) -> None:
    part = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\n"
    wrong = virtual_service("b").replace("timeout", "timeot")
    with pytest.raises(InvalidResource) as caught:
        make_batch(read_files((written(tmp_path, "a.yaml", wrong, part),)), None)
    assert [fault.path for fault in caught.value.errors][:2] == ["spec.http[0].timeot", "spec"]
