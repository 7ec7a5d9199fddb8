"""Marline: a service mesh with Envoy as its data plane, with or without Kubernetes."""

__version__ = "0.1.0"
