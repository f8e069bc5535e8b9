"""Builds the extensions: fastware_sse._core, and on Linux fastware_sse._load. All else stands in pyproject.toml.

FASTWARE_SSE_DEBUG=1                   assertions and consistency checks on, warnings are errors
FASTWARE_SSE_SANITIZE=address|thread   built with that sanitizer (its runtime must be preloaded into Python)
"""

import os
import sys
from glob import glob

from setuptools import Extension, setup

if sys.platform == "win32":
    sys.exit("fastware_sse does not support Windows: its C core needs POSIX threads. Use Linux, macOS or WSL.")

debug = os.environ.get("FASTWARE_SSE_DEBUG", "0") not in ("", "0")
sanitizer = os.environ.get("FASTWARE_SSE_SANITIZE", "")
if sanitizer not in ("", "address", "thread"):
    sys.exit(f"FASTWARE_SSE_SANITIZE must be 'address' or 'thread', not {sanitizer!r}")

compile_args = ["-std=c11", "-fvisibility=hidden", "-pthread"]
link_args = ["-pthread"]
if debug:
    compile_args += ["-O1", "-g", "-Wall", "-Wextra", "-Werror"]
else:
    compile_args += ["-O2"]
if sanitizer:
    compile_args += [f"-fsanitize={sanitizer}", "-fno-omit-frame-pointer"]
    link_args += [f"-fsanitize={sanitizer}"]


def extension(name: str, sources: list[str]) -> Extension:
    return Extension(
        name,
        sources=sorted(sources),
        depends=["setup.py", *sorted(glob("csrc/*/*.h"))],
        include_dirs=["csrc"],
        define_macros=[("FW_DEBUG", "1")] if debug else [("NDEBUG", "1")],
        undef_macros=["NDEBUG"] if debug else [],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )


extensions = [extension("fastware_sse._core", glob("csrc/core/*.c") + glob("csrc/py/*.c"))]
if sys.platform == "linux":  # the load client needs epoll; the package works without it
    extensions.append(extension("fastware_sse._load", ["csrc/core/alloc.c", *glob("csrc/load/*.c")]))

# A folder for each way of building: none of them takes another's objects for up to date.
build_base = "-".join(filter(None, ["build/debug" if debug else "build/release", sanitizer]))

setup(ext_modules=extensions, options={"build": {"build_base": build_base}})
