"""Control loops: what the control plane learns, written back to the resources it concerns.

Rejections by Envoys, disconnected proxies and the compiler's verdict on gateways come in; status
patches and deletions go out, through `ResourceStore` only, so that any client of the API sees them.
Each loop is a state machine without I/O and a short shell around it. Imports `store`, `xds`,
`compile` and below.
"""
