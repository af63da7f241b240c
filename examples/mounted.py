"""Tickertape below /llm of your own FastAPI application, with your own way to recognize users.

$ export REDIS_URL=redis://localhost:6379
$ .venv/bin/python -m uvicorn --app-dir examples mounted:app --port 8100
$ curl -b user=ada http://127.0.0.1:8100/llm/readyz
"""

from fastapi import FastAPI, HTTPException, Request

import tickertape

app = FastAPI()


def current_user(request: Request) -> str:
    if user := request.cookies.get("user"):  # in place of your sessions
        return user
    raise HTTPException(401, "Sign in first.")


tickertape.mount(app, "/llm", auth=current_user)
