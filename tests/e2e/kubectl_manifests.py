"""Manifests that tests apply: a routed service, settings, and one object of every kind that is acted on."""

REVIEWS = """
apiVersion: v1
kind: Service
metadata: {name: reviews, labels: {app: reviews}}
spec:
  selector: {app: reviews}
  ports: [{name: http, port: 9080}]
---
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: reviews, labels: {app: reviews}}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {host: reviews, subset: v1}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, labels: {app: reviews}}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
"""

SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: red, size: small}
"""

EVENT = """
apiVersion: v1
kind: Event
metadata: {name: reviews.1}
involvedObject:
  apiVersion: networking.istio.io/v1
  kind: VirtualService
  name: reviews
  namespace: shop
  uid: "UID"
reason: Rejected
message: an Envoy rejected the route
type: Warning
firstTimestamp: "2026-01-01T00:00:00Z"
lastTimestamp: "2026-01-01T00:01:00Z"
count: 3
source: {component: marline}
"""

EVERY_KIND = f"""
{REVIEWS}
---
{SETTINGS}
---
apiVersion: v1
kind: Secret
metadata: {{name: secret}}
stringData: {{password: hunter2}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: reviews-1, labels: {{kubernetes.io/service-name: reviews}}}}
addressType: IPv4
endpoints: [{{addresses: [10.0.0.1]}}, {{addresses: [10.0.0.2]}}]
ports: [{{name: http, port: 9080}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: ingress}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{hosts: ["*"], port: {{name: http, number: 80, protocol: HTTP}}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: outside}}
spec:
  hosts: [outside.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{{name: http, number: 80, protocol: HTTP}}]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: reviews-vm}}
spec: {{address: 10.0.0.3, labels: {{app: reviews}}, serviceAccount: reviews}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: narrow}}
spec: {{egress: [{{hosts: ["./*"]}}]}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: strict}}
spec: {{mtls: {{mode: STRICT}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: marline}}
spec: {{controllerName: istio.io/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: entry}}
spec: {{gatewayClassName: marline, listeners: [{{name: http, port: 80, protocol: HTTP}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: reviews}}
spec:
  parentRefs: [{{name: entry}}]
  hostnames: [reviews.example.com]
  rules: [{{backendRefs: [{{name: reviews, port: 9080}}]}}]
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {{name: routes}}
spec:
  from: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: edge}}]
  to: [{{group: "", kind: Service}}]
"""
