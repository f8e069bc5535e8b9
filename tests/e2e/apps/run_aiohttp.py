"""Runs FILE as `python FILE` does, but its web.run_app() listens on PORT and uses LOOP."""

import asyncio
import runpy
import sys

import uvloop
from aiohttp import web

_, FILE, PORT, LOOP = sys.argv
run_app = web.run_app


def run_app_there(*arguments, **keywords):
    loop = uvloop.new_event_loop() if LOOP == "uvloop" else asyncio.new_event_loop()
    run_app(*arguments, **keywords | {"port": int(PORT), "loop": loop})


web.run_app = run_app_there
runpy.run_path(FILE, run_name="__main__")
