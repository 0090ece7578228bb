"""Sends events with one generation of posthog (Python), as a server does, and prints what it sent and what went wrong.

Argument: {"server", "key", "user", "count", "options"}.
"""

import datetime
import decimal
import json
import logging
import sys

from posthog import Posthog

plan = json.loads(sys.argv[1])
user, count = plan["user"], plan["count"]
complaints = []


class Complaints(logging.Handler):
    """Keeps what the SDK logs."""

    def emit(self, record):
        complaints.append(record.getMessage())


logging.getLogger("posthog").addHandler(Complaints(logging.WARNING))
client = Posthog(
    plan["key"],
    host=plan["server"],
    flush_at=20,
    flush_interval=0.2,
    on_error=lambda error, _: complaints.append(repr(error)),
    **plan["options"],
)

for step in range(count):
    client.capture(
        distinct_id=user,
        event="step taken",
        properties={
            "step": step,
            "title": "Ünïcode ☃ 🎉",
            "big": 2**70,
            "nothing": None,
            "price": decimal.Decimal("12.50"),
            "day": datetime.date(2026, 5, 6),
            "$current_url": "https://shop.example.com/",
        },
        groups={"company": "acme"},
    )
# A cut emoji, as slices of UTF-16 text make them.
client.capture(distinct_id=user, event="cut emoji", properties={"text": "\ud83c"})
client.set(distinct_id=user, properties={"plan": "enterprise"})
client.set_once(distinct_id=user, properties={"first_seen": "server"})
client.alias(user, f"{user}-alias")
client.group_identify("company", "acme", {"size": 12})
client.shutdown()

once = ["cut emoji", "$set", "$set_once", "$create_alias", "$groupidentify"]
captured = {"step taken": count, **dict.fromkeys(once, 1)}
print(json.dumps({"captured": captured, "complaints": complaints}))
