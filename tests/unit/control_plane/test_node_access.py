"""Joining, and what a node may ask for: the control plane's endpoints behind their API server."""

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from marline.api.decode import decode
from marline.control_plane.endpoints import endpoints
from marline.controllers.authority import AuthorityLoop
from marline.identity import endpoint
from marline.identity.ca_home import open_home
from marline.identity.jwt_keys import JwtKeys
from marline.identity.svid import key_pem, make_csr, make_key
from marline.identity.trust_endpoint import TrustEndpoint
from marline.mesh.model import ChangeSet, MeshSettings, Proxy
from marline.mesh.patches import PatchId
from marline.store.embedded.credentials import ApiCredentials, KeyPair, User, write_kubeconfig
from marline.store.embedded.join_tokens import JoinTokens
from marline.store.embedded.server import serve
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import BadRequest, Forbidden, Refused, Unavailable
from marline.store.remote.client import RemoteStore
from marline.store.remote.kubeconfig import Connection
from marline.store.tokens import ADMINS, CERTIFICATES, JOIN, JOIN_TOKENS, NODE_LABEL, PATH
from marline.xds import messages
from marline.xds.hub import Hub

CSR = make_csr(make_key())


class Unobserved:
    """Hears of proxies; none connects here."""

    def connected(self, proxy: Proxy) -> None: ...

    def disconnected(self, proxy: Proxy) -> None: ...

    def refused(self, proxy: Proxy, refused: messages.Refused) -> None: ...

    def patched(self, proxy: Proxy, patches: frozenset[PatchId]) -> None: ...

    def settled(self, proxy: Proxy, settled: messages.Settled) -> None: ...


class Api:
    """An API server with all endpoints, and clients of it."""

    def __init__(
        self, directory: Path, credentials: ApiCredentials, url: str, store: EmbeddedStore, hub: Hub
    ) -> None:
        self.directory, self.credentials, self.url, self.store = directory, credentials, url, store
        self.hub = hub

    def client(self, name: str, *groups: str) -> RemoteStore:
        return self.with_pair(self.credentials.issue(User(name, groups)))

    def with_pair(self, pair: KeyPair) -> RemoteStore:
        path = self.directory / "kubeconfig"
        write_kubeconfig(path, self.url, self.credentials.authority, pair)
        return RemoteStore.from_kubeconfig(path)

    def stranger(self) -> RemoteStore:
        tls = ssl.create_default_context(cadata=self.credentials.authority.decode())
        return RemoteStore(Connection(self.url, tls=tls))

    async def post(self, client: RemoteStore, path: str, **body: Any) -> Any:
        async with client:
            return (await client.request("POST", path, body=body)).json()

    async def join_token(self, node: str, seconds: float = 600) -> str:
        made = await self.post(self.client("admin", ADMINS), JOIN_TOKENS, node=node, ttlSeconds=seconds)
        return str(made["token"])

    async def register(self, name: str, node: str = "", account: str = "reviews") -> None:
        labels = {NODE_LABEL: node} if node else {}
        await self.store.create(
            {
                "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
                "metadata": {"name": name, "namespace": "default", "labels": labels},
                "spec": {"address": "10.0.0.1", "serviceAccount": account, "labels": {"app": "reviews"}},
            }
        )  # fmt: skip

    async def sign(self, client: RemoteStore, account: str = "reviews", namespace: str = "default") -> Any:
        spiffe_id = f"spiffe://cluster.local/ns/{namespace}/sa/{account}"
        return await self.post(client, endpoint.PATH, csr=CSR, spiffeId=spiffe_id)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    store = await EmbeddedStore.open(tmp_path / "marline.db")
    credentials = ApiCredentials.open(tmp_path / "api")
    signing = endpoint.SignEndpoint(open_home(tmp_path / "ca", "cluster.local", time.time()), "cluster.local")
    hub = Hub(MeshSettings(), Unobserved())
    trust = TrustEndpoint(signing, JwtKeys(tmp_path / "jwt" / "keys.json"))
    authority = AuthorityLoop(signing, None, "own", time.time)
    extra = endpoints(hub, authority, trust, credentials, store, JoinTokens(tmp_path / "join.json"))
    server = await serve(store, credentials=credentials, extra=extra, open_paths=(JOIN,))
    yield Api(tmp_path, credentials, f"https://127.0.0.1:{server.port}", store, hub)
    await server.close()
    await store.close()


async def joined(api: Api, node: str) -> RemoteStore:
    key = make_key()
    token = await api.join_token(node)
    answer = await api.post(api.stranger(), JOIN, node=node, token=token, csr=make_csr(key))
    return api.with_pair(KeyPair(answer["certificate"].encode(), key_pem(key).encode()))


