"""SPIFFE identity: the certificate authority, X.509-SVIDs and their rotation, delivery over SDS.

Certificate signing requests and the time come in; certificates, trust bundles and SDS secrets go out.
Private keys are made where they are used and never travel. Imports nothing else of Marline but, from
`compile`, the names by which Envoy's configuration refers to its secrets.
"""
