"""python -m fastware_sse: the demo."""

from __future__ import annotations

import argparse
import sys


def main() -> None:
    """Serve the demo on the loopback interface until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m fastware_sse",
        description="The complete example of the documentation, and a page that shows it at work.",
    )
    parser.add_argument("--port", type=int, default=8000, help="on 127.0.0.1 (default: %(default)s)")
    port = parser.parse_args().port
    try:
        from fastware.server import PortInUseError, serve
    except ImportError as error:
        sys.exit(f"The demo needs fastware ({error}). Install it with: pip install 'fastware-sse[fastware]'")

    def announce() -> None:
        print(f"Open http://127.0.0.1:{port} in a browser. Ctrl-C stops the server.", flush=True)

    try:
        # By name: where workers do not begin as copies of this process (macOS), they have to import the app.
        serve("fastware_sse.demo.app:app", foreground=True, host="127.0.0.1", port=port, pre_serve=announce)
    except PortInUseError:
        sys.exit(f"Port {port} is taken. Choose another one with --port.")


if __name__ == "__main__":
    main()
