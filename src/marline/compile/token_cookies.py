"""Tokens in cookies do not go on to the application unless they are meant to (Istio,
`JWTRule.forwardOriginalToken`). Envoy's filter takes verified tokens from headers and parameters, not from
cookies, so a script does.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from envoy.extensions.filters.http.lua.v3 import lua_pb2

FILTER: Final = "marline.token_cookies"
_SCRIPT: Final = """\
local taken = {%s}

function envoy_on_request(handle)
  local headers = handle:headers()
  local kept, found = {}, false
  for index = 0, headers:getNumValues("cookie") - 1 do
    for cookie in string.gmatch(headers:getAtIndex("cookie", index), "[^;]+") do
      cookie = string.match(cookie, "^%%s*(.-)%%s*$")
      if taken[string.match(cookie, "^([^=]-)%%s*=")] then
        found = true
      elseif cookie ~= "" then
        table.insert(kept, cookie)
      end
    end
  end
  if found then
    headers:remove("cookie")
    if #kept > 0 then
      headers:add("cookie", table.concat(kept, "; "))
    end
  end
end
"""


def take_cookies(manager: Any, names: Iterable[str]) -> None:
    """Let a connection manager take cookies of these names from requests. To stand after what reads them."""
    taken = ", ".join(f"[{_quoted(name)}]=true" for name in sorted(set(names)))
    if taken:
        script = lua_pb2.Lua()
        script.default_source_code.inline_string = _SCRIPT % taken
        manager.http_filters.add(name=FILTER).typed_config.Pack(script)


def _quoted(text: str) -> str:
    """As Lua reads it. Names of cookies are tokens (RFC 6265, 4.1.1), so there is nothing to escape."""
    return json.dumps(text)
