"""Scores over HTTP: `markscheme serve`.

api       what is asked for and answered, with `requests` (bodies in), `guard` (the key) and `metrics`
app       paths, and their description in `schema` and `docs_page`
pool      the samples that wait and the processes that score, of which each is a `link` here and a `worker` there
server    the listening socket, uvicorn, and the end

`config`, `pool`, `link` and `worker` need no more than scoring itself, the others the extra `serve`.
"""
