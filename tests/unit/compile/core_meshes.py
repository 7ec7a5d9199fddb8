"""A mesh with one of everything, in several versions of each resource."""

from typing import Any, Final

import yaml

from marline.api.decode import decode
from marline.api.resource import Resource

DOCUMENTS: Final = """
{apiVersion: v1, kind: Service, metadata: {name: reviews, namespace: default},
 spec: {clusterIP: 10.96.0.1, selector: {app: reviews},
  ports: [{name: http, port: 9080}, {name: tcp, port: 9000}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: reviews, namespace: default},
 spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{name: auto, port: 9080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: ratings, namespace: default},
 spec: {clusterIP: 10.96.0.2, selector: {app: ratings}, trafficDistribution: PreferClose,
  ports: [{name: http, port: 9080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: ratings, namespace: default,
  annotations: {networking.istio.io/exportTo: "."}},
 spec: {clusterIP: None, selector: {app: ratings}, ports: [{name: tcp, port: 9080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: db, namespace: other},
 spec: {clusterIP: 10.96.0.3, selector: {app: db}, ports: [{name: tcp-sql, port: 5432}]}}
---
{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: reviews-1, namespace: default},
 spec: {address: 10.0.0.1, serviceAccount: reviews,
  labels: {app: reviews, version: v1, security.istio.io/tlsMode: istio}}}
---
{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: reviews-1, namespace: default},
 spec: {address: 10.0.0.1, serviceAccount: reviews,
  labels: {app: reviews, version: v1, security.istio.io/tlsMode: istio}},
 status: {conditions: [{type: Healthy, status: "False"}]}}
---
{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: reviews-2, namespace: default},
 spec: {address: 10.0.0.2, serviceAccount: other, locality: us/a, labels: {app: reviews, version: v2}}}
---
{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: ratings-1, namespace: default},
 spec: {address: 10.0.0.3, locality: eu/b/1, labels: {app: ratings, security.istio.io/tlsMode: istio}}}
---
{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: ratings-1, namespace: default},
 spec: {address: 10.0.0.3, labels: {app: reviews, security.istio.io/tlsMode: istio}}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: external, namespace: default},
 spec: {hosts: [www.example.com, api.example.com], resolution: DNS, ports: [
  {number: 443, name: tls, protocol: TLS}, {number: 80, name: http, protocol: HTTP}]}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: external, namespace: default},
 spec: {hosts: [api.example.com], resolution: STATIC, location: MESH_INTERNAL, addresses: [240.0.0.1],
  workloadSelector: {labels: {app: reviews}}, ports: [{number: 7000, name: x}]}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: rival, namespace: other},
 spec: {hosts: ["*.wild.com"], resolution: DYNAMIC_DNS, ports: [
  {number: 7000, name: tls, protocol: TLS}, {number: 80, name: http, protocol: HTTP}]}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: rival, namespace: other},
 spec: {hosts: [api.example.com, "*.wild.com"], resolution: NONE, addresses: [240.0.0.1, 10.7.0.0/16],
  ports: [{number: 7000, name: tcp, protocol: TCP}, {number: 80, name: http, protocol: HTTP}]}}
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: reviews, namespace: default},
 spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}}
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: reviews, namespace: default},
 spec: {host: reviews, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}},
  subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {tls: {mode: DISABLE}}}]}}
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: reviews, namespace: default},
 spec: {host: reviews, trafficPolicy: {outlierDetection: {interval: 1s}}, subsets: [{name: v1,
  labels: {version: v1}, trafficPolicy: {loadBalancer: {localityLbSetting: {failoverPriority: [version]}}}}]}}
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: some, namespace: default},
 spec: {host: ratings, workloadSelector: {matchLabels: {version: v1}}, subsets: [{name: v2}],
  trafficPolicy: {tls: {mode: MUTUAL, credentialName: client},
   connectionPool: {tcp: {maxConnectionDuration: 7s}},
   loadBalancer: {consistentHash: {httpHeaderName: x}}}}}
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: ratings, namespace: default},
 spec: {host: ratings, trafficPolicy: {tunnel: {targetHost: a.b, targetPort: 1}, connectionPool: {
  tcp: {maxConnectionDuration: 5s}}}}}
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: external, namespace: default},
 spec: {host: www.example.com, trafficPolicy: {loadBalancer: {localityLbSetting: {
  distribute: [{from: "eu/*", to: {"eu/*": 100}}]}}}}}
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: wide, namespace: istio-system},
 spec: {host: "*.svc.cluster.local",
  trafficPolicy: {connectionPool: {tcp: {maxConnections: 5, idleTimeout: 9s}}}}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: reviews, namespace: default},
 spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}],
  tcp: [{route: [{destination: {host: ratings}, weight: 20}, {destination: {host: reviews}, weight: 80}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: reviews, namespace: default},
 spec: {hosts: [reviews, legacy], exportTo: ["."], http: [
  {match: [{sourceLabels: {version: v1}}], route: [{destination: {host: ratings}}]},
  {route: [{destination: {host: reviews}}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: wide, namespace: other},
 spec: {hosts: ["*.default.svc.cluster.local"], gateways: [mesh, istio-system/ingress],
  http: [{route: [{destination: {host: reviews.default.svc.cluster.local}}]}]}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: callers, namespace: default},
 spec: {selector: {matchLabels: {app: reviews}}, rules: [{from: [{source: {namespaces: [default]}}]}]}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: callers, namespace: default},
 spec: {action: DENY, rules: [{to: [{operation: {ports: ["9080"], paths: ["/admin/{**}"]}}]}]}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: asking, namespace: default},
 spec: {action: CUSTOM, provider: {name: asked}, rules: [{to: [{operation: {ports: ["9080"]}}]}]}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: tried, namespace: default,
  annotations: {istio.io/dry-run: "true"}}, spec: {rules: [{from: [{source: {namespaces: [other]}}]}]}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: watched, namespace: default},
 spec: {action: AUDIT, rules: [{}]}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: watched, namespace: default,
  annotations: {audit.marline.io/sample: "10", audit.marline.io/headers: x-user}},
 spec: {action: AUDIT, rules: [{}]}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: all, namespace: istio-system},
 spec: {rules: [{from: [{source: {principals: ["*"]}}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: sni, namespace: default},
 spec: {hosts: [www.example.com], tls: [{match: [{sniHosts: [www.example.com]}],
  route: [{destination: {host: api.example.com}}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: parts, namespace: default},
 spec: {http: [{match: [{uri: {prefix: /old}}], route: [{destination: {host: reviews, subset: v1}}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: parts, namespace: default},
 spec: {exportTo: ["."], http: [{route: [{destination: {host: ratings}}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: parts, namespace: default},
 spec: {hosts: [reviews], http: [{route: [{destination: {host: api.example.com}}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: parts, namespace: default},
 spec: {http: [{mirror: {host: a.wild.com},
  route: [{destination: {host: db.other}, weight: 1}, {destination: {host: reviews}, weight: 1}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: root, namespace: default},
 spec: {hosts: [ratings, legacy], gateways: [mesh, istio-system/ingress], http: [
  {match: [{uri: {prefix: /}, sourceLabels: {version: v1}}], delegate: {name: parts}},
  {route: [{destination: {host: ratings}}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: wide, namespace: other},
 spec: {hosts: ["*.example.com"], http: [{delegate: {name: parts, namespace: default}}]}}
---
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: ingress, namespace: istio-system},
 spec: {selector: {istio: ingressgateway}, servers: [
  {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}}
---
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: ingress, namespace: istio-system},
 spec: {selector: {istio: ingressgateway}, servers: [
  {port: {number: 15443, name: tls, protocol: TLS}, hosts: ["*.local"], tls: {mode: AUTO_PASSTHROUGH}},
  {port: {number: 8443, name: own, protocol: HTTPS}, hosts: [a.example.com], tls: {mode: ISTIO_MUTUAL}}]}}
---
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: east, namespace: other},
 spec: {selector: {istio: ingressgateway}, servers: [
  {port: {number: 15443, name: tls, protocol: TLS}, hosts: [./reviews.default.svc.cluster.local,
   default/api.example.com], tls: {mode: AUTO_PASSTHROUGH}},
  {port: {number: 8443, name: mutual, protocol: HTTPS}, hosts: [b.example.com], bind: 127.0.0.2,
   tls: {mode: MUTUAL, serverCertificate: /cert, privateKey: /key, caCertCredentialName: clients}}]}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: clients, namespace: istio-system}, data: {ca.crt: none}}
---
{apiVersion: policy.marline.io/v1alpha1, kind: ResiliencePolicy, metadata: {name: own, namespace: default},
 spec: {targetRefs: [{kind: Service, name: reviews}], hedging: {after: 1s}, retryBudget: {percent: 5},
  adaptiveConcurrency: {}}}
---
{apiVersion: policy.marline.io/v1alpha1, kind: ResiliencePolicy, metadata: {name: own, namespace: default},
 spec: {targetRefs: [{kind: Service, name: ratings, sectionName: http},
  {group: networking.istio.io, kind: ServiceEntry, name: external}], hedging: {after: 2s}}}
---
{apiVersion: policy.marline.io/v1alpha1, kind: ResiliencePolicy, metadata: {name: later, namespace: default},
 spec: {targetRefs: [{kind: Service, name: reviews}, {kind: Service, name: reviews, sectionName: auto}],
  admissionControl: {}}}
---
{apiVersion: policy.marline.io/v1alpha1, kind: RateLimitPolicy, metadata: {name: own, namespace: default},
 spec: {targetRefs: [{kind: Service, name: reviews},
  {group: networking.istio.io, kind: ServiceEntry, name: external}],
  limits: [{name: all, requests: 5, unit: Second, match: {headers: {x: {exact: a}}}}]}}
---
{apiVersion: policy.marline.io/v1alpha1, kind: RateLimitPolicy, metadata: {name: wide, namespace: other},
 spec: {targetRefs: [{group: networking.istio.io, kind: VirtualService, name: wide}],
  limits: [{name: all, requests: 5, unit: Second, scope: Global}]}}
---
{apiVersion: policy.marline.io/v1alpha1, kind: RateLimitPolicy,
 metadata: {name: edge, namespace: istio-system},
 spec: {targetRefs: [{group: networking.istio.io, kind: Gateway, name: ingress, sectionName: http}],
  limits: [{name: all, requests: 5, unit: Second, by: [{type: RemoteAddress}]}]}}
---
{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: all, namespace: istio-system},
 spec: {mtls: {mode: DISABLE}}}
---
{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: own, namespace: default},
 spec: {mtls: {mode: PERMISSIVE}}}
---
{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: own, namespace: default},
 spec: {selector: {matchLabels: {app: reviews}}, jwtRules: [{jwksUri: "https://a.example.com/keys"},
  {issuer: "https://b.example.com", outputClaimToHeaders: [{header: x-user, claim: sub}]}]}}
---
{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: own, namespace: default},
 spec: {jwtRules: [{jwksUri: "https://a.example.com/keys", fromCookies: [session]}]}}
---
{apiVersion: security.istio.io/v1, kind: RequestAuthentication,
 metadata: {name: all, namespace: istio-system}, spec: {jwtRules: [{issuer: "https://b.example.com"}]}}
---
{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: edge, namespace: default},
 spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}],
  jwtRules: [{jwksUri: "https://c.example.com/keys"}]}}
---
{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: wide, namespace: istio-system},
 spec: {configPatches: [
  {applyTo: CLUSTER, match: {cluster: {service: reviews.default.svc.cluster.local}},
   patch: {operation: MERGE, value: {connect_timeout: 2s}}},
  {applyTo: HTTP_FILTER, patch: {operation: INSERT_FIRST, value: {name: first}}},
  {applyTo: LISTENER, patch: {operation: ADD, value: {name: added}}}]}}
---
{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: wide, namespace: istio-system},
 spec: {workloadSelector: {labels: {version: v1}}, priority: 5, configPatches: [
  {applyTo: HTTP_ROUTE, patch: {operation: MERGE, value: {route: {timeout: 9s}}}},
  {applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND, cluster: {portNumber: 9080}},
   patch: {operation: REMOVE}}]}}
---
{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: own, namespace: default},
 spec: {configPatches: [
  {applyTo: VIRTUAL_HOST, match: {routeConfiguration: {vhost: {name: "legacy:80"}}},
   patch: {operation: MERGE, value: {request_headers_to_remove: [x-internal]}}},
  {applyTo: CLUSTER, patch: {operation: ADD, value: {name: added}}}]}}
---
{apiVersion: extensions.istio.io/v1alpha1, kind: WasmPlugin, metadata: {name: p, namespace: istio-system},
 spec: {url: "file:///x.wasm", sha256: abc, phase: AUTHN, match: [{mode: CLIENT}]}}
---
{apiVersion: extensions.istio.io/v1alpha1, kind: WasmPlugin, metadata: {name: p, namespace: istio-system},
 spec: {url: "file:///x.wasm", sha256: abc, type: NETWORK, selector: {matchLabels: {app: reviews}}}}
---
{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: own, namespace: default},
 spec: {inboundConnectionPool: {tcp: {maxConnections: 3}}, ingress: [
  {port: {number: 9080, protocol: HTTP}, defaultEndpoint: "127.0.0.1:8080"},
  {port: {number: 7777, protocol: TCP}, captureMode: NONE, defaultEndpoint: "unix:///run/app.sock"}],
  outboundTrafficPolicy: {mode: ALLOW_ANY,
   egressProxy: {host: db.other.svc.cluster.local, port: {number: 5432}}}}}
---
{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: own, namespace: default},
 spec: {egress: [
  {port: {number: 9080, protocol: HTTP}, hosts: ["./reviews.default.svc.cluster.local"]},
  {port: {number: 5432, protocol: TCP}, captureMode: NONE, hosts: ["other/*"]},
  {port: {number: 7000, protocol: TCP}, bind: 127.0.0.2, hosts: ["*/*"]},
  {port: {protocol: HTTP}, bind: "unix:///run/egress.sock", hosts: ["./*"]},
  {hosts: ["*/*"]}]}}
---
{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: all, namespace: istio-system},
 spec: {egress: [{port: {number: 443, protocol: TLS}, bind: 127.0.0.9, captureMode: NONE, hosts: ["*/*"]}]}}
---
{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: narrow, namespace: default},
 spec: {egress: [{hosts: ["./*", "other/*.wild.com"]}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: producer, namespace: default},
 spec: {parentRefs: [{group: "", kind: Service, name: reviews, port: 9080}],
  rules: [{backendRefs: [{name: ratings, port: 9080}, {name: db, namespace: other, port: 5432}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: producer, namespace: default},
 spec: {parentRefs: [{group: "", kind: Service, name: reviews}, {name: edge}],
  rules: [{backendRefs: [{group: networking.istio.io, kind: Hostname, name: api.example.com, port: 80}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: guarded, namespace: default},
 spec: {parentRefs: [{group: "", kind: Service, name: ratings}, {name: edge}],
  rules: [{backendRefs: [{name: ratings, port: 9080}], filters: [{type: ExternalAuth, externalAuth: {
   protocol: GRPC, grpc: {}, backendRef: {name: db, namespace: other, port: 5432}}}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: consumer, namespace: other},
 spec: {parentRefs: [{group: "", kind: Service, name: reviews, namespace: default}],
  rules: [{backendRefs: [{name: db, port: 5432}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: TCPRoute, metadata: {name: bytes, namespace: default},
 spec: {parentRefs: [{group: "", kind: Service, name: reviews, sectionName: tcp}, {name: edge}],
  rules: [{backendRefs: [{name: db, namespace: other, port: 5432}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: UDPRoute, metadata: {name: datagrams, namespace: default},
 spec: {parentRefs: [{name: edge}],
  rules: [{backendRefs: [{name: clock, port: 123, weight: 2}, {name: absent, port: 123}]}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: clock, namespace: default},
 spec: {selector: {app: clock}, ports: [{name: ntp, port: 123, protocol: UDP}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: clock, namespace: default}, spec: {sessionAffinity: ClientIP,
 selector: {app: clock}, ports: [{name: tcp, port: 123}, {name: ntp, port: 123, protocol: UDP}]}}
---
{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: clock, namespace: default},
 spec: {address: 10.0.0.123, labels: {app: clock}}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: TLSRoute, metadata: {name: secure, namespace: default},
 spec: {parentRefs: [{group: networking.istio.io, kind: ServiceEntry, name: external}],
  hostnames: [www.example.com], rules: [{backendRefs: [{name: reviews, port: 9000}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, metadata: {name: grant, namespace: other},
 spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default},
  {group: gateway.networking.k8s.io, kind: TCPRoute, namespace: default}], to: [{group: "", kind: Service}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: default},
 spec: {gatewayClassName: marline, allowedListeners: {namespaces: {from: All}},
  listeners: [{name: http, port: 80, protocol: HTTP}, {name: tcp, port: 9000, protocol: TCP},
   {name: udp, port: 9000, protocol: UDP}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: ListenerSet, metadata: {name: more, namespace: other},
 spec: {parentRef: {name: edge, namespace: default}, listeners: [{name: http, port: 81, protocol: HTTP}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: more, namespace: other},
 spec: {parentRefs: [{kind: ListenerSet, name: more}], rules: [{backendRefs: [{name: db, port: 5432}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: BackendTLSPolicy,
 metadata: {name: secure, namespace: default},
 spec: {targetRefs: [{group: "", kind: Service, name: reviews}], validation: {hostname: a.example.com,
  caCertificateRefs: [{group: "", kind: ConfigMap, name: authority}]}}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: BackendTLSPolicy,
 metadata: {name: secure, namespace: default},
 spec: {targetRefs: [{group: "", kind: Service, name: ratings, sectionName: http}],
  validation: {hostname: a.example.com, wellKnownCACertificates: System}}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: default},
 spec: {gatewayClassName: marline, tls: {backend: {clientCertificateRef: {name: web}}},
  listeners: [{name: http, port: 80, protocol: HTTP}]}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: authority, namespace: default}, data: {ca.crt: none}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: twin, namespace: default},
 spec: {hosts: [twin.example.net], exportTo: ["."], resolution: STATIC, endpoints: [{address: 192.0.2.1}],
  ports: [{number: 81, name: http, protocol: HTTP}]}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: twin, namespace: other},
 spec: {hosts: [twin.example.net], exportTo: ["."], resolution: STATIC, endpoints: [{address: 192.0.2.2}],
  ports: [{number: 82, name: http, protocol: HTTP}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: twin, namespace: default},
 spec: {hosts: [reviews, legacy], http: [{route: [{destination: {host: twin.example.net}}]}]}}
---
{apiVersion: policy.marline.io/v1alpha1, kind: RevokedIdentity, metadata: {name: one},
 spec: {spiffeId: spiffe://cluster.local/ns/default/sa/reviews}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system},
 data: {mesh: "compliancePolicy: fips-140-2"}}
"""


def resources(text: str) -> tuple[Resource[Any], ...]:
    return tuple(decode(item) for item in yaml.safe_load_all(text) if item)
