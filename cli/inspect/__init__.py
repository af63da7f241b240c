"""Commands that examine an installation: `doctor`, `dead` and `roles`.

Read in this order: `roles`, `dead`, `findings` (pure: the conclusions of `doctor`), `doctor`.
"""
