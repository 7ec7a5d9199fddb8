"""A WebAssembly module for proxies, assembled here: it marks requests, and dies when it is told to.

It speaks the proxy-wasm ABI 0.2.1 (github.com/proxy-wasm/spec). To each request it adds `x-mark` (its
configuration), `x-root` (its root id) and `x-env` (the first variable of its environment). A request of
more than 40 headers makes it trap, and so does a new connection of a network filter whose configuration is
shorter than 3 bytes.
"""

from collections.abc import Iterable

I32, FUNC, NO_BLOCK = 0x7F, 0x60, 0x40
CONFIG, ROOT, COUNT, SIZE, FREE = 0, 16, 32, 36, 40
"""Addresses: of the configuration's place and length, of the root id's, of the environment's size."""
POINTERS, ENVIRONMENT, TEXT, HEAP = 1024, 2048, 512, 8192
TEXTS = {"x-mark": TEXT, "x-root": TEXT + 16, "x-env": TEXT + 32, "plugin_root_id": TEXT + 48}
_IMPORTS = (
    ("env", "proxy_add_header_map_value", 5),
    ("env", "proxy_get_buffer_bytes", 5),
    ("env", "proxy_get_property", 4),
    ("wasi_snapshot_preview1", "environ_sizes_get", 2),
    ("wasi_snapshot_preview1", "environ_get", 2),
)
ADD_HEADER, GET_BUFFER, GET_PROPERTY, ENVIRON_SIZES, ENVIRON = range(len(_IMPORTS))
END, TRAP, DROP, ADD, SUB, LESS, MORE = b"\x0b", b"\x00", b"\x1a", b"\x6a", b"\x6b", b"\x48", b"\x4a"


def _leb(value: int) -> bytes:
    """A number as WebAssembly writes it (signed and unsigned are alike below 64 of the last byte)."""
    made = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        if value == 0 and not byte & 0x40:
            return bytes((*made, byte))
        made.append(byte | 0x80)


def _unsigned(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*made, value))


def _vector(items: Iterable[bytes]) -> bytes:
    found = list(items)
    return _unsigned(len(found)) + b"".join(found)


def _sized(data: bytes) -> bytes:
    return _unsigned(len(data)) + data


def _name(text: str) -> bytes:
    return _sized(text.encode())


def const(value: int) -> bytes:
    return b"\x41" + _leb(value)


def load(address: int) -> bytes:
    return const(address) + b"\x28\x02\x00"


def local(index: int) -> bytes:
    return b"\x20" + _unsigned(index)


def call(function: int, *arguments: bytes) -> bytes:
    return b"".join(arguments) + b"\x10" + _unsigned(function) + DROP


def store(address: int, value: bytes) -> bytes:
    return const(address) + value + b"\x36\x02\x00"


def when(condition: bytes, *then: bytes) -> bytes:
    return condition + b"\x04" + bytes((NO_BLOCK,)) + b"".join(then) + END


def add_header(name: str, value: bytes, size: bytes) -> bytes:
    return call(ADD_HEADER, const(0), const(TEXTS[name]), const(len(name)), value, size)


_REQUEST = (
    when(local(1) + const(40) + MORE, TRAP),
    add_header("x-mark", load(CONFIG), load(CONFIG + 4)),
    call(GET_PROPERTY, const(TEXTS["plugin_root_id"]), const(14), const(ROOT), const(ROOT + 4)),
    add_header("x-root", load(ROOT), load(ROOT + 4)),
    call(ENVIRON_SIZES, const(COUNT), const(SIZE)),
    when(
        load(COUNT),
        call(ENVIRON, const(POINTERS), const(ENVIRONMENT)),
        add_header("x-env", load(POINTERS), load(SIZE) + const(1) + SUB),
    ),
    const(0),
)
_PLUGIN_CONFIGURATION = const(7)
_FUNCTIONS: dict[str, tuple[int, bool, tuple[bytes, ...]]] = {
    # name: (number of arguments, has a result, code)
    "proxy_abi_version_0_2_1": (0, False, ()),
    "proxy_on_memory_allocate": (
        1, True, (load(FREE), store(FREE, load(FREE) + local(0) + ADD)),
    ),
    "proxy_on_context_create": (2, False, ()),
    "proxy_on_vm_start": (2, True, (const(1),)),
    "proxy_on_configure": (
        2, True,
        (
            call(GET_BUFFER, _PLUGIN_CONFIGURATION, const(0), local(1), const(CONFIG), const(CONFIG + 4)),
            const(1),
        ),
    ),
    "proxy_on_request_headers": (3, True, _REQUEST),
    "proxy_on_new_connection": (1, True, (when(load(CONFIG + 4) + const(3) + LESS, TRAP), const(0))),
    "proxy_on_done": (1, True, (const(1),)),
}  # fmt: skip


def _type(arguments: int, has_result: bool) -> bytes:
    given = _vector([bytes((I32,))] * arguments)
    return bytes((FUNC,)) + given + _vector([bytes((I32,))] * has_result)


def marker() -> bytes:
    """The module."""
    shapes = [(count, True) for _, _, count in _IMPORTS]
    shapes += [(count, has_result) for count, has_result, _ in _FUNCTIONS.values()]
    functions = range(len(_IMPORTS), len(shapes))
    imports = [
        _name(room) + _name(name) + b"\x00" + _unsigned(index)
        for index, (room, name, _) in enumerate(_IMPORTS)
    ]
    exports = [
        _name(name) + b"\x00" + _unsigned(index) for name, index in zip(_FUNCTIONS, functions, strict=True)
    ]
    bodies = (_sized(b"\x00" + b"".join(code) + END) for _, _, code in _FUNCTIONS.values())
    texts = [b"\x00" + const(place) + END + _name(text) for text, place in TEXTS.items()]
    free = b"\x00" + const(FREE) + END + _sized(HEAP.to_bytes(4, "little"))
    sections = (
        (1, _vector(_type(*shape) for shape in shapes)),
        (2, _vector(imports)),
        (3, _vector(_unsigned(index) for index in functions)),
        (5, _vector([b"\x00" + _unsigned(4)])),
        (7, _vector([*exports, _name("memory") + b"\x02\x00"])),
        (10, _vector(bodies)),
        (11, _vector([*texts, free])),
    )
    return b"\x00asm\x01\x00\x00\x00" + b"".join(bytes((number,)) + _sized(data) for number, data in sections)
