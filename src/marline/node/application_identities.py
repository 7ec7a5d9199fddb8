"""The identities that an application file registers for processes that Marline does not run."""

from marline.api import rules
from marline.api.faults import Faults
from marline.api.model import Model
from marline.identity.errors import InvalidSelector
from marline.identity.selectors import parse_selector
from marline.node.workload import IdentitySpec


class IdentityItem(Model, frozen=True):
    namespace: str = ""
    service_account: str = ""
    selectors: tuple[str, ...] = ()


def identity_of(name: str, item: IdentityItem, namespace: str, faults: Faults) -> IdentitySpec:
    rules.dns_label(name, faults)
    rules.dns_label(item.namespace or namespace, faults.at("namespace"))
    if item.service_account:
        rules.dns_subdomain(item.service_account, faults.at("serviceAccount"))
    faults.required(item.selectors, "selectors")
    for index, text in enumerate(item.selectors):
        try:
            parse_selector(text)
        except InvalidSelector as error:
            faults.at("selectors").item(index).add(str(error))
    return IdentitySpec(name, item.selectors, item.namespace or namespace, item.service_account)
