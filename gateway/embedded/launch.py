"""Becomes a server's process: gives up rights, ties its life to ours, then execs.

processes.py runs this file as a script in a fresh interpreter, because between
fork and exec of a program with threads no Python code is safe to run.

Arguments: uid gid reach|plain death-signal parent-pid program [arguments...]
"""

import ctypes
import os
import sys

# From <linux/prctl.h>, <linux/securebits.h> and <linux/capability.h>.
PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_READ_SEARCH = 2


class CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class CapabilityWord(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


LIBC = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *arguments: int) -> None:
    words = [ctypes.c_ulong(argument) for argument in arguments]
    words += [ctypes.c_ulong(0)] * (4 - len(words))
    if LIBC.prctl(option, *words) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def keep_only_read_and_search() -> None:
    """Keep CAP_DAC_READ_SEARCH, and nothing else, across the coming exec."""
    mask = 1 << CAP_DAC_READ_SEARCH
    header = CapabilityHeader(CAPABILITY_VERSION_3, 0)
    words = (CapabilityWord * 2)(CapabilityWord(mask, mask, mask))
    if LIBC.capset(ctypes.byref(header), words) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH)


def become(uid: int, gid: int, *, reach: bool) -> None:
    if uid == os.geteuid():
        return
    if reach:
        # Without this bit setuid drops the capability, and access(2), with which
        # PostgreSQL looks for its own programs, would not honour it either.
        prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if reach:
        keep_only_read_and_search()


def main(arguments: list[str]) -> None:
    uid, gid, rights, death_signal, parent, *command = arguments
    os.umask(0o077)
    become(int(uid), int(gid), reach=rights == "reach")
    if sys.platform == "linux":
        # After setuid, which clears it.
        prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != int(parent):
        sys.exit("the supervisor ended before its server began")
    os.execv(command[0], command)  # noqa: S606  # no shell is the point


if __name__ == "__main__":
    main(sys.argv[1:])
