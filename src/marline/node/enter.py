"""Becomes another program, in the place and with the rights that it is to have.

Started as a script by `process.spawn`, for every child of Marline: it enters a network namespace, gives up
user, groups and capabilities, makes the kernel kill it if its parent dies, and executes the command in
its own process. It must start in milliseconds, so it imports nothing but the standard library, and little
of that. One thing that only this order makes possible: the kernel forgets PR_SET_PDEATHSIG when
credentials change (prctl(2)), so it is set last.
"""

import ctypes
import os
import resource
import signal
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 40
"""CAP_CHECKPOINT_RESTORE; the kernel refuses to drop what it does not know, which is no harm."""
NETWORK_CAPABILITIES = (12, 13, 16, 17, 19, 21, 22, 25)
"""NET_ADMIN, NET_RAW, SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, SYS_BOOT, SYS_TIME: with these an
application could undo its capture or harm the machine."""

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The kernel did not do what was asked."""


def call(what: str, *arguments: object) -> None:
    function = what.split("(")[0]
    if getattr(_libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise Refused(f"{what}: {os.strerror(number)}")


def enter_network(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    call("setns(network)", descriptor, CLONE_NEWNET)
    os.close(descriptor)


def replace_resolv_conf(path: str) -> None:
    """Only for this process and its children: in a mount namespace of its own."""
    call("unshare(mounts)", CLONE_NEWNS)
    call("mount(/)", None, b"/", None, ctypes.c_ulong(MS_REC | MS_SLAVE), None)
    target = os.path.realpath("/etc/resolv.conf").encode()
    call("mount(/etc/resolv.conf)", os.fsencode(path), target, None, ctypes.c_ulong(MS_BIND), None)


def drop_bounding(capabilities: object) -> None:
    for number in capabilities:  # type: ignore[attr-defined]
        _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


def keep_capabilities(kept: list[int]) -> None:
    """Have only these, which this process must have; none is inherited."""
    call("prctl(ambient capabilities)", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    # Effective, permitted and inheritable; first the lower 32 of all three, then the upper.
    sets = (ctypes.c_uint32 * 6)()
    for number in kept:
        for which in (0, 1):
            sets[3 * (number // 32) + which] |= 1 << number % 32
    call("capset(what is kept)", ctypes.byref(header), ctypes.byref(sets))


def inherit_no_capabilities() -> None:
    """Some container runtimes fill the inheritable set, past which the bounding set does not help root."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    call("capget(all)", ctypes.byref(header), ctypes.byref(sets))
    sets[2] = sets[5] = 0
    call("capset(inheritable)", ctypes.byref(header), ctypes.byref(sets))


def become(options: dict[str, str]) -> None:
    everything = "drop-all" in options
    kept = [int(number) for number in options.get("keep", "").split(",") if number]
    if everything:
        drop_bounding(number for number in range(LAST_CAPABILITY + 1) if number not in kept)
    elif "drop-network" in options:
        drop_bounding(NETWORK_CAPABILITIES)
        inherit_no_capabilities()
    if "groups" in options:
        os.setgroups([int(group) for group in options["groups"].split(",") if group])
    if "gid" in options:
        gid = int(options["gid"])
        os.setresgid(gid, gid, gid)
    if "uid" in options:
        uid = int(options["uid"])
        os.setresuid(uid, uid, uid)
    if everything:
        keep_capabilities(kept)
        call("prctl(no new privileges)", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    call("prctl(parent's death)", PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        raise Refused("the parent has ended already")


def restore_defaults() -> None:
    """Python ignores these two, and what is ignored stays so across execve."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def parse(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """`--name=value …  -- command`."""
    end = arguments.index("--")
    pairs = (argument.removeprefix("--").partition("=") for argument in arguments[:end])
    return {name: value for name, _, value in pairs}, arguments[end + 1 :]


def main(arguments: list[str]) -> int:
    options, command = parse(arguments)
    program: str | int = command[0]
    try:
        if "netns" in options:
            enter_network(options["netns"])
        if "resolv-conf" in options:
            replace_resolv_conf(options["resolv-conf"])
        if "chdir" in options:
            os.chdir(options["chdir"])
        if "open-files" in options:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if "drop-all" in options:
            # Without capabilities even root may not reach a file below another user's home.
            program = os.open(command[0], os.O_RDONLY | os.O_CLOEXEC)
        become(options)
        if "parent" in options:
            die_with(int(options["parent"]))
        restore_defaults()
        if "unset" in options:
            # Python sets LC_CTYPE if there is no locale (PEP 538), which is not the program's affair.
            os.environ.pop(options["unset"], None)
        if isinstance(program, int):
            os.execve(program, command, os.environ)  # noqa: S606 (there must be no shell)
        os.execvp(program, command)  # noqa: S606
    except (OSError, Refused) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        print(f"marline: cannot run {command[0]}: {reason}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
