"""Runs FILE as `python FILE` does, but its serve() listens on PORT and uses LOOP."""

import runpy
import sys

import fastware

_, FILE, PORT, LOOP = sys.argv
serve = fastware.serve


def serve_there(*arguments, **keywords):
    serve(*arguments, **keywords | {"port": int(PORT), "loop": LOOP})


fastware.serve = serve_there
runpy.run_path(FILE, run_name="__main__")
