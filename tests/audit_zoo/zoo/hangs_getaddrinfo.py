"""Asks a name server that never answers: this process is configured, in the C library's own state, of a silent one."""

import ctypes
import socket

silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 0))
library = ctypes.CDLL(None)
library.__res_init()
library.__res_state.restype = ctypes.POINTER(ctypes.c_char)
state = ctypes.addressof(library.__res_state().contents)
# struct __res_state: retrans, retry, options, nscount, nsaddr_list[3]
ctypes.c_int.from_address(state).value = 600
ctypes.c_int.from_address(state + 16).value = 1
port = silent.getsockname()[1]
address = socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + socket.inet_aton("127.0.0.1") + bytes(8)
ctypes.memmove(state + 20, address, 16)
socket.getaddrinfo("silent.invalid.test", 80)
