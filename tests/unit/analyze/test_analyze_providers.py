"""What is found in AuthorizationPolicies that have another service asked."""

from analyzed import found

POLICY = "ap web {action: CUSTOM, provider: {name: %s}, rules: [{}]}"
SERVICE = "svc asked {ports: [{name: http, port: 80}], selector: {app: asked}}"
CONFIG = """cm istio-system/istio {} @{data: {mesh: 'extensionProviders: [{name: asked,
 envoyExtAuthzHttp: {service: asked.default.svc.cluster.local, port: %d}}]'}}"""


def test_a_provider_must_be_there_with_its_service_and_port() -> None:
    for resources, message in (
        (POLICY % "other", "no extension provider 'other'"),
        (POLICY % "asked" + "\n" + CONFIG % 80, "which is no service here"),
        (
            "\n".join((POLICY % "asked", SERVICE, CONFIG % 81)),
            "svc.cluster.local has not",
        ),
    ):
        [item] = [item for item in found(resources.replace(",\n ", ", ")) if item.ref.name == "web"]
        assert item.path == "spec.provider.name"
        assert message in item.message
    fine = "\n".join((POLICY % "asked", SERVICE, CONFIG % 80)).replace(",\n ", ", ")
    assert not [item for item in found(fine) if item.ref.name == "web"]
