# SPDX-License-Identifier: BSD-3-Clause
"""A guest for Python tests: the driver's side of a vhost-user network port (vhost/driver.h through ctypes).

    guest = Guest("/run/.../vhost/acme.vm1")
    guest.send(frame)                     # bytes of an Ethernet frame
    frames = guest.receive(0.2)           # what arrives within that time
"""
import ctypes
import os
import struct
import time

VERSION_1, MRG_RXBUF, RING_PACKED, IN_ORDER = 1 << 32, 1 << 15, 1 << 34, 1 << 35
CSUM, GUEST_CSUM, GUEST_TSO4, GUEST_TSO6 = 1 << 0, 1 << 1, 1 << 7, 1 << 8
HOST_TSO4, HOST_TSO6, MQ, CTRL_VQ, EVENT_IDX, INDIRECT = 1 << 11, 1 << 12, 1 << 22, 1 << 17, 1 << 29, 1 << 28
OFFLOADS = CSUM | GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | HOST_TSO4 | HOST_TSO6


class _Config(ctypes.Structure):
    _fields_ = [("path", ctypes.c_char_p), ("listen", ctypes.c_bool), ("queue_pairs", ctypes.c_uint),
                ("ring_size", ctypes.c_uint16), ("buffer_size", ctypes.c_uint32), ("features", ctypes.c_uint64),
                ("timeout_ms", ctypes.c_int), ("hugepages", ctypes.c_bool)]


def _library():
    build = os.environ.get("WEFT_BUILD_DIR", os.path.join(os.path.dirname(__file__), "../../build"))
    library = ctypes.CDLL(os.path.join(build, "tests/lib/libweft-driver.so"), use_errno=True)
    pointer = ctypes.c_void_p
    for name, result, arguments in [
            ("driver_open", pointer, [ctypes.POINTER(_Config)]), ("driver_close", None, [pointer]),
            ("driver_reconnect", ctypes.c_int, [pointer]), ("driver_features", ctypes.c_uint64, [pointer]),
            ("driver_rx_queue", pointer, [pointer, ctypes.c_uint]), ("driver_tx_queue", pointer, [pointer, ctypes.c_uint]),
            ("driver_transmit", ctypes.c_int, [pointer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint32]),
            ("driver_receive", ctypes.c_int, [pointer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint32]),
            ("driver_frontend", pointer, [pointer]),
            ("vhost_frontend_get_config", ctypes.c_int, [pointer, ctypes.c_uint32, ctypes.c_char_p, ctypes.c_uint32]),
            ("driver_kick", None, [pointer]), ("driver_wait", ctypes.c_int, [pointer, ctypes.c_int])]:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_lib = None


class Guest:
    def __init__(self, path, features=VERSION_1 | MRG_RXBUF, pairs=1, ring_size=256, buffer_size=2048, timeout=60.0):
        global _lib
        _lib = _lib or _library()
        config = _Config(path.encode(), False, pairs, ring_size, buffer_size, features, int(timeout * 1000), False)
        self.device = _lib.driver_open(ctypes.byref(config))
        if not self.device:
            error = ctypes.get_errno()
            raise OSError(error, f"{path}: {os.strerror(error)}")
        self.pairs = pairs
        self.header = ctypes.create_string_buffer(12)
        self.space = ctypes.create_string_buffer(70000)

    def close(self):
        if self.device:
            _lib.driver_close(self.device)
            self.device = None

    @property
    def features(self):
        return _lib.driver_features(self.device)

    def reconnect(self):
        return _lib.driver_reconnect(self.device)

    def link_up(self):
        """The status field of the device's configuration (virtio 1.2, 5.1.4)."""
        status = ctypes.create_string_buffer(2)
        result = _lib.vhost_frontend_get_config(_lib.driver_frontend(self.device), 6, status, 2)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return bool(status.raw[0] & 1)

    def send(self, frame, flags=0, gso_type=0, hdr_len=0, gso_size=0, csum_start=0, csum_offset=0, pair=0):
        header = struct.pack("<BBHHHHH", flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, 0)
        queue = _lib.driver_tx_queue(self.device, pair)
        deadline = time.monotonic() + 60
        while True:
            result = _lib.driver_transmit(queue, header, frame, len(frame))
            if result != -11 or time.monotonic() > deadline:
                break
        if result:
            raise OSError(-result, os.strerror(-result))
        _lib.driver_kick(queue)

    def poll(self):
        """The next frame that has arrived, with its virtio header: (frame, header), or None."""
        for pair in range(self.pairs):
            queue = _lib.driver_rx_queue(self.device, pair)
            size = _lib.driver_receive(queue, self.header, self.space, len(self.space))
            if size < 0:
                raise OSError(-size, os.strerror(-size))
            if size:
                _lib.driver_kick(queue)
                return self.space.raw[:size], self.header.raw
        return None

    def receive(self, seconds=0.0, count=None):
        """Frames that arrive within `seconds`; returns early when `count` have."""
        frames, deadline = [], time.monotonic() + seconds
        while True:
            one = self.poll()
            if one:
                frames.append(one[0])
                if count and len(frames) >= count:
                    return frames
            elif time.monotonic() >= deadline:
                return frames


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def ethernet(destination, source, ethertype, payload=b"", tags=()):
    """tags: (tpid, tci) from the outer one on; padded to 60 bytes."""
    frame = mac(destination) + mac(source)
    for tpid, tci in tags:
        frame += struct.pack("!HH", tpid, tci)
    frame += struct.pack("!H", ethertype) + payload
    return frame + bytes(max(0, 60 - len(frame)))
