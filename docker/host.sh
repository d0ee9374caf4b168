#!/bin/sh
# Once per checkout: tell compose.yaml who you are and which commit this is, and make the folders that containers write into
# (Docker would make them as root). Compose reads docker/.env by itself.
set -eu
cd "$(dirname "$0")/.."

mkdir -p demo work_dirs
{
  echo "UID=$(id -u)"
  echo "GID=$(id -g)"
  echo "AQR_REVISION=$(git describe --always --dirty --abbrev=12 --exclude '*' 2> /dev/null || echo unknown)"
} > docker/.env.new
mv docker/.env.new docker/.env
echo "docker/.env and the folders demo and work_dirs are there."
