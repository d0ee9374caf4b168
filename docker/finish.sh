#!/bin/sh
# The last step as root in every image: the user, folders that any user may write into, launcher files at a path that does
# not name a Python, and the list of components.
set -eu

useradd --uid 10001 --no-create-home --home-dir /home/aqr aqr
# Containers run under whatever user the host says (`user:` in compose.yaml), hence 1777.
install -d -m 1777 /home/aqr /workspace
install -d /usr/share/doc/aqr
if [ -x /opt/aqr/bin/aqr ]; then
  launchers=$(/opt/aqr/bin/python -c 'import aqr_train; print(aqr_train.__path__[0] + "/launchers")')
  ln -s "$launchers" /opt/aqr/launchers
fi
/opt/inventory/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
  --output-file /usr/share/doc/aqr/sbom.cdx.json /opt/aqr/bin/python