async def test_a_node_joins_and_signs_for_what_is_registered_to_it(api: Api) -> None:
    await api.register("r", "edge-1")
    node = await joined(api, "edge-1")
    assert (await api.sign(node))["chain"].startswith("-----BEGIN CERTIFICATE")


async def test_nothing_is_signed_for_a_revoked_identity(api: Api) -> None:
    await api.register("r", "edge-1")
    node, identity = await joined(api, "edge-1"), "spiffe://cluster.local/ns/default/sa/reviews"
    head = {"apiVersion": "policy.marline.io/v1alpha1", "kind": "RevokedIdentity", "metadata": {"name": "r"}}
    revoked = decode({**head, "spec": {"spiffeId": identity}})
    await api.hub.apply(ChangeSet((revoked,), (), "1"))
    with pytest.raises(Forbidden, match="is revoked"):
        await api.sign(node)
    await api.hub.apply(ChangeSet((), (revoked.ref,), "2"))
    assert (await api.sign(node))["chain"]


async def test_a_join_token_is_used_once(api: Api) -> None:
    token = await api.join_token("edge-1")
    await api.post(api.stranger(), JOIN, node="edge-1", token=token, csr=CSR)
    with pytest.raises(Refused, match="join token is not valid"):
        await api.post(api.stranger(), JOIN, node="edge-1", token=token, csr=CSR)


async def test_a_join_token_is_of_one_node_and_used_up_by_a_bad_request(api: Api) -> None:
    token = await api.join_token("edge-1")
    for node, given in (("edge-2", token), ("edge-1", token + "x"), ("edge-1", "")):
        with pytest.raises(Refused) as refused:
            await api.post(api.stranger(), JOIN, node=node, token=given, csr=CSR)
        assert refused.value.code == 401
    with pytest.raises(BadRequest, match="csr cannot be read"):
        await api.post(api.stranger(), JOIN, node="edge-1", token=token, csr="x")
    with pytest.raises(Refused):
        await api.post(api.stranger(), JOIN, node="edge-1", token=token, csr=CSR)


def test_a_join_token_ends_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "join.json"
    tokens = JoinTokens(path)
    early, late = tokens.create("edge-1", 60, now=0), tokens.create("edge-1", 60, now=30)
    assert early not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(Refused):
        tokens.redeem(early, "edge-1", now=60)
    JoinTokens(path).redeem(late, "edge-1", now=89)
    with pytest.raises(Refused):
        JoinTokens(path).redeem(late, "edge-1", now=89)
    for seconds in (0, 9, 10**9, float("nan")):
        with pytest.raises(BadRequest):
            tokens.create("edge-1", seconds, now=0)


async def test_other_identities_are_not_for_a_node(api: Api) -> None:
    await api.register("mine", "edge-1")
    await api.register("other", "edge-2", "payments")
    await api.register("unbound", "", "ratings")
    for account, namespace in (("payments", "default"), ("ratings", "default"), ("reviews", "shop")):
        with pytest.raises(Forbidden, match=r"marline\.io/node: edge-1"):
            await api.sign(api.client("system:node:edge-1", "marline:nodes"), account, namespace)
    with pytest.raises(Forbidden, match="its name is not system:node:<name>"):
        await api.sign(api.client("edge-1", "marline:nodes"))
    with pytest.raises(Forbidden, match='cannot create resource "serviceaccounts/certificate"'):
        await api.sign(api.client("system:node:edge-1", "x"))


async def test_an_identity_ends_with_its_registration(api: Api) -> None:
    await api.register("a", "edge-1")
    await api.register("b", "edge-1")
    for name in ("a", "b"):
        await api.sign(api.client("system:node:edge-1", "marline:nodes"))
        async with api.client("admin", ADMINS) as admin:
            await admin.request("DELETE", f"{ENTRIES}/{name}")
    with pytest.raises(Forbidden):
        await api.sign(api.client("system:node:edge-1", "marline:nodes"))


