"""Pure: which conditions make a worker not ready, and what its parts say of them."""

from tickertape.runtime.conditions import Code, Table, Weight

# A worker that is not ready cannot generate. It goes on trying, so its readiness decides about
# roll-outs and alerts. One node of a cluster is not all of the work, an upstream without a list of
# models answers nevertheless, and a refusal of one request may not be of the next.
OF_WORKER: Table = {
    Code.DRAINING: Weight.FATAL_QUIET,
    Code.OLD_SERVER: Weight.FATAL,
    Code.RIGHTS: Weight.FATAL,
    Code.READ_ONLY: Weight.FATAL_QUIET,
    Code.MEMORY_FULL: Weight.FATAL,
    Code.WRITES_REFUSED: Weight.FATAL_QUIET,
    Code.STARTING: Weight.FATAL_QUIET,
    Code.LOOPS_HANG: Weight.FATAL,
    Code.PUSHES_DOWN: Weight.FATAL,
    Code.TASK_REFUSED: Weight.FATAL_QUIET,
    Code.CLUSTER_NODE: Weight.NAMED,
    Code.REDIS_SILENT: Weight.FATAL,
    Code.UPSTREAM_KEY: Weight.FATAL_QUIET,
    Code.NO_UPSTREAM: Weight.FATAL_QUIET,
    Code.UPSTREAM: Weight.FATAL_QUIET,
    Code.UPSTREAM_REFUSED: Weight.NAMED,
    Code.SECRET_REFUSED: Weight.NAMED_QUIET,
}
