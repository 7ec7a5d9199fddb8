"""Istio's `networking.istio.io` kinds: a module for each, with its model, validation and refusals."""
