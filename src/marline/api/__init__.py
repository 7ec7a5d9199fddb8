"""The resources that users write: typed models of Istio's, the Gateway API's and the core kinds.

Plain objects (from YAML or JSON) come in; typed, defaulted and validated `Resource`s go out, or an
`InvalidResource` that names every fault with its field path. Pure: no file, socket or clock is
touched here. Imports nothing else of Marline.
"""
