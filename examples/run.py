"""The complete example of the documentation, with a page at http://127.0.0.1:8000 that shows its events.

`make run` starts this file. Ctrl-C stops it at once, open pages or not.
"""

from pathlib import Path

from fastware import HTMLResponse, create_app, serve

from fastware_app import broadcaster, router

PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")

broadcaster.register_event("error")


@router.get("/")
async def page(request):
    return HTMLResponse(PAGE)


@router.post("/error")
async def send_error(request):
    broadcaster.broadcast("error", {"reason": "somebody pressed the button"})
    return {"sent": True}


app = create_app(router)

if __name__ == "__main__":
    print("Open http://127.0.0.1:8000 in a browser. Ctrl-C stops the server.", flush=True)
    # By name: where workers do not begin as copies of this process (macOS), they have to import the app.
    serve("run:app", foreground=True, host="127.0.0.1", port=8000)
