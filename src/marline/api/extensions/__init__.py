"""Kinds of the API group `extensions.istio.io`."""
