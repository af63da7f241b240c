"""Several upstreams: the table in a file, and which of them answers a request.

    TICKERTAPE_UPSTREAMS ─▶ reading ─▶ table      the rows, checked; and the keys they name
                                         │
    members    one client of worker/upstream/ for each row, with its breaker and its running calls
      │  choice      the order in which the members are tried
      │  breaker     whether a member that failed is tried
      ▼
    answer     one answer: goes on to the next member as long as there is no output
      ▲
    source     the table as the source of an attempt

Without a table, a worker has one upstream and nothing of this.
"""
