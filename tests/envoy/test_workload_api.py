"""The SPIFFE Workload API, called by the real clients of the `spiffe` package from processes of their own."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest_asyncio
from workload_api_callers import BACKUP, REPORTS, Api, workload_api

from marline.identity.jwt_svid import sign
from marline.identity.spiffe import parse
from marline.identity.svid import make_key

ME = f"unix:uid:{os.geteuid()}"
SVIDS = "say(ids=[str(item.spiffe_id) for item in client.fetch_x509_svids()])"
WATCH = """
import threading
def told(context):
    ids = [str(item.spiffe_id) for item in context.x509_svids]
    say(serial=str(context.default_svid.leaf.serial_number), ids=ids)
client.stream_x509_contexts(told, lambda error: say(message=str(error)))
threading.Event().wait()
"""
TOKEN = """
made = client.fetch_jwt_svid({"payments"})
checked = client.validate_jwt_svid(made.token, "payments")
keys = client.fetch_jwt_bundles().get_bundle_for_trust_domain(made.spiffe_id.trust_domain).jwt_authorities
say(id=str(checked.spiffe_id), token=made.token, keys=list(keys))
"""


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with workload_api(tmp_path) as made:
        yield made


async def test_a_process_gets_the_identity_that_it_is_registered_for(api: Api) -> None:
    whole = """
svid = client.fetch_x509_svid()
roots = client.fetch_x509_bundles().get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
svid.leaf.verify_directly_issued_by(svid.cert_chain[1])
svid.cert_chain[1].verify_directly_issued_by(next(iter(roots.x509_authorities)))
say(id=str(svid.spiffe_id), key=svid.private_key.public_key() == svid.leaf.public_key())
"""
    async with api.identity(BACKUP, ME):
        assert await api.ask(whole) == {"id": BACKUP, "key": True}


async def test_a_process_that_matches_several_has_all_of_them(api: Api) -> None:
    async with api.identity(BACKUP, ME), api.identity(REPORTS, f"unix:gid:{os.getegid()}"):
        assert await api.ask(SVIDS) == {"ids": [BACKUP, REPORTS]}
        asked = 'say(ids=[str(item.spiffe_id) for item in client.fetch_jwt_svids({"a"})])'
        assert await api.ask(asked) == {"ids": [BACKUP, REPORTS]}
        chosen = f'say(id=str(client.fetch_jwt_svid({{"a"}}, SpiffeId("{REPORTS}")).spiffe_id))'
        assert await api.ask(chosen) == {"id": REPORTS}


async def test_a_process_that_is_registered_for_nothing_is_refused(api: Api) -> None:
    async with api.identity(BACKUP, "unix:uid:4000000000"):
        for code in (SVIDS, TOKEN, "client.fetch_x509_bundles()", "client.fetch_jwt_bundles()"):
            assert "PERMISSION_DENIED" in (await api.ask(code))["message"]


async def test_nobody_has_a_token_of_an_identity_that_is_not_his(api: Api) -> None:
    async with api.identity(BACKUP, ME), api.identity(REPORTS, "unix:uid:4000000000"):
        asked = f'client.fetch_jwt_svid({{"a"}}, SpiffeId("{REPORTS}"))'
        assert "PERMISSION_DENIED" in (await api.ask(asked))["message"]


async def test_a_token_is_made_and_validated(api: Api) -> None:
    async with api.identity(BACKUP, ME):
        said = await api.ask(TOKEN)
        assert said["id"] == BACKUP
        assert len(said["keys"]) == 1
        for_others = f'client.validate_jwt_svid({said["token"]!r}, "others")'
        assert "not for the audience" in (await api.ask(for_others))["message"]
        forged = sign(make_key(), said["keys"][0], parse(BACKUP), ["payments"], time.time(), time.time() + 60)
        refused = await api.ask(f'client.validate_jwt_svid({forged!r}, "payments")')
        assert "the signature is wrong" in refused["message"]


async def test_a_stream_has_the_whole_state_again_when_anything_changes(api: Api) -> None:
    async with api.identity(BACKUP, ME, ttl=3.0) as source, api.caller(WATCH) as caller:
        first = await caller.says()
        renewed = await caller.says()  # at half of its life
        assert renewed["serial"] != first["serial"]
        assert source.current is not None
        async with api.identity(REPORTS, ME):
            while len((said := await caller.says())["ids"]) < 2:
                assert said["ids"] == [BACKUP]
            assert said["ids"] == [BACKUP, REPORTS]
        while (await caller.says())["ids"] != [BACKUP]:
            pass


async def test_a_new_signing_key_reaches_those_who_watch(api: Api) -> None:
    watch = """
for bundles in client._spiffe_workload_api_stub.FetchJWTBundles(workload_pb2.JWTBundlesRequest()):
    say(keys=len(json.loads(bundles.bundles["spiffe://cluster.local"])["keys"]))
"""
    async with (
        api.identity(BACKUP, ME),
        api.caller("from spiffe._proto import workload_pb2\n" + watch) as caller,
    ):
        assert await caller.says() == {"keys": 1}
        api.trust.keys.at(time.time() + 23.5 * 3600)  # announced an hour before it signs
        api.refresh()
        assert await caller.says() == {"keys": 2}


async def test_registration_by_path_checksum_and_cgroup(api: Api) -> None:
    said = await api.ask('import os, hashlib; exe = os.readlink("/proc/self/exe"); say(exe=exe, sum='
                         'hashlib.sha256(open(exe, "rb").read()).hexdigest())')  # fmt: skip
    right, wrong = f"unix:sha256:{said['sum']}", f"unix:sha256:{'0' * 64}"
    path = f"unix:path:{said['exe']}"
    async with api.identity(BACKUP, right, path), api.identity(REPORTS, wrong, path):
        assert await api.ask(SVIDS) == {"ids": [BACKUP]}
    async with api.identity(BACKUP, wrong), api.identity(REPORTS, "unix:path:/bin/sh", ME):
        assert "PERMISSION_DENIED" in (await api.ask(SVIDS))["message"]


async def test_calls_without_the_security_header_are_invalid(api: Api) -> None:
    def call(path: str) -> grpc.StatusCode:
        with grpc.insecure_channel(f"unix:{api.server.path}") as channel:
            try:
                list(channel.unary_stream(path)(b"", timeout=10))
            except grpc.RpcError as error:
                code: grpc.StatusCode = error.code()
                return code
        return grpc.StatusCode.OK

    async with api.identity(BACKUP, ME):
        for method in ("FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles", "FetchJWTSVID"):
            found = await asyncio.to_thread(call, f"/SpiffeWorkloadAPI/{method}")
            assert found is grpc.StatusCode.INVALID_ARGUMENT, method
    found = await asyncio.to_thread(call, "/SpiffeWorkloadAPI/FetchX509SVID")
    assert found is grpc.StatusCode.INVALID_ARGUMENT, "also of one that is registered for nothing"
