"""`python -m marline.control_plane --home PATH`: serve a home's mesh until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import sys

from marline.control_plane.wiring import run
from marline.identity.errors import IdentityError
from marline.node.errors import NodeError, StartFailed
from marline.node.home import find_home, load_config
from marline.store.interface import StoreError


def main(arguments: list[str]) -> int:
    """The exit code: 1 if it could not start, with the reason in the log."""
    parser = argparse.ArgumentParser(prog="marline.control_plane", description=__doc__)
    parser.add_argument("--home", required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        home = find_home(options.home)
        config = load_config(home)
        if config is None:
            raise StartFailed("the control plane", f"there is no {home.config_file}")
        asyncio.run(run(home, config))
    except (NodeError, IdentityError, StoreError, OSError) as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
