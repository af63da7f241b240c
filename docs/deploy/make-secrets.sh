#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, in the folder secrets/ of this directory. Those that exist stay.
# Nobody but their owner gets into the folder. The files in it are open, because the containers run as other users.
set -eu
mkdir -p secrets
chmod 700 secrets
if [ ! -s secrets/redis-url ]; then
  password=${REDIS_PASSWORD:-$(openssl rand -hex 24)}
  printf 'redis://:%s@valkey:6379/0\n' "$password" >secrets/redis-url
  printf 'requirepass %s\n' "$password" >secrets/valkey.conf
fi
chmod 644 secrets/redis-url secrets/valkey.conf
