"""A real server for tests: uvicorn in a thread, on a port of its own."""

import contextlib
import socket
import threading

import uvicorn


@contextlib.contextmanager
def serving(app, broadcaster):
    """The URL at which `app` is served. At the end `broadcaster` is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # from here on a client may connect
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            broadcaster.close()  # the server waits for open streams, and no signal reaches a thread
            server.should_exit = True
            thread.join()
