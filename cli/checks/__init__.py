"""The checks of a set-up, which `tickertape doctor` and every start share.

Read in this order: `finding`, `cases` (every known wrong set-up, with its words and its fix), the
pure checks (`of_settings`, `of_redis`, `of_upstream`, `of_machine`), then `examine`, which asks the
servers and the machine for what the pure checks judge.
"""
