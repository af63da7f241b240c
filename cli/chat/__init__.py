"""`tickertape chat` and `watch`: a terminal client of the API.

Read in this order: `client` (one HTTP call each), `events` (bytes to events), `follow` (one request
over any number of connections), `actions` (what an event means for the screen), `terminal` (writes
to stdout and stderr), `answer` (joins them), then the two commands `ask` and `watch`.
"""
