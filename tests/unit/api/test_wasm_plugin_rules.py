"""WasmPlugins whose module could not be had, or not be trusted, are refused."""

from typing import Any

import pytest

from marline.api.decode import admit
from marline.api.errors import Fault, InvalidResource

DIGEST = "0123456789abcdef" * 4


def faults(**spec: Any) -> dict[str, Fault]:
    head = {"apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin"}
    body = {"url": "file:///opt/x.wasm", "sha256": DIGEST, **spec}
    try:
        admit({**head, "metadata": {"name": "x", "namespace": "default"}, "spec": body})
    except InvalidResource as error:
        return {item.path.removeprefix("spec."): item.fault for item in error.errors}
    return {}


@pytest.mark.parametrize("url", ["oci://registry/x:1", "https://example.com/x.wasm", "registry/x:latest"])
def test_modules_from_elsewhere_are_refused_with_the_reason(url: str) -> None:
    assert faults(url=url) == {"url": Fault.NOT_SUPPORTED}


def test_a_module_is_an_absolute_path_with_a_checksum() -> None:
    assert faults() == {}
    assert faults(url="file://x.wasm") == {"url": Fault.INVALID}
    assert faults(sha256="") == {"sha256": Fault.REQUIRED}
    assert faults(sha256=DIGEST[1:]) == {"sha256": Fault.INVALID}


def test_what_is_for_images_is_refused() -> None:
    given = faults(imagePullPolicy="Always", imagePullSecret="x", verificationKey="x")
    assert set(given) == {"imagePullPolicy", "imagePullSecret", "verificationKey"}
    assert set(given.values()) == {Fault.NOT_SUPPORTED}


def test_variables_are_named_once_and_the_hosts_have_no_value_here() -> None:
    twice = [{"name": "A", "value": "1"}, {"name": "A", "valueFrom": "HOST", "value": "2"}]
    assert set(faults(vmConfig={"env": twice})) == {"vmConfig.env[1]", "vmConfig.env[1].value"}
