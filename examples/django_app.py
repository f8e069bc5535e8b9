"""Server-sent events in Django, under ASGI. Serve it with, for example:

uvicorn django_app:app

Listen with `curl -N http://127.0.0.1:8000/events`, send with `curl --json '{"name": "tea"}' http://127.0.0.1:8000/items`.
"""

import json

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import JsonResponse
from django.urls import path
from fastware_sse import Broadcaster

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])

broadcaster = Broadcaster(heartbeat_interval=30)
broadcaster.register_event("update")


async def events(request):
    return await broadcaster.stream(request)


async def create_item(request):
    broadcaster.broadcast("update", {"action": "created", "item": json.loads(request.body)})
    return JsonResponse({"ok": True})


async def status(request):
    return JsonResponse({"clients": broadcaster.client_count})


urlpatterns = [path("events", events), path("items", create_item), path("status", status)]
app = get_asgi_application()
