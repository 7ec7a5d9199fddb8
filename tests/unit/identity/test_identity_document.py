"""What the page on identity tells users to type makes an authority that is taken."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from marline.identity.ca_plugin import load_plugin
from marline.identity.spiffe import workload_id
from marline.identity.svid import accept, make_csr, make_key

PAGE = Path(__file__).parents[3] / "docs" / "identity.md"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_commands_make_an_authority(tmp_path: Path) -> None:
    commands = "".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL))
    subprocess.run(["sh", "-e", "-c", commands], cwd=tmp_path, check=True, capture_output=True)
    authority = load_plugin(tmp_path, "cluster.local", time.time())
    key, identity = make_key(), workload_id("cluster.local", "default", "reviews")
    accept(key, identity, authority.sign(make_csr(key), identity, 3600, time.time()))
