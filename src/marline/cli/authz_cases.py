"""Files of cases for `marline authz test`: who calls whom with what, and whether that is to be allowed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from marline.api import rules
from marline.api.documents import Document
from marline.api.errors import InvalidResource
from marline.api.faults import Faults
from marline.api.model import Model
from marline.api.shape import convert
from marline.api.yaml_values import read_value
from marline.cli.exits import Failed


class Case(Model, frozen=True):
    """One question and the answer that is wanted."""

    from_: str
    """`anyone`, a SPIFFE ID, `<namespace>/<service account>`, or a workload."""
    to: str
    """A service: `host` or `host:port`."""
    expect: Literal["allow", "deny", "ask"]
    name: str = ""
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    method: str = "GET"
    path: str = "/"
    headers: dict[str, str] = {}
    claims: dict[str, Any] | None = None
    """Of a valid token that the request brings."""
    source_ip: str = ""

    @property
    def title(self) -> str:
        asked = f"{self.from_} → {self.to}{f':{self.port}' if self.port else ''} {self.method} {self.path}"
        return self.name or asked


class CaseFile(Model, frozen=True):
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class ReadCase:
    """A case, and where it is written."""

    case: Case
    file: str
    line: int


def read_cases(path: Path) -> tuple[ReadCase, ...]:
    """Raises `Failed`, and `InvalidResource` with all faults of the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{path} cannot be read: {error}") from error
    faults = Faults()
    value, lines = read_value(text, faults)
    document = Document({}, str(path), 1, lines)
    read = convert(value, CaseFile, faults) if not faults.errors else None
    for index, case in enumerate(read.cases if read is not None else ()):
        _validate(case, faults.at("cases").item(index))
    if read is None or faults.errors:
        raise document.locate(InvalidResource(str(path), tuple(faults.errors)))
    if not read.cases:
        raise Failed(f"there are no cases in {path}")
    return tuple(
        ReadCase(case, str(path), document.line(f"cases[{index}]")) for index, case in enumerate(read.cases)
    )


def _validate(case: Case, faults: Faults) -> None:
    if not case.path.startswith("/"):
        faults.at("path").add(f"{case.path!r} does not begin with /")
    if case.source_ip and not rules.is_ip(case.source_ip):
        faults.at("sourceIp").add(f"{case.source_ip!r} is no IP address")
    for name, value in case.headers.items():
        rules.header_name(name, faults.at("headers").key(name))
        if any(character in value for character in "\r\n\0"):
            faults.at("headers").key(name).add("has a character that a header cannot carry")
