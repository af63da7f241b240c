"""Faults of one part at a time, on real servers. What kills processes is marked slow.

To extend: put a fault into the file of what it hits, name the test after what must happen then, and
add it to the table in docs/guarantees.md.
"""

from tests.api.conftest import api, worker

__all__ = ["api", "worker"]
