"""The names of the keys and channels that tests read and change, without a namespace."""

from tickertape.broker.keys import Keyspace

KEYS = Keyspace()
