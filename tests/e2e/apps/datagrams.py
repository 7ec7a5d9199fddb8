"""Answers datagrams with its name and what was in them, and connections to the same port with its name."""

import os
import socket
import threading


def _say_name(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"connected")


def main() -> None:
    listener = socket.create_server(("127.0.0.1", int(os.environ["PORT_TCP_DATA"])))
    threading.Thread(target=_say_name, args=(listener,), daemon=True).start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("", int(os.environ["PORT_UDP_DATA"])))
        while True:
            data, peer = server.recvfrom(2000)
            server.sendto(b"answered:" + data, peer)


main()
