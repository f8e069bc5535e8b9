"""The demo that `python -m fastware_sse` serves: the documentation's complete example and a live page.

Nothing else of the package imports it, and it needs fastware (the extra `fastware`).
"""
