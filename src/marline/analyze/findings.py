"""A finding, and the table of all there can be."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from marline.api.resource import Ref


class Severity(IntEnum):
    """How bad: of errors it is certain that something does not work as it is written."""

    INFO = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True, slots=True)
class Code:
    """One condition that is looked for."""

    code: str
    name: str
    severity: Severity
    why: str
    """What happens if it is left so."""
    mend: str
    """What to do; a finding may know better."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a condition holds."""

    code: Code
    ref: Ref
    path: str
    """The field, as `spec.http[0].route[1].weight`."""
    message: str
    mend: str = ""

    @property
    def advice(self) -> str:
        return self.mend or self.code.mend


_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFO

INVALID: Final = Code(
    "IST0106", "SchemaValidationError", _E, "The resource is refused when it is applied.",
    "Correct the field.",
)  # fmt: skip
NOT_FOUND: Final = Code(
    "IST0101", "ReferencedResourceNotFound", _E, "Requests that need it fail, or the resource has no effect.",
    "Correct the name, or create what it names.",
)  # fmt: skip
MISPLACED_ANNOTATION: Final = Code(
    "IST0107", "MisplacedAnnotation", _W, "The annotation has no effect on this kind of resource.",
    "Move it to a resource of the right kind, or remove it.",
)  # fmt: skip
UNKNOWN_ANNOTATION: Final = Code(
    "IST0108", "UnknownAnnotation", _W, "Nothing reads the annotation.", "Correct its name, or remove it."
)
CONFLICTING_HOSTS: Final = Code(
    "IST0109", "ConflictingMeshGatewayVirtualServiceHosts", _E,
    "Sidecars take one VirtualService for a host: the oldest; the rules of the others never count.",
    "Merge them into one resource, or narrow them with exportTo.",
)  # fmt: skip
CONFLICTING_SIDECARS: Final = Code(
    "IST0110", "ConflictingSidecarWorkloadSelectors", _E,
    "One Sidecar counts for a workload: the oldest; the others never count for it.",
    "Select each workload by one Sidecar.",
)  # fmt: skip
SEVERAL_SIDECARS: Final = Code(
    "IST0111", "MultipleSidecarsWithoutWorkloadSelectors", _E,
    "One Sidecar without selector counts for a namespace: the oldest.", "Keep one, or give them selectors.",
)  # fmt: skip
PORT_REQUIRED: Final = Code(
    "IST0112", "VirtualServiceDestinationPortSelectorRequired", _E,
    "It is left to the port that the request was sent to; if the service does not have that, it fails.",
    "Name the port in the destination.",
)  # fmt: skip
MTLS_CONFLICT: Final = Code(
    "IST0113", "MTLSPolicyConflict", _E, "The client speaks another way than the server accepts: calls fail.",
    "Let the DestinationRule's tls.mode follow the PeerAuthentication, or leave it out.",
)  # fmt: skip
SEVERAL_SERVICES: Final = Code(
    "IST0116", "DeploymentAssociatedToMultipleServices", _W,
    "One port can be served with one protocol; for one of the services it is the wrong one.",
    "Give the services' ports the same protocol, or different targets.",
)  # fmt: skip
PORT_NAME: Final = Code(
    "IST0118", "PortNameIsNotUnderNamingConvention", _I,
    "The protocol is detected for each connection, which takes longer and needs the client to speak first.",
    "Name the port PROTOCOL[-SUFFIX], such as http or grpc-api, or set appProtocol.",
)  # fmt: skip
NO_WORKLOADS: Final = Code(
    "IST0127", "NoMatchingWorkloadsFound", _W, "The resource has no effect.",
    "Correct the selector, or start the workloads that it is for.",
)  # fmt: skip
NO_VERIFICATION: Final = Code(
    "IST0128", "NoServerCertificateVerificationDestinationLevel", _W,
    "Whoever answers at the address is believed to be the server.",
    "Remove insecureSkipVerify, and set caCertificates if the machine does not know the server's CA.",
)  # fmt: skip
NO_VERIFICATION_AT_PORT: Final = Code(
    "IST0129", "NoServerCertificateVerificationPortLevel", _W, NO_VERIFICATION.why, NO_VERIFICATION.mend
)
UNREACHABLE_RULE: Final = Code(
    "IST0130", "VirtualServiceUnreachableRule", _W, "The rule never gets a request.",
    "Remove it, or move it before the rule that takes its requests.",
)  # fmt: skip
INEFFECTIVE_MATCH: Final = Code(
    "IST0131", "VirtualServiceIneffectiveMatch", _I, "The match never decides anything.", "Remove it."
)
HOST_NOT_IN_GATEWAY: Final = Code(
    "IST0132", "VirtualServiceHostNotFoundInGateway", _W,
    "The gateway has no server for the host, so the VirtualService gets no request through it.",
    "Add the host to a server of the Gateway, or correct it.",
)  # fmt: skip
ADDRESSES_REQUIRED: Final = Code(
    "IST0134", "ServiceEntryAddressesRequired", _W,
    "Without an address of its own, TCP of this service cannot be told from that of others on the port.",
    "Give it an address, or use a protocol that names the host (HTTP, TLS).",
)  # fmt: skip
CONFLICTING_TARGETS: Final = Code(
    "IST0137", "DeploymentConflictingPorts", _W,
    "Requests to one port of the workload count as those of one service port: for the others policies may "
    "be the wrong ones.",
    "Use the same service port, or different targets.",
)  # fmt: skip
DUPLICATE_CERTIFICATE: Final = Code(
    "IST0138", "GatewayDuplicateCertificate", _W,
    "A client may reuse an HTTP/2 connection for another host of the certificate, which then gets a 404.",
    "Let one server have all hosts of the certificate.",
)  # fmt: skip
SUBSET_AT_INGRESS: Final = Code(
    "IST0140", "IngressRouteRulesNotAffected", _W,
    "What comes through the gateway is routed by the gateway's VirtualService, which has no such rule.",
    "Add the gateway to the VirtualService with the subsets, or route to subsets there.",
)  # fmt: skip
CONFLICTING_GATEWAYS: Final = Code(
    "IST0145", "ConflictingGateways", _E,
    "Of several servers for the same port and host one counts: that of the oldest Gateway.",
    "Give them different hosts, or merge them.",
)  # fmt: skip
UNVERIFIED_CLAIM: Final = Code(
    "IST0149", "JwtClaimBasedRoutingWithoutRequestAuthN", _E,
    "The gateway verifies no token, so it knows no claim: the condition never holds.",
    "Add a RequestAuthentication for the gateway.",
)  # fmt: skip
RELATIVE_OPERATION: Final = Code(
    "IST0151", "EnvoyFilterUsesRelativeOperation", _W,
    "EnvoyFilters of one priority are applied by age: what the patch refers to may come only after it.",
    "Set a priority, or use INSERT_FIRST or ADD.",
)  # fmt: skip
RELATIVE_OPERATION_AT_VERSION: Final = Code(
    "IST0155", "EnvoyFilterUsesRelativeOperationWithProxyVersion", _W,
    "EnvoyFilters of one priority are applied by age: for another version made anew, it may come elsewhere.",
    "Set a priority, or use INSERT_FIRST or ADD.",
)  # fmt: skip
BAD_CREDENTIAL: Final = Code(
    "IST0161", "InvalidGatewayCredential", _E, "The server cannot terminate TLS: handshakes fail.",
    "Put a certificate and its key into the Secret.",
)  # fmt: skip
PORT_NOT_OPEN: Final = Code(
    "IST0162", "GatewayPortNotDefinedOnService", _W, "Nothing outside can reach the server's port.",
    "Add the port to the gateway's Service or to its description in the application file.",
)  # fmt: skip
EMPTY_SUBSET: Final = Code(
    "IST0173", "DestinationRuleSubsetNotSelectPods", _E, "Requests for the subset fail with 503.",
    "Correct the labels, or start a workload that has them.",
)  # fmt: skip
UNKNOWN_HOST: Final = Code(
    "IST0174", "UnknownDestinationRuleHost", _W, "The rule is for no service, so it has no effect.",
    "Correct the host; a short name means a service in the rule's own namespace.",
)  # fmt: skip
WEIGHTS: Final = Code(
    "MAR0101", "WeightsDoNotAddUpTo100", _I,
    "Weights are shares of their sum, not percentages: 30 and 30 is half and half.",
    "Let the weights of a rule add up to 100.",
)  # fmt: skip
NOBODY_SERVES: Final = Code(
    "MAR0102", "HostNotServed", _W, "No service has the name, so a client that resolves it gets nowhere.",
    "Correct the host, or describe the service with a ServiceEntry.",
)  # fmt: skip
RETRIES_CUT_OFF: Final = Code(
    "MAR0103", "RetriesBeyondTimeout", _W,
    "The rule's timeout is for all attempts together: the last ones never run to their end.",
    "Raise timeout, or lower retries.attempts or retries.perTryTimeout.",
)  # fmt: skip
UNBOUND_ROUTE: Final = Code(
    "MAR0104", "RouteWithoutGateway", _W, "No proxy has the route.",
    "Name a Gateway that there is, and start a gateway that it selects.",
)  # fmt: skip
OUTLIVES_CALLER: Final = Code(
    "MAR0105", "CallOutlivesCaller", _W,
    "Nobody waits for the answer any more, and each retry of the caller begins the work anew.",
    "Give the inner call less time than the outer one.",
)  # fmt: skip
NEGATIVE_CONDITION: Final = Code(
    "MAR0106", "NegativeCondition", _W, "The mesh says that the resource does not work as it is written.",
    "See the condition's message.",
)  # fmt: skip
NO_ENDPOINTS: Final = Code(
    "MAR0107", "ServiceWithoutEndpoints", _W, "Requests to the service fail with 503.",
    "Start a workload that its selector selects, or correct the selector.",
)  # fmt: skip
NOT_VISIBLE: Final = Code(
    "MAR0108", "DestinationNotVisible", _E,
    "The service is not exported to this namespace, so its proxies do not know it: requests fail.",
    "Add the namespace to exportTo of the service.",
)  # fmt: skip
LISTENER_WITHOUT_EFFECT: Final = Code(
    "MAR0109", "ListenerWithoutEffect", _W, "The listener of the Sidecar is not there, or not as it says.",
    "Remove the field, or run the workload so that it has a meaning.",
)  # fmt: skip
FAILOVER_WITHOUT_DETECTION: Final = Code(
    "MAR0110", "FailoverWithoutOutlierDetection", _W,
    "No endpoint is ever found to be bad, so requests never go elsewhere.",
    "Add outlierDetection to the same policy.",
)  # fmt: skip
CORS_WITHOUT_ROUTE: Final = Code(
    "MAR0111", "CorsPolicyWithoutRoute", _W,
    "The proxy answers by itself, without the headers of the policy: browsers refuse the answer.",
    "Put the policy where the request is routed to, or route it.",
)  # fmt: skip
KEYS_WITHOUT_TLS: Final = Code(
    "MAR0120", "KeysFetchedWithoutTLS", _W,
    "Whoever stands between the control plane and the issuer can put keys of their own in the place of its.",
    "Use https in jwksUri, or write the keys into jwks.",
)  # fmt: skip
REQUESTS_ONLY: Final = Code(
    "MAR0121", "AuthorizerOfRequestsOnly", _W,
    "A provider of HTTP is asked about requests; connections that are not HTTP pass, as in Istio.",
    "Use a provider that speaks gRPC (envoyExtAuthzGrpc), or add a DENY or ALLOW policy for the ports.",
)  # fmt: skip


def codes() -> Iterator[Code]:
    """All there are, in their order."""
    found = [item for item in globals().values() if isinstance(item, Code)]
    return iter(sorted(found, key=lambda item: item.code))
