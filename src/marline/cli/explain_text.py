"""An explanation as text: what was decided, and beneath it what decides it."""

from collections.abc import Iterator
from typing import Final

from marline.cli.output import bad, doubtful, good
from marline.explain.steps import Ending, Explanation, Fate, Step, percent

_WIDTH: Final = 16
_STYLES: Final = {Fate.ANSWERED: good, Fate.REFUSED: bad, Fate.UNKNOWN: doubtful}
_NOT: Final = frozenset({"route"})
"""Steps whose details are what was not chosen."""


def render(found: Explanation) -> str:
    lines = [f"{found.source} → {found.request}", ""]
    for step in found.steps:
        lines += _step(step)
    lines.append("")
    lines += [_ending(item) for item in found.endings if item.share > 0]
    lines += [f"{'':{_WIDTH}}not evaluated: {doubt}" for doubt in found.doubts]
    if any(place.line and not place.file for place in found.places()):
        lines += ["", "Lines are those that marline get KIND NAME -o yaml prints."]
    return "\n".join(lines)


def _step(step: Step) -> Iterator[str]:
    yield f"{step.topic[0].upper() + step.topic[1:]:{_WIDTH}}{step.text}"
    if step.place is not None:
        yield f"{'':{_WIDTH}}└ {step.place.text}"
    for detail in step.details:
        said = f"not: {detail.text}" if step.topic in _NOT else detail.text
        yield f"{'':{_WIDTH}}  {said}"
        if detail.place is not None:
            yield f"{'':{_WIDTH}}  └ {detail.place.text}"


def _ending(ending: Ending) -> str:
    share = "" if ending.share >= 1 else f"{percent(ending.share)}: "
    status = f" ({ending.status})" if ending.status and str(ending.status) not in ending.text else ""
    return f"{'Answer':{_WIDTH}}{share}{_STYLES[ending.fate](ending.text + status)}"
