"""SPIFFE identity: the certificate authority, X.509-SVIDs and their rotation, delivery over SDS.

Certificate signing requests and the time come in; certificates, trust bundles and SDS secrets go out.
Private keys are made where they are used and never travel. Imports `mesh` and `api` only.
"""
