"""asgi_knobs in a process that may open no more than FILES files."""

import os
import resource

import asgi_knobs

FILES = int(os.environ["FILES"])
resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
asgi_knobs.descriptors = lambda: None  # to count them takes one more
app = asgi_knobs.app