async def test_a_node_that_asks_for_certificates_without_end_is_told_to_wait(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.register("r", "edge-1")
    monkeypatch.setattr("marline.control_plane.endpoints.time.monotonic", lambda: 0.0)
    spiffe_id = "spiffe://cluster.local/ns/default/sa/reviews"
    async with api.client("system:node:edge-1", "marline:nodes") as node:

        async def ask() -> None:
            await node.request("POST", endpoint.PATH, body={"csr": CSR, "spiffeId": spiffe_id})

        with pytest.raises(Unavailable, match="too many certificates"):
            for _ in range(201):
                await ask()
        await api.sign(api.client("admin", ADMINS))


ENTRIES = "/apis/networking.istio.io/v1/namespaces/default/workloadentries"
MERGE = "application/merge-patch+json"


async def test_a_node_says_where_its_workloads_are_and_not_what_they_are(api: Api) -> None:
    await api.register("mine", "edge-1")
    await api.register("other", "edge-2")
    async with api.client("system:node:edge-1", "marline:nodes") as node:
        await node.request(
            "PATCH", f"{ENTRIES}/mine", body={"spec": {"address": "10.0.0.2"}}, content_type=MERGE
        )
        await node.request("PATCH", f"{ENTRIES}/mine/status", body={"status": {"x": 1}}, content_type=MERGE)
        for name, patch in (
            ("mine", {"spec": {"serviceAccount": "payments"}}),
            ("mine", {"spec": {"labels": {"app": "payments"}}}),
            ("mine", {"metadata": {"labels": {NODE_LABEL: "edge-2"}}}),
            ("other", {"spec": {"address": "10.0.0.2"}}),
            ("other", {"metadata": {"labels": {NODE_LABEL: "edge-1"}}}),
        ):
            with pytest.raises(Forbidden):
                await node.request("PATCH", f"{ENTRIES}/{name}", body=patch, content_type=MERGE)
        with pytest.raises(Forbidden):
            await node.request(
                "PATCH", f"{ENTRIES}/other/status", body={"status": {"x": 1}}, content_type=MERGE
            )
        with pytest.raises(Forbidden):
            await node.request("DELETE", f"{ENTRIES}/mine")
        with pytest.raises(Forbidden):
            await node.list("", "Secret")
        assert len((await node.list("networking.istio.io", "WorkloadEntry")).items) == 2


async def test_credentials_are_made_for_those_whom_one_may_act_as(api: Api) -> None:
    rules = [
        {"verbs": ["post"], "nonResourceURLs": [CERTIFICATES, PATH, JOIN_TOKENS]},
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["bob"]},
    ]
    common = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "helpdesk"}}
    bound = {
        "roleRef": {"kind": "ClusterRole", "name": "helpdesk"},
        "subjects": [{"kind": "User", "name": "alice"}],
    }
    roles = (
        common | {"kind": "ClusterRole", "rules": rules},
        common | {"kind": "ClusterRoleBinding"} | bound,
    )
    for obj in roles:
        await api.store.create(obj)
    made = await api.post(api.client("alice"), CERTIFICATES, user="bob", csr=CSR, ttlSeconds=3600)
    assert made["certificate"].startswith("-----BEGIN")
    assert (await api.post(api.client("alice"), PATH, user="bob"))["token"]
    for path, body in (
        (CERTIFICATES, {"user": "carol", "csr": CSR}),
        (CERTIFICATES, {"user": "bob", "groups": [ADMINS], "csr": CSR}),
        (PATH, {"user": "bob", "groups": [ADMINS]}),
        (JOIN_TOKENS, {"node": "edge-1"}),
    ):
        with pytest.raises(Forbidden, match=r'cannot impersonate resource "(users|groups)"'):
            await api.post(api.client("alice"), path, **body)
    with pytest.raises(Forbidden, match="cannot post path"):
        await api.post(api.client("bob"), CERTIFICATES, user="bob", csr=CSR)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CERTIFICATES, {"user": "", "csr": CSR}),
        (CERTIFICATES, {"user": "x" * 65, "csr": CSR}),
        (CERTIFICATES, {"user": "a\nb", "csr": CSR}),
        (CERTIFICATES, {"user": "a", "csr": "-----BEGIN"}),
        (CERTIFICATES, {"user": "a", "csr": "x" * 20_000}),
        (CERTIFICATES, {"user": "a", "csr": CSR, "ttlSeconds": 1}),
        (CERTIFICATES, {"user": "a", "csr": CSR, "ttlSeconds": 1e30}),
        (PATH, {"user": "a", "ttlSeconds": -1}),
        (JOIN_TOKENS, {"node": "../edge"}),
        (JOIN_TOKENS, {"node": "edge", "more": 1}),
        (JOIN, {"node": "edge", "token": 1, "csr": CSR}),
    ],
)
async def test_nonsense_is_a_bad_request(api: Api, path: str, body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        await api.post(api.client("admin", ADMINS), path, **body)


async def test_a_token_with_a_life_ends(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    token = (await api.post(api.client("admin", ADMINS), PATH, user="robot", ttlSeconds=60))["token"]
    assert api.credentials.user_of_token(token) == User("robot")
    later = time.time() + 61
    monkeypatch.setattr("marline.store.embedded.credentials.time.time", lambda: later)
    assert api.credentials.user_of_token(token) is None
