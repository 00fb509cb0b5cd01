"""Scores over HTTP: `markscheme serve`.

app       what is asked for and answered, with `requests` (bodies in), `schema` (their description), `guard` (who may
          ask) and `metrics`
pool      the queue, and the processes that score, of which each is a `link` here and a `worker` there
server    the listening socket, uvicorn, and the end

Only app, guard, metrics, schema, requests and server need the extra `serve`.
"""
