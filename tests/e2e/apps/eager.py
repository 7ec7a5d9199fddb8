"""A service that calls its upstream before it does anything else, and gives up if it is not answered."""

import asyncio
import os
import urllib.request

import echo

with urllib.request.urlopen(f"{os.environ['ECHO_URL']}/eager", timeout=10) as answer:
    assert answer.status == 200
asyncio.run(echo.main())
