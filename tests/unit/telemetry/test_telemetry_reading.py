"""Asking all proxies, of which some do not answer."""

from exposition import call, requests

from marline.telemetry.reading import PATH, Unreadable, read


async def test_what_answers_is_read_and_what_does_not_is_said() -> None:
    asked = []

    async def answers(path: str) -> str:
        asked.append(path)
        return requests({call("source", "productpage-1"): 3}) + "other{ is not read\n"

    async def is_gone(path: str) -> str:
        raise Unreadable("no such file")

    async def babbles(path: str) -> str:
        return "envoy_istio_requests_total{\n"

    found = await read({"one": answers, "two": is_gone, "three": babbles}, lambda: 12.5)
    assert asked == [PATH]
    assert (found.at, set(found.proxies)) == (12.5, {"one"})
    assert found.unreadable["two"] == "no such file"
    assert "NAME{LABELS} VALUE" in found.unreadable["three"]
