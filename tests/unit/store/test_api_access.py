"""Who may talk to the API server."""

import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from served_store import Served

from marline.store.embedded.credentials import ApiCredentials, User, write_kubeconfig
from marline.store.embedded.server import USER, serve
from marline.store.interface import Forbidden, Refused, Unavailable
from marline.store.remote.client import RemoteStore
from marline.store.tokens import ADMINS


async def plain_get(served: Served, path: str, token: str = "") -> tuple[int, Any]:
    tls = ssl.create_default_context(cadata=served.credentials.authority.decode())
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"https://127.0.0.1:{served.server.port}{path}"
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url, ssl=tls) as response:
        return response.status, await response.read()


async def test_without_credentials_only_health_and_version_answer(served: Served) -> None:
    for path in ("/healthz", "/readyz", "/livez", "/version"):
        assert (await plain_get(served, path))[0] == 200
    for path in ("/api", "/apis", "/openapi/v3", "/api/v1/secrets", "/nowhere"):
        assert (await plain_get(served, path))[0] == 401


async def test_token_is_as_good_as_a_certificate(served: Served) -> None:
    token = served.credentials.add_token(User("robot", (ADMINS,)))
    assert (await plain_get(served, "/api/v1/secrets", token))[0] == 200
    assert (await plain_get(served, "/api/v1/secrets", token + "x"))[0] == 401
    assert (await plain_get(served, "/api/v1/secrets", "ü"))[0] == 401


async def test_tokens_survive_a_restart_and_are_kept_as_hashes(served: Served) -> None:
    token = served.credentials.add_token(User("robot", (ADMINS,)))
    again = ApiCredentials.open(served.directory / "api")
    assert again.user_of_token(token) == User("robot", (ADMINS,))
    assert again.authority == served.credentials.authority
    assert token not in (served.directory / "api" / "tokens.json").read_text()


async def test_certificate_of_another_authority_is_refused(served: Served, tmp_path: Path) -> None:
    other = ApiCredentials.open(tmp_path / "other")
    path = tmp_path / "stolen"
    address = f"https://127.0.0.1:{served.server.port}"
    pair = other.issue(User("admin", (ADMINS,)))
    write_kubeconfig(path, address, served.credentials.authority, pair)
    async with RemoteStore.from_kubeconfig(path) as client:
        with pytest.raises(Unavailable):
            await client.list("", "Secret")


async def test_server_of_another_authority_is_not_trusted(served: Served, tmp_path: Path) -> None:
    other = ApiCredentials.open(tmp_path / "other")
    path = tmp_path / "config"
    address = f"https://127.0.0.1:{served.server.port}"
    write_kubeconfig(path, address, other.authority, served.credentials.issue(User("admin", (ADMINS,))))
    async with RemoteStore.from_kubeconfig(path) as client:
        with pytest.raises(Unavailable, match="certificate"):
            await client.list("", "Secret")


async def test_servers_certificate_is_none_of_a_client(served: Served, tmp_path: Path) -> None:
    directory = served.directory / "api"
    pem = (directory / "server.pem").read_bytes()
    context = ssl.create_default_context(cadata=served.credentials.authority.decode())
    (tmp_path / "pair.pem").write_bytes(pem)
    context.load_cert_chain(tmp_path / "pair.pem")
    url = f"https://127.0.0.1:{served.server.port}/api/v1/secrets"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            async with session.get(url, ssl=context) as response:
                await response.read()


async def test_everybody_else_may_only_ask_who_he_is(served: Served) -> None:
    async with served.client("guest", "visitors") as guest:
        with pytest.raises(Forbidden):
            await guest.list("", "ConfigMap")
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        answer = (await guest.request("POST", path, body={})).json()
        assert answer["status"]["userInfo"]["username"] == "guest"
        assert "visitors" in answer["status"]["userInfo"]["groups"]


async def test_added_endpoints_know_the_user(served: Served, tmp_path: Path) -> None:
    async def whoami(request: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.json_response({"user": request[USER].name})

    extra = [("POST", "/marline/v1/whoami", whoami)]
    server = await serve(served.store, credentials=served.credentials, extra=extra)
    async with Served(served.store, server, served.credentials, tmp_path).client("me") as client:
        assert (await client.request("POST", "/marline/v1/whoami")).json() == {"user": "me"}
        with pytest.raises(Refused):
            await client.request("GET", "/marline/v1/whoami")
    await server.close()


def test_files_with_secrets_are_private(tmp_path: Path) -> None:
    credentials = ApiCredentials.open(tmp_path / "api")
    credentials.add_token(User("x"))
    config = tmp_path / "kubeconfig"
    pair = credentials.issue(User("admin", (ADMINS,)))
    write_kubeconfig(config, "https://127.0.0.1:1", credentials.authority, pair)
    paths = [config, *(tmp_path / "api").iterdir()]
    assert len(paths) == 5
    assert [path for path in paths if path.stat().st_mode & 0o077] == []
    assert yaml.safe_load(config.read_text())["current-context"] == "marline"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot read"),
        ("a: b", "no current context"),
        ("current-context: x", "no context 'x'"),
        ("[1]", "not a kubeconfig"),
    ],
)
def test_unusable_kubeconfig_is_explained(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(Unavailable, match=words):
        RemoteStore.from_kubeconfig(path)
    with pytest.raises(Unavailable, match="no kubeconfig"):
        RemoteStore.from_kubeconfig(tmp_path / "absent")
