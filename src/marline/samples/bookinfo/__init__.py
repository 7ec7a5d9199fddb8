"""Bookinfo: Istio's sample application, written anew with Python's standard library alone.

Four programs, behaving as istio.io ("Bookinfo Application") says: `productpage` calls `details` and
`reviews`, of which there are three versions, and two of those call `ratings`. Beside them are
the application file (`bookinfo.yaml`) and, in `networking/`, the resources of Istio's tasks.
"""

from pathlib import Path
from typing import Final

APPLICATION_FILE: Final = Path(__file__).with_name("bookinfo.yaml")
NETWORKING: Final = Path(__file__).with_name("networking")
"""Istio-format resources, one file for each step of a task."""
