"""What an agent is when nobody says otherwise; apart, as every command tells it in its help."""

from __future__ import annotations

IMAGE = "docker.io/library/python:3-slim"
GRACE_SECONDS = 60
